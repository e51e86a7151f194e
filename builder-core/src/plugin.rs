//! The traits that plugins implement: `Builder`, `Provisioner`, `PostProcessor`, and their typed, pure preparation.
//!
//! A plugin crate writes a `Config` struct, a `prepare` that looks at nothing but that config, and a `run`.
//! [`crate::registry`] makes it known under its type.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::artifact::Artifact;
use crate::communicator::{Connector, Machine};
use crate::context::BuildContext;
use crate::decode::Problems;
use crate::error::BuildError;
use crate::ledger::Reclaimer;

/// A prepared builder: it makes a machine, lets the hook provision it, and turns it into an artifact.
#[async_trait]
pub trait Builder: Send + Sync + Debug {
    /// Looks at the files that the config names. Called for every build before anything is created.
    async fn preflight(&self) -> Result<(), Problems> {
        Ok(())
    }

    /// Builds. Every resource is created through the context's ledger, and nothing is taken away here:
    /// the engine reclaims from the ledger when this returns, whatever it returns.
    async fn run(&self, cx: &BuildContext, provision: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError>;

    /// Gives back what [`Builder::run`] recorded: asked for only if something was. The same type serves `gaia cleanup`.
    async fn reclaimer(&self, cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError>;
}

/// What a builder calls when its machine can be reached: runs the build's provisioners on it.
#[async_trait]
pub trait Provision: Send + Sync {
    /// Runs every provisioner, in order. An error ends the build.
    async fn provision(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError>;
}

/// A prepared provisioner.
#[async_trait]
pub trait Provisioner: Send + Sync + Debug {
    /// Looks at the files that the config names. Called for every build before anything is created.
    async fn preflight(&self) -> Result<(), Problems> {
        Ok(())
    }

    /// Changes the machine. Must end soon after the context is cancelled.
    async fn provision(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError>;
}

/// What a post-processor made of an artifact.
#[derive(Debug)]
pub struct PostProcessed {
    /// The artifact that goes on down the chain; `None` ends the chain.
    pub artifact: Option<Arc<dyn Artifact>>,
    /// Whether the artifact that came in is kept, if the user does not say.
    pub keep_input: bool,
    /// Whether the user's `keep_input_artifact: false` is overruled (the output is the input, or refers to it).
    pub must_keep_input: bool,
}

/// A prepared post-processor.
#[async_trait]
pub trait PostProcessor: Send + Sync + Debug {
    /// Looks at the files that the config names. Called for every build before anything is created.
    async fn preflight(&self) -> Result<(), Problems> {
        Ok(())
    }

    /// Makes an artifact of an artifact.
    async fn post_process(&self, cx: &BuildContext, artifact: Arc<dyn Artifact>) -> Result<PostProcessed, BuildError>;
}

/// What `prepare` may know of its build besides the config. Nothing in it can be waited for.
#[derive(Clone, Copy, Debug)]
pub struct PrepareContext<'a> {
    /// The name of the build.
    pub build_name: &'a str,
    /// The type of its builder.
    pub build_type: &'a str,
    /// `-force`.
    pub force: bool,
}

/// A builder as its crate writes it.
pub trait BuilderPlugin: Builder + Sized + 'static {
    /// The build type: the `type` of a template's builder.
    const TYPE: &'static str;
    /// One line for `gaia plugins`.
    const ABOUT: &'static str;
    /// Whether it reaches its machine by a communicator, whose keys then stand beside its own.
    const COMMUNICATES: bool;
    /// The config: every field with a default, and `deny_unknown_fields` left to the decoder.
    type Config: DeserializeOwned + JsonSchema;

    /// Checks the config, all of it, and keeps what `run` needs. Pure: no file, network or credential.
    fn prepare(config: Self::Config, connector: Arc<dyn Connector>, cx: PrepareContext<'_>) -> Result<Self, Problems>;
}

/// A provisioner as its crate writes it.
pub trait ProvisionerPlugin: Provisioner + Sized + 'static {
    /// The `type` of a template's provisioner.
    const TYPE: &'static str;
    /// One line for `gaia plugins`.
    const ABOUT: &'static str;
    /// The config.
    type Config: DeserializeOwned + JsonSchema;

    /// Checks the config, all of it. Pure.
    fn prepare(config: Self::Config, cx: PrepareContext<'_>) -> Result<Self, Problems>;
}

/// A post-processor as its crate writes it.
pub trait PostProcessorPlugin: PostProcessor + Sized + 'static {
    /// The `type` of a template's post-processor.
    const TYPE: &'static str;
    /// One line for `gaia plugins`.
    const ABOUT: &'static str;
    /// The config.
    type Config: DeserializeOwned + JsonSchema;

    /// Checks the config, all of it. Pure.
    fn prepare(config: Self::Config, cx: PrepareContext<'_>) -> Result<Self, Problems>;
}

/// A communicator as its crate writes it.
pub trait CommunicatorPlugin: Connector + Sized + 'static {
    /// The `communicator` of a template's builder.
    const TYPE: &'static str;
    /// One line for `gaia plugins`.
    const ABOUT: &'static str;
    /// The config: keys that stand among the builder's.
    type Config: DeserializeOwned + JsonSchema;

    /// Checks the config, all of it. Pure.
    fn prepare(config: Self::Config, cx: PrepareContext<'_>) -> Result<Self, Problems>;
}
