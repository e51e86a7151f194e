//! From the files and flags of a command to builds that are ready to run, with every problem told.

use std::path::{Path, PathBuf};

use builder_core::Registry;
use builder_core::context::Names;
use builder_core::engine::PlannedBuild;
use builder_core::secret::ExposeSecret as _;
use builder_core::source::Diagnostics;
use template::{Assignment, PlanInput, Settings, Template};

use crate::args::TemplateArgs;
use crate::input;
use crate::session::Session;

/// Reads a template; tells its problems.
pub(crate) fn load(session: &mut Session, path: &Path) -> Option<Template> {
    let (template, found) = read(session, path);
    let failed = session.tell(&found);
    template.filter(|_| !failed)
}

fn read(session: &mut Session, path: &Path) -> (Option<Template>, Diagnostics) {
    let mut found = Diagnostics::default();
    let source = found.take(input::template(path, &mut session.stdin.reader).map_err(Diagnostics::from));
    let Some(source) = source else { return (None, found) };
    let (template, wrong) = template::read(source);
    found.extend(wrong);
    (template, found)
}

/// Reads a template and its variables and plans its builds; tells the problems of all of them.
pub(crate) fn plan(
    session: &mut Session,
    registry: &Registry,
    args: &TemplateArgs,
    force: bool,
) -> Option<Vec<PlannedBuild>> {
    let (template, mut found) = read(session, &args.template);
    let given = variables(args, &mut found);
    let Some(template) = template else {
        session.tell(&found);
        return None;
    };
    hide_secrets(session, &template, &given);
    // What is wrong already does not hide what planning finds.
    let planned = template::plan(
        &template,
        registry,
        &PlanInput {
            given: &given,
            only: &args.only,
            except: &args.except,
            force,
            environment: &session.environment,
            settings: settings(session, &args.template),
        },
    );
    let (builds, more) = match planned {
        Ok(plan) => (Some(plan.builds), plan.warnings),
        Err(errors) => (None, errors),
    };
    let new = more.0.into_iter().filter(|d| !found.0.contains(d)).collect();
    found.extend(Diagnostics(new));
    for secret in builds.iter().flatten().flat_map(|build| &build.secrets) {
        session.redactor.add(secret.expose_secret());
    }
    let failed = session.tell(&found);
    builds.filter(|_| !failed)
}

/// The variables that are given, in the order in which a later one wins.
fn variables(args: &TemplateArgs, found: &mut Diagnostics) -> Vec<Assignment> {
    let mut given = Vec::new();
    for path in &args.var_files {
        let source = found.take(input::file(path).map_err(Diagnostics::from));
        if let Some((assignments, warnings)) = source.and_then(|source| found.take(template::parse_file(source))) {
            given.extend(assignments);
            found.extend(warnings);
        }
    }
    let typed =
        args.vars.iter().filter_map(|argument| found.take(template::parse_argument(argument).map_err(Into::into)));
    given.extend(typed.collect::<Vec<_>>());
    given
}

/// Diagnostics show lines of the user's files, and a sensitive value may stand there.
fn hide_secrets(session: &Session, template: &Template, given: &[Assignment]) {
    for variable in template.variables.iter().filter(|v| v.sensitive) {
        let given = given.iter().filter(|a| a.name == variable.name);
        let values = given.clone().map(|a| a.value.as_str()).chain(variable.default.as_deref());
        // As it is written in the file, where its escapes are not resolved.
        let written = given.filter_map(|a| a.span.as_ref()).chain(&variable.span).map(|s| s.text().trim_matches('"'));
        values.chain(written).for_each(|value| session.redactor.add(value));
    }
}

fn settings(session: &Session, template: &Path) -> Settings {
    let text = |path: PathBuf| path.display().to_string();
    let is_file = template != Path::new(input::STDIN);
    let folder = std::path::absolute(template).ok().filter(|_| is_file).and_then(|p| p.parent().map(Path::to_owned));
    Settings {
        start: session.clock.start(),
        template_dir: folder.map(text),
        working_dir: std::env::current_dir().ok().map(text),
        names: Names::random(),
    }
}
