//! What builds have left, read from their ledgers.

use builder_core::ledger::{LedgerError, LedgerStore};
use jiff::Timestamp;

/// A build with a ledger.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) build_id: String,
    /// Its name; the id if the ledger does not say.
    pub(super) name: String,
    pub(super) started: Option<Timestamp>,
    /// What is there to be taken away, in words.
    pub(super) found: Vec<String>,
    pub(super) running: bool,
}

impl Leftover {
    /// `build 01j… (amazon-ebs), begun 2026-01-01T00:00:00Z`
    pub(super) fn describe(&self) -> String {
        let begun = self.started.map(|at| format!(", begun {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))).unwrap_or_default();
        format!("build {} ({}){begun}", self.build_id, self.name)
    }
}

/// Reads the ledger of one build.
pub(super) fn read(store: &dyn LedgerStore, build_id: &str) -> Result<Leftover, LedgerError> {
    let (replay, running) = store.read(build_id)?;
    let found = replay.remaining().iter().map(ToString::to_string).collect();
    let name = if replay.build_name.is_empty() { build_id.to_owned() } else { replay.build_name };
    Ok(Leftover { build_id: build_id.to_owned(), name, started: replay.started, found, running })
}

/// Reads every ledger, oldest first. One that cannot be read keeps no other from being read.
pub(super) fn survey(store: &dyn LedgerStore) -> Result<(Vec<Leftover>, Vec<LedgerError>), LedgerError> {
    let (mut builds, mut unreadable) = (Vec::new(), Vec::new());
    for build_id in store.list()? {
        match read(store, &build_id) {
            Ok(build) => builds.push(build),
            // It ended, and took its ledger away, after the list was made.
            Err(LedgerError::NotFound { .. }) => {}
            Err(e) => unreadable.push(e),
        }
    }
    Ok((builds, unreadable))
}
