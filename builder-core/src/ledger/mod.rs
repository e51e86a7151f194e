//! The ledger: the durable record of every resource that a build made or is about to make.
//!
//! Intent before the call, outcome after, each on disk before the next thing happens. What has to be given back is a
//! function of the records alone, so one piece of code serves after an error, after Ctrl-C and after a crash.
//! Where records are kept is behind [`LedgerStore`]; nothing else here knows of files.

mod dir;
mod handle;
mod reclaim;
mod record;

pub use dir::DirStore;
pub use handle::{CreateError, Created, Ledger, NewResource};
pub use reclaim::{LeftBehind, OpenReclaimer, ReclaimContext, Reclaimer, reclaim};
pub use record::{Entry, EntryState, Lifetime, Record, Replay, Resource, VERSION};

use std::fmt::Debug;

/// Why the ledger could not do its work. The build stops: nothing is created that cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Reading or writing failed.
    #[error("cannot {doing} the ledger {place}: {cause}; nothing is created that cannot be recorded")]
    Io {
        /// `write`, `read`, `create`, `lock`.
        doing: &'static str,
        /// The file.
        place: String,
        /// The system's own words.
        cause: String,
    },
    /// Another process holds the build.
    #[error("build {build_id} is still running in another process")]
    InUse {
        /// The build.
        build_id: String,
    },
    /// There is no ledger of that build.
    #[error("there is no ledger of build {build_id} in {place}")]
    NotFound {
        /// The build.
        build_id: String,
        /// Where it was looked for.
        place: String,
    },
    /// A newer gaia wrote it.
    #[error(
        "the ledger {place} has version {found}, this gaia reads up to {VERSION}: use the gaia that wrote it, or a newer one"
    )]
    Version {
        /// The file.
        place: String,
        /// Its version.
        found: u32,
    },
}

/// Where ledgers are kept: one journal per build.
pub trait LedgerStore: Send + Sync + Debug {
    /// Starts the journal of a new build and holds it.
    fn create(&self, build_id: &str) -> Result<Box<dyn Journal>, LedgerError>;

    /// Opens the journal of a build that is not running any more, reads it and holds it.
    fn open(&self, build_id: &str) -> Result<(Replay, Box<dyn Journal>), LedgerError>;

    /// Reads a journal without holding it, and tells whether its build is running.
    fn read(&self, build_id: &str) -> Result<(Replay, bool), LedgerError>;

    /// The ids of every build with a journal, sorted (ULIDs: by time).
    fn list(&self) -> Result<Vec<String>, LedgerError>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// The journal of one build, held by this process until it is dropped.
pub trait Journal: Send + Debug {
    /// Writes a record; it is durable when this returns.
    fn append(&mut self, record: &Record) -> Result<(), LedgerError>;

    /// Takes the journal away: nothing in it is needed any more.
    fn discard(self: Box<Self>) -> Result<(), LedgerError>;
}

#[cfg(test)]
mod tests;
