//! Giving back what a ledger names: the same code after an error, after Ctrl-C and after a crash.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Entry, Ledger};
use crate::cancel::Cancel;
use crate::engine::caught;
use crate::error::BuildError;
use crate::event::Events;

/// Gives resources of one provider back.
#[async_trait]
pub trait Reclaimer: Send + Sync + Debug {
    /// The kinds that must be gone before one of this kind can go: an instance before its security group.
    fn after(&self, kind: &str) -> &'static [&'static str];

    /// Gives a resource back and says so, waiting until it is gone. One that is not there any more, or never was, is a success.
    /// Never touches what lacks the build's mark where the cloud can show it.
    async fn reclaim(&self, cx: &ReclaimContext, entry: &Entry) -> Result<(), BuildError>;
}

/// What a reclaimer has at hand.
#[derive(Clone, Debug)]
pub struct ReclaimContext {
    /// The build that made the resources.
    pub build_id: Arc<str>,
    /// Where to speak.
    pub events: Events,
    /// Tells when to hurry: ask for the end of a resource, do not wait for it.
    pub cancel: Cancel,
    /// Whether the build ran until a moment ago, so that the cloud may not show yet what was made: "not found" then has to be
    /// asked more than once.
    pub recent: bool,
}

/// Opens a reclaimer from what the ledger says of access; registered under its provider.
pub type OpenReclaimer =
    fn(serde_json::Value, BTreeMap<String, String>) -> BoxFuture<'static, Result<Arc<dyn Reclaimer>, BuildError>>;

/// A resource that could not be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The resource.
    pub entry: Entry,
    /// Why it is still there.
    pub why: String,
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.entry, self.why)
    }
}

/// Gives back everything that the ledger says may exist, newest first in what is shown, at once where nothing depends on it.
/// Every resource is tried, even if another fails. Gives what is left.
pub async fn reclaim(ledger: &Ledger, reclaimer: &dyn Reclaimer, cx: &ReclaimContext) -> Vec<LeftBehind> {
    let entries = ledger.replay().remaining();
    let done = watch::Sender::new(vec![false; entries.len()]);
    let give_back = |(i, entry), events| {
        let mine = ReclaimContext { events, ..cx.clone() };
        let first: Vec<usize> = blockers(&entries, i, reclaimer);
        let mut others = done.subscribe();
        let done = &done;
        async move {
            // The sender outlives the jobs, so the wait can only end well.
            let _gone = others.wait_for(|done| first.iter().all(|j| done[*j])).await.is_ok();
            let result = caught(reclaimer.reclaim(&mine, entry)).await;
            done.send_modify(|done| done[i] = true);
            // What it said is shown now, not when the ledger has taken note.
            drop(mine);
            match result {
                Ok(()) => {
                    if let Err(e) = ledger.reclaimed(entry.n).await {
                        cx.events.warning(e.to_string());
                    }
                    None
                }
                Err(e) => Some(LeftBehind { entry: entry.clone(), why: e.to_string() }),
            }
        }
    };
    cx.events.in_order(entries.iter().enumerate(), give_back).await.into_iter().flatten().collect()
}

/// The entries that must be gone before entry `i`.
fn blockers(entries: &[Entry], i: usize, reclaimer: &dyn Reclaimer) -> Vec<usize> {
    let after = reclaimer.after(&entries[i].resource.kind);
    // Two of a kind never wait for each other.
    let kind = |j: usize| entries[j].resource.kind.as_str();
    let blocks = |j: &usize| kind(*j) != kind(i) && after.contains(&kind(*j));
    (0..entries.len()).filter(blocks).collect()
}
