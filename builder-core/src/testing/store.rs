//! Ledgers in memory, which can crash after a given number of records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::{Journal, LedgerError, LedgerStore, Record, Replay};

/// A ledger store in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    journals: BTreeMap<String, Vec<Record>>,
    held: BTreeSet<String>,
    /// Records that still fit before every write fails.
    room: Option<usize>,
    written: usize,
    committed: bool,
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `records` more be written; after that every write fails, as on a full disk.
    pub fn fail_after(&self, records: usize) {
        self.state().room = Some(records);
    }

    /// Lets everything be written again.
    pub fn mend(&self) {
        self.state().room = None;
    }

    /// How many records were ever written.
    pub fn written(&self) -> usize {
        self.state().written
    }

    /// Whether any build was ever committed.
    pub fn committed(&self) -> bool {
        self.state().committed
    }

    /// The records of a build whose ledger is still there.
    pub fn records(&self, build_id: &str) -> Vec<Record> {
        self.state().journals.get(build_id).cloned().unwrap_or_default()
    }
}

impl LedgerStore for MemoryStore {
    fn create(&self, build_id: &str) -> Result<Box<dyn Journal>, LedgerError> {
        let mut state = self.state();
        state.journals.insert(build_id.to_owned(), Vec::new());
        state.held.insert(build_id.to_owned());
        Ok(Box::new(MemoryJournal { store: self.clone(), build_id: build_id.to_owned() }))
    }

    fn open(&self, build_id: &str) -> Result<(Replay, Box<dyn Journal>), LedgerError> {
        let (replay, running) = self.read(build_id)?;
        if running {
            return Err(LedgerError::InUse { build_id: build_id.to_owned() });
        }
        self.state().held.insert(build_id.to_owned());
        Ok((replay, Box::new(MemoryJournal { store: self.clone(), build_id: build_id.to_owned() })))
    }

    fn read(&self, build_id: &str) -> Result<(Replay, bool), LedgerError> {
        let state = self.state();
        let Some(records) = state.journals.get(build_id) else {
            return Err(LedgerError::NotFound { build_id: build_id.to_owned(), place: self.place() });
        };
        let mut replay = Replay::default();
        records.iter().for_each(|record| replay.apply(record));
        Ok((replay, state.held.contains(build_id)))
    }

    fn list(&self) -> Result<Vec<String>, LedgerError> {
        Ok(self.state().journals.keys().cloned().collect())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[derive(Debug)]
struct MemoryJournal {
    store: MemoryStore,
    build_id: String,
}

impl Journal for MemoryJournal {
    fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        let mut state = self.store.state();
        if let Some(room) = &mut state.room {
            *room = room.checked_sub(1).ok_or_else(|| LedgerError::Io {
                doing: "write",
                place: "memory".to_owned(),
                cause: "no space left on device".to_owned(),
            })?;
        }
        state.written += 1;
        state.committed |= matches!(record, Record::Committed);
        state.journals.entry(self.build_id.clone()).or_default().push(record.clone());
        Ok(())
    }

    fn discard(self: Box<Self>) -> Result<(), LedgerError> {
        self.store.state().journals.remove(&self.build_id);
        Ok(())
    }
}

/// A process that ends lets go of its ledgers, whether it wanted to or not.
impl Drop for MemoryJournal {
    fn drop(&mut self) {
        self.store.state().held.remove(&self.build_id);
    }
}
