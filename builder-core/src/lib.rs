//! The contract of gaia: traits, artifact, registry, events, ledger, config decoding and the build engine.
//!
//! Plugins (builders, provisioners, post-processors, communicators) depend on this crate and on nothing else of gaia.
//! It knows no cloud, no SSH library, no template syntax and no terminal.

pub mod artifact;
pub mod cancel;
pub mod clock;
pub mod communicator;
pub mod context;
pub mod decode;
pub mod engine;
pub mod error;
pub mod event;
pub mod ledger;
pub mod node;
pub mod none;
pub mod plugin;
pub mod registry;
pub mod render;
pub mod secret;
pub mod source;
pub mod testing;

#[doc(hidden)]
pub use inventory;

pub use artifact::{Artifact, Taggable, Tags};
pub use cancel::{Cancel, Cancelled, Stage};
pub use clock::Clock;
pub use communicator::{
    AddressSource, Authentication, Communicator, CommunicatorError, Connector, ExitStatus, Machine, Output, Target,
    Upload,
};
pub use context::BuildContext;
pub use decode::{GoDuration, Problems};
pub use error::BuildError;
pub use event::{Event, EventKind, Events};
pub use plugin::{
    Builder, BuilderPlugin, CommunicatorPlugin, PostProcessed, PostProcessor, PostProcessorPlugin, PrepareContext,
    Provision, Provisioner, ProvisionerPlugin,
};
pub use registry::Registry;
pub use render::{Deferred, DeferredMap, RenderData, Renderer};
pub use secret::{ExposeSecret, Redactor, SecretString};
