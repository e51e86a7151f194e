//! `gaia cleanup`: gives back what builds that are not running any more have left, from their ledgers alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::error::BuildError;
use crate::event::Events;
use crate::ledger::{Ledger, LedgerStore, LeftBehind, ReclaimContext, Replay, reclaim};
use crate::registry::Registry;

/// A build that began less than this ago may have made something that its cloud does not show yet.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// A clean-up run.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// Where ledgers are kept.
    pub store: Arc<dyn LedgerStore>,
    /// Knows the reclaimers.
    pub registry: Arc<Registry>,
    /// Where events go.
    pub events: Events,
    /// Tells when to hurry.
    pub cancel: Cancel,
    /// The run's clock.
    pub clock: Clock,
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
}

/// What became of one build's leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupOutcome {
    /// The build.
    pub build_id: String,
    /// Its name.
    pub build_name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// What was there to give back, in words.
    pub found: Vec<String>,
    /// What could not be given back, in words.
    pub left: Vec<String>,
}

impl Cleanup {
    /// Gives back what one build has left.
    pub async fn build(&self, build_id: &str) -> Result<CleanupOutcome, BuildError> {
        let (replay, journal) = self.store.open(build_id)?;
        let events = self.events.for_build(if replay.build_name.is_empty() { build_id } else { &replay.build_name });
        let mut outcome = outcome(build_id, &replay);
        let access = replay.access.clone();
        let ledger = Ledger::resume(journal, replay, events.clone());
        if outcome.found.is_empty() {
            ledger.end()?;
            return Ok(outcome);
        }
        let Some((provider, access)) = access else {
            return Err(BuildError::failed(format!(
                "the ledger of build {build_id} does not say how to reach its cloud: remove by hand: {}",
                outcome.found.join("; ")
            )));
        };
        let Some(entry) = self.registry.reclaimers.get(provider.as_str()) else {
            return Err(BuildError::failed(format!(
                "build {build_id} used `{provider}`, which is not linked into this binary: run `cleanup` of the gaia that built it"
            )));
        };
        let reclaimer = (entry.open)(access, self.environment.clone()).await?;
        let age = outcome.started.map(|started| self.clock.now().duration_since(started));
        let cx = ReclaimContext {
            build_id: build_id.into(),
            events,
            cancel: self.cancel.for_cleanup(),
            recent: age.is_none_or(|age| age < RECENT),
        };
        let left = reclaim(&ledger, &*reclaimer, &cx).await;
        outcome.left = left.iter().map(LeftBehind::to_string).collect();
        ledger.end()?;
        Ok(outcome)
    }
}

fn outcome(build_id: &str, replay: &Replay) -> CleanupOutcome {
    CleanupOutcome {
        build_id: build_id.to_owned(),
        build_name: replay.build_name.clone(),
        started: replay.started,
        found: replay.remaining().iter().map(ToString::to_string).collect(),
        left: Vec::new(),
    }
}
