//! The records of a ledger, and what they add up to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the records that this crate writes.
pub const VERSION: u32 = 1;

/// One fact in a ledger. Fields are only ever added, with defaults; a change of meaning is a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The build begins.
    Begin {
        /// Version of the records that follow.
        version: u32,
        /// The id that resources carry.
        build_id: String,
        /// Its name.
        build_name: String,
        /// The type of its builder.
        build_type: String,
        /// When.
        started: Timestamp,
        /// The process.
        pid: u32,
    },
    /// How to reach the cloud again. Holds names and addresses, never a secret.
    Access {
        /// The registered reclaimer: `aws-ec2`.
        provider: String,
        /// What that reclaimer needs.
        access: serde_json::Value,
    },
    /// A resource is about to be created.
    Intent {
        /// Its number in this ledger, from 1.
        n: u64,
        /// What it is and the name by which the cloud will know it.
        resource: Resource,
    },
    /// It was created.
    Created {
        /// Its number.
        n: u64,
        /// Its id in the cloud.
        id: String,
    },
    /// The cloud refused: there is nothing.
    Failed {
        /// Its number.
        n: u64,
        /// Why.
        error: String,
    },
    /// It is gone.
    Reclaimed {
        /// Its number.
        n: u64,
    },
    /// The artifact is finished and belongs to the user from here on.
    Committed,
}

/// How long a resource is meant to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// For the build: reclaimed whatever happens.
    Temporary,
    /// For good: reclaimed only if the build is not committed.
    Artifact,
}

/// A resource as a ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// The field's own word: `instance`, `security-group`, `image`.
    pub kind: String,
    /// The name or client token by which the cloud will know it.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Whatever else its reclaimer needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Nobody knows: the call may or may not have taken effect.
    Intended,
    /// It exists, by this id.
    Created(String),
    /// It never came to be.
    Failed,
    /// It is gone.
    Reclaimed,
}

/// A resource and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub n: u64,
    /// What it is.
    pub resource: Resource,
    /// What became of it.
    pub state: EntryState,
}

impl Entry {
    /// Its id, if it is known.
    pub fn id(&self) -> Option<&str> {
        match &self.state {
            EntryState::Created(id) => Some(id),
            _ => None,
        }
    }

    /// Its id if it is known, else its name.
    pub fn id_or_name(&self) -> &str {
        self.id().unwrap_or(&self.resource.name)
    }
}

/// In words: `security-group sg-1 in us-west-2`; an intent whose outcome nobody knows says so.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} in {}", self.resource.kind, self.id_or_name(), self.resource.region)?;
        if self.state == EntryState::Intended {
            f.write_str(" (if it was created)")?;
        }
        Ok(())
    }
}

/// What the records of a ledger add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// The build's id.
    pub build_id: String,
    /// Its name.
    pub build_name: String,
    /// The type of its builder.
    pub build_type: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// How to reach the cloud: provider and what its reclaimer needs.
    pub access: Option<(String, serde_json::Value)>,
    /// Every resource, in the order of its intent.
    pub entries: Vec<Entry>,
    /// Whether the artifact is the user's.
    pub committed: bool,
}

impl Replay {
    /// Takes in one more record. A record about an unknown number changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Begin { build_id, build_name, build_type, started, .. } => {
                self.build_id.clone_from(build_id);
                self.build_name.clone_from(build_name);
                self.build_type.clone_from(build_type);
                self.started = Some(*started);
            }
            Record::Access { provider, access } => self.access = Some((provider.clone(), access.clone())),
            Record::Intent { n, resource } => {
                self.entries.push(Entry { n: *n, resource: resource.clone(), state: EntryState::Intended });
            }
            Record::Created { n, id } => self.set(*n, EntryState::Created(id.clone())),
            Record::Failed { n, .. } => self.set(*n, EntryState::Failed),
            Record::Reclaimed { n } => self.set(*n, EntryState::Reclaimed),
            Record::Committed => self.committed = true,
        }
    }

    fn set(&mut self, n: u64, state: EntryState) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.n == n) {
            entry.state = state;
        }
    }

    /// What has to be given back, newest first: everything that may exist, but for the artifact of a committed build.
    pub fn remaining(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter(|e| matches!(e.state, EntryState::Intended | EntryState::Created(_)))
            .filter(|e| e.resource.lifetime == Lifetime::Temporary || !self.committed)
            .cloned()
            .collect();
        entries.reverse();
        entries
    }
}
