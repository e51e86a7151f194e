//! `gaia build`: reads, plans, checks, and only then runs.

use std::sync::Arc;

use builder_core::Cancel;
use builder_core::context::Names;
use builder_core::engine::{Ask, Nobody, OnError, Outcome, Run};
use builder_core::event;
use builder_core::ledger::{DirStore, LedgerStore};
use tokio::sync::Semaphore;

use super::{leftovers, plan};
use crate::args::BuildArgs;
use crate::ask::AskTerminal;
use crate::dispatcher::{Dispatcher, Ended, Purpose};
use crate::exit_code::Exit;
use crate::render::Narrator;
use crate::session::Session;

pub(crate) fn run(mut session: Session, args: &BuildArgs) -> Exit {
    let Some(registry) = session.registry() else { return Exit::Failure };
    let Some(builds) = plan::plan(&mut session, &registry, &args.template, args.force) else { return Exit::Failure };
    let Some(ledgers) = session.ledgers() else { return Exit::Failure };
    let store: Arc<dyn LedgerStore> = Arc::new(DirStore::new(ledgers));
    let Some(runtimes) = session.runtimes() else { return Exit::Failure };
    let found = runtimes.block_on(Run::preflight(&builds));
    if session.tell(&found) {
        return Exit::Failure;
    }
    warn_of_leftovers(&mut session, &*store);
    let narration = session.narration(false);
    let Session { ui, stdin, signals, clock, common, asking, redactor, environment, .. } = session;
    let (events, stream) = event::channel(clock, redactor.clone());
    let cancel = Cancel::default();
    let on_error = OnError::from(args.on_error);
    // A program that reads `-machine-readable` cannot answer, nor can anybody who is not there.
    let ask: Arc<dyn Ask> = if stdin.terminal && !common.machine_readable && on_error == OnError::Ask {
        Arc::new(AskTerminal::new(events.clone(), cancel.clone(), stdin.reader, asking))
    } else {
        Arc::new(Nobody)
    };
    let run = Run {
        events: events.clone(),
        cancel: cancel.clone(),
        clock,
        redactor,
        names: Names::random(),
        environment,
        store,
        on_error,
        ask,
        force: args.force,
        parallel: usize::try_from(args.parallel_builds)
            .ok()
            .filter(|n| *n > 0)
            .map_or(Semaphore::MAX_PERMITS, |n| n.min(Semaphore::MAX_PERMITS)),
    };
    let narrator = Narrator::new(ui, narration);
    let dispatcher = Dispatcher { narrator, events, stream, cancel, clock, signals, purpose: Purpose::Build };
    match dispatcher.run(&runtimes, async move { run.run(builds).await }) {
        Ended::Done(_, ui) if ui.is_closed() => Exit::Failure,
        Ended::Done(outcomes, _) => exit(&outcomes),
        Ended::Abandoned => Exit::Abandoned,
    }
}

fn exit(outcomes: &[Outcome]) -> Exit {
    if outcomes.iter().any(|o| o.error.is_some()) {
        Exit::Failure
    } else if outcomes.iter().any(|o| !o.left_behind.is_empty()) {
        Exit::LeftBehind
    } else {
        Exit::Success
    }
}

/// Says that earlier builds have left something. What cannot be read is told of by `gaia cleanup`, not here.
fn warn_of_leftovers(session: &mut Session, store: &dyn LedgerStore) {
    let Ok((builds, _unreadable)) = leftovers::survey(store) else { return };
    let left = builds.iter().filter(|b| !b.running && !b.found.is_empty()).count();
    if left > 0 {
        let builds = if left == 1 { "1 earlier build has".to_owned() } else { format!("{left} earlier builds have") };
        let cleanup = session.narration(false).cleanup;
        session.ui.warning(&format!("warning: {builds} left resources behind: `{cleanup}` takes them away"));
    }
}
