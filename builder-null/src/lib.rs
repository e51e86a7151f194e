//! The null builder: connects to a host that exists and provisions it. It makes nothing and hands back nothing of use.
//!
//! ```json
//! { "type": "null", "ssh_host": "10.0.0.7", "ssh_username": "core", "ssh_agent_auth": true }
//! ```
//!
//! It is the smallest real builder, and the one to copy. A builder crate has these parts, in this order below:
//!
//! 1. a [`Config`], which holds what the user may write; the communicator's keys stand beside it and are not in it;
//! 2. a type of its own ([`Null`]), registered, which [`BuilderPlugin::prepare`] makes from a config: all rules are checked
//!    there, and nothing is looked at but the config;
//! 3. [`Builder::run`]: straight-line code from connection to artifact. A builder that creates something does so through
//!    `cx.ledger.create`, and gives nothing back itself;
//! 4. a [`Reclaimer`], which gives back what the ledger names, after an error as after a crash;
//! 5. an [`Artifact`].
//!
//! A binary that is to know the builder says `use builder_null as _;`, or the linker drops it. What a builder with a cloud
//! adds to this is shown by `builder_core::testing::MockBuilder`, and what it has to keep by
//! `builder_core::testing::check_properties`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use builder_core::ledger::{Entry, ReclaimContext, Reclaimer};
use builder_core::{
    Artifact, Authentication, BuildContext, BuildError, Builder, BuilderPlugin, Connector, Machine, PrepareContext,
    Problems, Provision, Target,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The id of the machine and of the artifact, as in Packer.
const ID: &str = "Null";

/// How long to say goodbye to the machine.
const GOODBYE: Duration = Duration::from_secs(5);

/// No keys of its own: everything there is to say is said to the communicator.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {}

/// A prepared null builder.
#[derive(Debug)]
pub struct Null {
    connector: Arc<dyn Connector>,
}

builder_core::register_builder!(Null);

impl BuilderPlugin for Null {
    const TYPE: &'static str = "null";
    const ABOUT: &'static str = "connects to a host that exists and provisions it";
    const COMMUNICATES: bool = true;
    type Config = Config;

    /// Other builders make a host, a user and a key pair; here all three have to be given, unless no network is needed.
    fn prepare(_config: Config, connector: Arc<dyn Connector>, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if connector.port().is_some() {
            let kind = connector.kind();
            let needed = [
                (connector.host().is_none(), "a Host", format!("{kind}_host")),
                (connector.username().is_none(), "a Username", format!("{kind}_username")),
                (
                    connector.authentication() == Authentication::NeedsKeyPair,
                    "one authentication method",
                    format!("{kind}_password, {kind}_private_key_file or {kind}_agent_auth"),
                ),
            ];
            for (_, what, keys) in needed.into_iter().filter(|(missing, ..)| *missing) {
                let message = format!("{what} must be specified, please reference your communicator documentation");
                problems.add("", message).help(format!("give {keys}"));
            }
        }
        problems.ok(Self { connector })
    }
}

#[async_trait]
impl Builder for Null {
    async fn run(&self, cx: &BuildContext, provision: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        // A communicator that needs no network does not ask for the address.
        let host = self.connector.host().unwrap_or_default().to_owned();
        let communicator = self.connector.connect(cx, Target { address: &host, private_key: None }).await?;
        let machine = Machine::new(cx, communicator, &*self.connector, (ID, &host), BTreeMap::new());
        // After an error the connection stays open: the error-cleanup-provisioner uses it.
        provision.provision(cx, &machine).await?;
        // Provisioners may have ended well before they saw the cancellation; the user is told of it all the same.
        cx.cancel.check()?;
        // The work is done: a machine that does not answer to a goodbye changes nothing.
        drop(tokio::time::timeout(GOODBYE, machine.communicator.close()).await);
        Ok(Some(Box::new(NullArtifact)))
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Ok(Arc::new(NothingToReclaim))
    }
}

/// Nothing is created, so a ledger that names something was not written by this builder.
#[derive(Debug)]
struct NothingToReclaim;

#[async_trait]
impl Reclaimer for NothingToReclaim {
    fn after(&self, _kind: &str) -> &'static [&'static str] {
        &[]
    }

    async fn reclaim(&self, _cx: &ReclaimContext, _entry: &Entry) -> Result<(), BuildError> {
        Err(BuildError::failed("the null builder creates nothing and cannot take it away: please report this"))
    }
}

/// What the null builder hands back, since a build has to hand back something for post-processors to run.
#[derive(Debug)]
struct NullArtifact;

#[async_trait]
impl Artifact for NullArtifact {
    fn builder_id(&self) -> &'static str {
        "fnoeding.null"
    }

    fn id(&self) -> String {
        ID.to_owned()
    }

    fn describe(&self) -> String {
        "Did not export anything. This is the null builder".to_owned()
    }

    /// The host is the user's and stays as it is.
    async fn destroy(&self, _cx: &BuildContext) -> Result<(), BuildError> {
        Ok(())
    }
}
