//! `gaia plugins`: what is registered in this binary.

use builder_core::registry::{About, Registry};
use builder_core::source::nearest;

use crate::args::PluginsArgs;
use crate::exit_code::Exit;
use crate::render::Level;
use crate::session::Session;

pub(crate) fn run(mut session: Session, args: &PluginsArgs) -> Exit {
    let Some(registry) = session.registry() else { return Exit::Failure };
    let plugins = list(&registry);
    let exit = if let Some(wanted) = &args.schema {
        schema(&mut session, &plugins, wanted)
    } else {
        table(&mut session, &plugins);
        Exit::Success
    };
    session.exit(exit)
}

/// Kind and registration, kind by kind, each sorted by type.
fn list(registry: &Registry) -> Vec<(&'static str, About)> {
    let builders = registry.builders.values().map(|e| ("builder", e.about));
    let provisioners = registry.provisioners.values().map(|e| ("provisioner", e.about));
    let post_processors = registry.post_processors.values().map(|e| ("post-processor", e.about));
    let communicators = registry.communicators.values().map(|e| ("communicator", e.about));
    builders.chain(provisioners).chain(post_processors).chain(communicators).collect()
}

fn table(session: &mut Session, plugins: &[(&'static str, About)]) {
    let width = |of: fn(&(&'static str, About)) -> usize| plugins.iter().map(of).max().unwrap_or(0);
    let (kinds, keys, crates) = (width(|p| p.0.len()), width(|p| p.1.key.len()), width(|p| p.1.krate.len()));
    for (kind, about) in plugins {
        let About { key, krate, about, .. } = about;
        session.ui.fact(None, "", "plugin", &[kind, key, krate, about]);
        session.ui.say(&format!("{kind:kinds$}  {key:keys$}  {krate:crates$}  {about}"));
    }
}

fn schema(session: &mut Session, plugins: &[(&'static str, About)], wanted: &str) -> Exit {
    let (kind, key) = wanted.split_once('/').map_or((None, wanted), |(kind, key)| (Some(kind), key));
    let found: Vec<_> = plugins.iter().filter(|(k, a)| a.key == key && kind.is_none_or(|kind| kind == *k)).collect();
    let text = match found.as_slice() {
        [(_, about)] => match serde_json::to_string_pretty(&(about.schema)()) {
            Ok(text) => {
                session.ui.text(Level::Say, &text);
                return Exit::Success;
            }
            Err(e) => format!("the schema of `{wanted}` cannot be written: {e}"),
        },
        [] => {
            let near = nearest(key, plugins.iter().map(|(_, about)| about.key));
            let help = near.map_or("`gaia plugins` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
            format!("there is no plugin `{wanted}`: {help}")
        }
        many => {
            let names: Vec<_> = many.iter().map(|(kind, about)| format!("`{kind}/{}`", about.key)).collect();
            format!("`{wanted}` is the type of several plugins: say {}", names.join(" or "))
        }
    };
    session.ui.error(&format!("Error: {text}"));
    Exit::Failure
}
