//! `gaia validate`: everything that `gaia build` checks before it creates anything.

use builder_core::engine::Run;

use super::plan;
use crate::args::ValidateArgs;
use crate::exit_code::Exit;
use crate::session::Session;

pub(crate) fn run(mut session: Session, args: &ValidateArgs) -> Exit {
    let valid = if args.syntax_only {
        plan::load(&mut session, &args.template.template).map(|_| "Syntax-only check passed. Everything looks okay.")
    } else {
        whole(&mut session, args).map(|()| "The configuration is valid.")
    };
    let Some(text) = valid else { return Exit::Failure };
    session.ui.say(text);
    session.exit(Exit::Success)
}

/// Plans all builds and looks at the files they name.
fn whole(session: &mut Session, args: &ValidateArgs) -> Option<()> {
    let registry = session.registry()?;
    let builds = plan::plan(session, &registry, &args.template, false)?;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            session.ui.error(&format!("Error: cannot start: {e}"));
            return None;
        }
    };
    let found = runtime.block_on(Run::preflight(&builds));
    (!session.tell(&found)).then_some(())
}
