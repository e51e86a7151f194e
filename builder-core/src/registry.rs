//! The registry: which builders, provisioners, post-processors, communicators and reclaimers are linked in.
//!
//! A plugin crate registers itself with one of the macros here; the binary must name the crate
//! (`use builder_amazon_ebs as _;`), or the linker drops it and its registration with it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use crate::communicator::Connector;
use crate::decode::{self, Decoded, Decoding};
use crate::ledger::OpenReclaimer;
use crate::node::Node;
use crate::plugin::{
    Builder, BuilderPlugin, CommunicatorPlugin, PostProcessor, PostProcessorPlugin, PrepareContext, Provisioner,
    ProvisionerPlugin,
};
use crate::source::nearest;

/// What every registration tells.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The key: the `type` in a template.
    pub key: &'static str,
    /// The crate that registers it, with its version.
    pub krate: &'static str,
    /// One line for `gaia plugins`.
    pub about: &'static str,
    /// The keys of its config.
    pub fields: fn() -> &'static [&'static str],
    /// The JSON schema of its config.
    pub schema: fn() -> Schema,
}

impl About {
    const fn of<C: DeserializeOwned + JsonSchema>(key: &'static str, krate: &'static str, about: &'static str) -> Self {
        Self { key, krate, about, fields: decode::field_names::<C>, schema: schema_of::<C> }
    }
}

type PrepareBuilder = fn(&Node, Arc<dyn Connector>, PrepareContext<'_>, &Decoding<'_>) -> Decoded<Box<dyn Builder>>;
type Prepare<T> = fn(&Node, PrepareContext<'_>, &Decoding<'_>) -> Decoded<T>;

/// A registered builder.
#[derive(Clone, Copy, Debug)]
pub struct BuilderEntry {
    /// Key, crate, text.
    pub about: About,
    /// Whether communicator keys stand beside its own.
    pub communicates: bool,
    /// Decodes and prepares a config.
    pub prepare: PrepareBuilder,
}

/// A registered provisioner.
#[derive(Clone, Copy, Debug)]
pub struct ProvisionerEntry {
    /// Key, crate, text.
    pub about: About,
    /// Decodes and prepares a config.
    pub prepare: Prepare<Box<dyn Provisioner>>,
}

/// A registered post-processor.
#[derive(Clone, Copy, Debug)]
pub struct PostProcessorEntry {
    /// Key, crate, text.
    pub about: About,
    /// Decodes and prepares a config.
    pub prepare: Prepare<Box<dyn PostProcessor>>,
}

/// A registered communicator.
#[derive(Clone, Copy, Debug)]
pub struct CommunicatorEntry {
    /// Key, crate, text.
    pub about: About,
    /// Decodes and prepares a config.
    pub prepare: Prepare<Arc<dyn Connector>>,
}

/// A registered reclaimer: how `gaia cleanup` gives back what a ledger names, without the builder.
#[derive(Clone, Copy, Debug)]
pub struct ReclaimerEntry {
    /// The provider, as the ledger names it: `aws-ec2`.
    pub provider: &'static str,
    /// The crate that registers it.
    pub krate: &'static str,
    /// Opens a reclaimer from what the ledger says of access.
    pub open: OpenReclaimer,
}

inventory::collect!(BuilderEntry);
inventory::collect!(ProvisionerEntry);
inventory::collect!(PostProcessorEntry);
inventory::collect!(CommunicatorEntry);
inventory::collect!(ReclaimerEntry);

impl BuilderEntry {
    /// The entry of a plugin type; `krate` as in [`About`].
    pub const fn of<P: BuilderPlugin>(krate: &'static str) -> Self {
        Self {
            about: About::of::<P::Config>(P::TYPE, krate, P::ABOUT),
            communicates: P::COMMUNICATES,
            prepare: |node, connector, cx, how| {
                decode::prepare(node, how, |config| {
                    P::prepare(config, connector, cx).map(|p| Box::new(p) as Box<dyn Builder>)
                })
            },
        }
    }
}

impl ProvisionerEntry {
    /// The entry of a plugin type; `krate` as in [`About`].
    pub const fn of<P: ProvisionerPlugin>(krate: &'static str) -> Self {
        Self {
            about: About::of::<P::Config>(P::TYPE, krate, P::ABOUT),
            prepare: |node, cx, how| {
                decode::prepare(node, how, |config| P::prepare(config, cx).map(|p| Box::new(p) as Box<dyn Provisioner>))
            },
        }
    }
}

impl PostProcessorEntry {
    /// The entry of a plugin type; `krate` as in [`About`].
    pub const fn of<P: PostProcessorPlugin>(krate: &'static str) -> Self {
        Self {
            about: About::of::<P::Config>(P::TYPE, krate, P::ABOUT),
            prepare: |node, cx, how| {
                decode::prepare(node, how, |config| {
                    P::prepare(config, cx).map(|p| Box::new(p) as Box<dyn PostProcessor>)
                })
            },
        }
    }
}

