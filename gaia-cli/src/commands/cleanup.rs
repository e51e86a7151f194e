//! `gaia cleanup`: takes away what builds that are not running any more have left.

use std::sync::Arc;

use builder_core::engine::Cleanup;
use builder_core::event;
use builder_core::ledger::{DirStore, LedgerStore};
use builder_core::{Cancel, Events};
use jiff::{SignedDuration, Timestamp};

use super::leftovers::{self, Leftover};
use crate::args::CleanupArgs;
use crate::dispatcher::{Dispatcher, Ended, Purpose};
use crate::exit_code::Exit;
use crate::render::Narrator;
use crate::session::Session;

/// Builds that began before this are expired.
const EXPIRED: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn run(mut session: Session, args: &CleanupArgs) -> Exit {
    let Some(ledgers) = session.ledgers() else { return Exit::Failure };
    let Some(registry) = session.registry() else { return Exit::Failure };
    let store: Arc<dyn LedgerStore> = Arc::new(DirStore::new(ledgers));
    let Some((builds, readable)) = choose(&mut session, &*store, args) else { return Exit::Failure };
    let idle: Vec<_> = builds.into_iter().filter(|build| !skipped(&mut session, build)).collect();
    if idle.iter().all(|build| build.found.is_empty()) {
        session.ui.say("Nothing to clean up.");
    }
    if args.dry_run {
        dry_run(&mut session, &idle);
        return session.exit(if readable { Exit::Success } else { Exit::Failure });
    }
    if idle.is_empty() {
        // A build that was asked for by its id and runs is not cleaned up, which is not what was asked for.
        let done = readable && args.build.is_none();
        return session.exit(if done { Exit::Success } else { Exit::Failure });
    }
    let Some(runtimes) = session.runtimes() else { return Exit::Failure };
    let (events, stream) = event::channel(session.clock, session.redactor.clone());
    let cancel = Cancel::default();
    let environment = (*session.environment).clone();
    let cleanup =
        Cleanup { store, registry, events: events.clone(), cancel: cancel.clone(), clock: session.clock, environment };
    let narration = session.narration(true);
    let Session { ui, signals, clock, .. } = session;
    let narrator = Narrator::new(ui, narration);
    let dispatcher = Dispatcher { narrator, events, stream, cancel, clock, signals, purpose: Purpose::Cleanup };
    match dispatcher.run(&runtimes, async move { clean(&cleanup, &idle).await }) {
        Ended::Done(true, ui) if readable && !ui.is_closed() => Exit::Success,
        Ended::Done(..) => Exit::Failure,
        Ended::Abandoned => Exit::Abandoned,
    }
}

/// The builds that were asked for, and whether every ledger could be read. `None` if there is no such build.
fn choose(session: &mut Session, store: &dyn LedgerStore, args: &CleanupArgs) -> Option<(Vec<Leftover>, bool)> {
    let found = match &args.build {
        Some(id) => leftovers::read(store, &id.to_lowercase()).map(|build| (vec![build], Vec::new())),
        None => leftovers::survey(store),
    };
    let (mut builds, unreadable) = match found {
        Ok(found) => found,
        Err(e) => {
            session.ui.error(&format!("Error: {e}"));
            return None;
        }
    };
    unreadable.iter().for_each(|e| session.ui.error(&format!("Error: {e}")));
    if args.expired {
        let now = session.clock.now();
        builds.retain(|build| build.started.is_some_and(|started| is_expired(started, now)));
    }
    Some((builds, unreadable.is_empty()))
}

fn is_expired(started: Timestamp, now: Timestamp) -> bool {
    now.duration_since(started) > EXPIRED
}

/// Says that a running build is left alone.
fn skipped(session: &mut Session, build: &Leftover) -> bool {
    if build.running {
        session.ui.say(&format!("Skipped {}: it is still running.", build.describe()));
    }
    build.running
}

fn dry_run(session: &mut Session, builds: &[Leftover]) {
    for build in builds.iter().filter(|build| !build.found.is_empty()) {
        session.ui.say(&format!("Would clean up {}:", build.describe()));
        build.found.iter().for_each(|resource| session.ui.say(&format!("    {resource}")));
    }
}

/// Cleans up one build after the other, so that what is told stays together. Gives whether nothing is left.
async fn clean(cleanup: &Cleanup, builds: &[Leftover]) -> bool {
    let mut clean = true;
    for build in builds {
        if cleanup.cancel.is_cancelled() {
            cleanup.events.error("Ended before every build was cleaned up.");
            return false;
        }
        clean &= clean_one(cleanup, build).await;
    }
    if clean && builds.iter().any(|build| !build.found.is_empty()) {
        cleanup.events.say("Cleaned up: nothing is left.");
    }
    clean
}

async fn clean_one(cleanup: &Cleanup, build: &Leftover) -> bool {
    let events: Events = cleanup.events.for_build(&build.name);
    if !build.found.is_empty() {
        events.say(format!("Cleaning up {}", build.describe()));
    }
    match cleanup.build(&build.build_id).await {
        Ok(outcome) => {
            outcome.left.iter().for_each(|left| events.error(format!("Still there: {left}")));
            outcome.left.is_empty()
        }
        Err(e) => {
            events.error(e.to_string());
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_limit() {
        let started = Timestamp::constant(1_767_225_600, 0);
        for (hours, seconds, expected) in [(0, 0, false), (24, 0, false), (24, 1, true), (-1, 0, false)] {
            let now = started + SignedDuration::from_secs(hours * 3600 + seconds);
            assert_eq!(is_expired(started, now), expected, "{hours} h {seconds} s");
        }
    }
}
