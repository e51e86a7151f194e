//! The ledger in a running build's hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Entry, Journal, LedgerError, Lifetime, Record, Replay, Resource};
use crate::error::BuildError;
use crate::event::{EventKind, Events};

/// The ledger of one build. Cheap to clone; every clone writes to the same journal.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
    events: Events,
}

#[derive(Debug)]
struct Inner {
    /// Gone once the ledger has been discarded.
    journal: Option<Box<dyn Journal>>,
    replay: Replay,
    next: u64,
    /// Facts that could not be written when they came about.
    owed: Vec<Record>,
}

/// A resource that is about to be created.
#[derive(Clone, Debug)]
pub struct NewResource {
    /// The field's own word: `instance`, `security-group`, `image`.
    pub kind: &'static str,
    /// The name or client token by which the cloud will know it; made before the call.
    pub name: String,
    /// Where.
    pub region: String,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Whatever else its reclaimer needs.
    pub details: BTreeMap<String, String>,
}

/// A created resource: its id, and what else the call gave.
#[derive(Clone, Debug)]
pub struct Created<T> {
    /// The id in the cloud.
    pub id: String,
    /// The rest of the answer.
    pub value: T,
}

/// A create that failed.
#[derive(Debug)]
pub struct CreateError {
    /// Why.
    pub error: BuildError,
    /// Whether it is certain that nothing was created: the cloud answered and refused. Not so after a time-out or a lost
    /// connection: then the intent stays open and the resource is looked for by name.
    pub refused: bool,
}

impl Ledger {
    /// A ledger on a journal that has just been created; writes the first record.
    pub async fn begin(journal: Box<dyn Journal>, events: Events, begin: Record) -> Result<Self, LedgerError> {
        let ledger = Self::resume(journal, Replay::default(), events);
        ledger.append(begin).await?;
        Ok(ledger)
    }

    /// A ledger on a journal that was read.
    pub fn resume(journal: Box<dyn Journal>, replay: Replay, events: Events) -> Self {
        let next = replay.entries.iter().map(|e| e.n).max().unwrap_or(0) + 1;
        Self { inner: Arc::new(Mutex::new(Inner { journal: Some(journal), replay, next, owed: Vec::new() })), events }
    }

    /// What the records add up to now.
    pub fn replay(&self) -> Replay {
        self.lock().replay.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a record. It goes on even if the caller is dropped: a record once begun is written.
    async fn append(&self, record: Record) -> Result<(), LedgerError> {
        self.write(move |_| record).await.map(drop)
    }

    async fn write(&self, make: impl FnOnce(&mut Inner) -> Record + Send + 'static) -> Result<Record, LedgerError> {
        let inner = self.inner.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            let record = make(&mut inner);
            let journal = inner.journal.as_mut().ok_or_else(|| broken("it was already closed".to_owned()))?;
            journal.append(&record)?;
            inner.replay.apply(&record);
            Ok(record)
        });
        written.await.unwrap_or_else(|e| Err(broken(e.to_string())))
    }

    /// Records how to reach the cloud again. Must come before the first [`Ledger::create`].
    pub async fn set_access(&self, provider: &str, access: serde_json::Value) -> Result<(), LedgerError> {
        self.append(Record::Access { provider: provider.to_owned(), access }).await
    }

    /// Creates a resource: the intent is on disk before `call` is first polled, the outcome after.
    pub async fn create<T>(
        &self,
        new: NewResource,
        call: impl Future<Output = Result<Created<T>, CreateError>>,
    ) -> Result<T, BuildError> {
        let n = self.intend(new).await?;
        match call.await {
            Ok(Created { id, value }) => {
                self.created(n, id).await?;
                Ok(value)
            }
            Err(CreateError { error, refused }) => {
                if refused {
                    // The call's own error is the one to tell of.
                    match self.append_fact(Record::Failed { n, error: error.to_string() }).await {
                        Ok(()) => self.tell("failed", self.entry(n)),
                        Err(e) => self.events.warning(e.to_string()),
                    }
                }
                Err(error)
            }
        }
    }

    /// Records an intent whose call makes several resources or that a later call gives an id; gives its number.
    pub async fn intend(&self, new: NewResource) -> Result<u64, LedgerError> {
        let NewResource { kind, name, region, lifetime, details } = new;
        let resource = Resource { kind: kind.to_owned(), name, region, lifetime, details };
        let record = self
            .write(move |inner| {
                let n = inner.next;
                inner.next += 1;
                Record::Intent { n, resource }
            })
            .await?;
        let Record::Intent { n, .. } = record else { return Err(broken("an intent was not written".to_owned())) };
        self.tell("intent", self.entry(n));
        Ok(n)
    }

    /// Records the id of an intended resource.
    pub async fn created(&self, n: u64, id: String) -> Result<(), LedgerError> {
        self.append_fact(Record::Created { n, id }).await?;
        self.tell("created", self.entry(n));
        Ok(())
    }

    /// Records that a resource is gone. It is gone even if that cannot be written.
    pub async fn reclaimed(&self, n: u64) -> Result<(), LedgerError> {
        let entry = self.entry(n);
        self.append_fact(Record::Reclaimed { n }).await?;
        self.tell("reclaimed", entry);
        Ok(())
    }

    /// Makes the artifact the user's. In this process it is, even if that cannot be written: a full disk never costs an image.
    pub async fn commit(&self) -> Result<(), LedgerError> {
        self.append_fact(Record::Committed).await?;
        self.events.emit(EventKind::Ledger { what: "committed", kind: String::new(), id: String::new() });
        Ok(())
    }

    /// Writes a record of what has happened already: it counts here whether or not the write succeeds.
    async fn append_fact(&self, record: Record) -> Result<(), LedgerError> {
        let written = self.append(record.clone()).await;
        if written.is_err() {
            let mut inner = self.lock();
            inner.replay.apply(&record);
            inner.owed.push(record);
        }
        written
    }

    /// Ends the ledger, and takes it away if nothing is left to do; otherwise it stays for `gaia cleanup`.
    pub fn end(&self) -> Result<(), LedgerError> {
        let mut inner = self.lock();
        let Some(mut journal) = inner.journal.take() else { return Ok(()) };
        let remaining = !inner.replay.remaining().is_empty();
        let owed = std::mem::take(&mut inner.owed);
        // A journal that does not know of the commit would have `gaia cleanup` take a finished artifact away.
        match owed.iter().try_for_each(|fact| journal.append(fact)) {
            Ok(()) if remaining => Ok(()),
            Err(_) if remaining && !inner.replay.committed => Ok(()),
            _ => journal.discard(),
        }
    }

    fn entry(&self, n: u64) -> Option<Entry> {
        self.lock().replay.entries.iter().find(|e| e.n == n).cloned()
    }

    fn tell(&self, what: &'static str, entry: Option<Entry>) {
        if let Some(entry) = entry {
            let id = entry.id_or_name().to_owned();
            self.events.emit(EventKind::Ledger { what, kind: entry.resource.kind, id });
        }
    }
}

fn broken(cause: String) -> LedgerError {
    LedgerError::Io { doing: "write", place: "of this build".to_owned(), cause }
}