impl CommunicatorEntry {
    /// The entry of a plugin type; `krate` as in [`About`].
    pub const fn of<P: CommunicatorPlugin>(krate: &'static str) -> Self {
        Self {
            about: About::of::<P::Config>(P::TYPE, krate, P::ABOUT),
            prepare: |node, cx, how| {
                decode::prepare(node, how, |config| P::prepare(config, cx).map(|p| Arc::new(p) as Arc<dyn Connector>))
            },
        }
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

/// Makes a builder known under its type.
#[macro_export]
macro_rules! register_builder {
    ($plugin:ty) => {
        $crate::inventory::submit! { $crate::registry::BuilderEntry::of::<$plugin>($crate::krate!()) }
    };
}

/// Makes a provisioner known under its type.
#[macro_export]
macro_rules! register_provisioner {
    ($plugin:ty) => {
        $crate::inventory::submit! { $crate::registry::ProvisionerEntry::of::<$plugin>($crate::krate!()) }
    };
}

/// Makes a post-processor known under its type.
#[macro_export]
macro_rules! register_post_processor {
    ($plugin:ty) => {
        $crate::inventory::submit! { $crate::registry::PostProcessorEntry::of::<$plugin>($crate::krate!()) }
    };
}

/// Makes a communicator known under its type.
#[macro_export]
macro_rules! register_communicator {
    ($plugin:ty) => {
        $crate::inventory::submit! { $crate::registry::CommunicatorEntry::of::<$plugin>($crate::krate!()) }
    };
}

/// Makes a reclaimer known under its provider: `register_reclaimer!("aws-ec2", open)`.
#[macro_export]
macro_rules! register_reclaimer {
    ($provider:expr, $open:expr) => {
        $crate::inventory::submit! {
            $crate::registry::ReclaimerEntry { provider: $provider, krate: $crate::krate!(), open: $open }
        }
    };
}

/// The calling crate and its version: `builder-null 0.1.0`.
#[macro_export]
macro_rules! krate {
    () => {
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"))
    };
}

/// Two crates claim the same key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{key}` is registered twice, by {first} and by {second}: link only one of them")]
pub struct DuplicateKey {
    /// `builder`, `provisioner`, …
    pub kind: &'static str,
    /// The key.
    pub key: &'static str,
    /// The crate that sorts first.
    pub first: &'static str,
    /// The other.
    pub second: &'static str,
}

/// Everything that is registered, sorted by key.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// By build type.
    pub builders: BTreeMap<&'static str, BuilderEntry>,
    /// By type.
    pub provisioners: BTreeMap<&'static str, ProvisionerEntry>,
    /// By type.
    pub post_processors: BTreeMap<&'static str, PostProcessorEntry>,
    /// By type.
    pub communicators: BTreeMap<&'static str, CommunicatorEntry>,
    /// By provider.
    pub reclaimers: BTreeMap<&'static str, ReclaimerEntry>,
}

impl Registry {
    /// What is linked into this binary.
    pub fn linked() -> Result<Self, DuplicateKey> {
        let mut registry = Self::default();
        inventory::iter::<BuilderEntry>().try_for_each(|e| registry.add_builder(*e))?;
        inventory::iter::<ProvisionerEntry>().try_for_each(|e| registry.add_provisioner(*e))?;
        inventory::iter::<PostProcessorEntry>().try_for_each(|e| registry.add_post_processor(*e))?;
        inventory::iter::<CommunicatorEntry>().try_for_each(|e| registry.add_communicator(*e))?;
        inventory::iter::<ReclaimerEntry>().try_for_each(|e| registry.add_reclaimer(*e))?;
        Ok(registry)
    }

    /// Adds a builder.
    pub fn add_builder(&mut self, entry: BuilderEntry) -> Result<(), DuplicateKey> {
        add("builder", &mut self.builders, entry.about.key, entry, |e| e.about.krate)
    }

    /// Adds a provisioner.
    pub fn add_provisioner(&mut self, entry: ProvisionerEntry) -> Result<(), DuplicateKey> {
        add("provisioner", &mut self.provisioners, entry.about.key, entry, |e| e.about.krate)
    }

    /// Adds a post-processor.
    pub fn add_post_processor(&mut self, entry: PostProcessorEntry) -> Result<(), DuplicateKey> {
        add("post-processor", &mut self.post_processors, entry.about.key, entry, |e| e.about.krate)
    }

    /// Adds a communicator.
    pub fn add_communicator(&mut self, entry: CommunicatorEntry) -> Result<(), DuplicateKey> {
        add("communicator", &mut self.communicators, entry.about.key, entry, |e| e.about.krate)
    }

    /// Adds a reclaimer.
    pub fn add_reclaimer(&mut self, entry: ReclaimerEntry) -> Result<(), DuplicateKey> {
        add("reclaimer", &mut self.reclaimers, entry.provider, entry, |e| e.krate)
    }
}

fn add<E: Copy>(
    kind: &'static str,
    entries: &mut BTreeMap<&'static str, E>,
    key: &'static str,
    entry: E,
    krate: impl Fn(&E) -> &'static str,
) -> Result<(), DuplicateKey> {
    let Some(other) = entries.insert(key, entry) else { return Ok(()) };
    let mut crates = [krate(&other), krate(&entry)];
    crates.sort_unstable();
    Err(DuplicateKey { kind, key, first: crates[0], second: crates[1] })
}

/// The message and the advice for a type that nobody registered.
pub fn unknown_type<'a>(kind: &str, typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> (String, String) {
    let list: Vec<_> = known.clone().into_iter().collect();
    let help = match nearest(typed, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", list.join(", ")),
    };
    (format!("unknown {kind} type `{typed}`"), help)
}
