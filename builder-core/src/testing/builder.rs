//! A builder on a cloud that is a list: two temporary resources and an image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::MockConnector;
use crate::artifact::{Artifact, Taggable, Tags};
use crate::communicator::{Connector, Machine, Target};
use crate::context::BuildContext;
use crate::decode::Problems;
use crate::error::BuildError;
use crate::ledger::{CreateError, Created, Entry, EntryState, Lifetime, NewResource, ReclaimContext, Reclaimer};
use crate::plugin::{Builder, BuilderPlugin, PrepareContext, Provision};
use crate::render::RenderData;

/// The cloud of the mock builder. Clones share it. Every call takes a moment of tokio's time.
#[derive(Clone, Debug, Default)]
pub struct MockCloud {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Ids, with the names they were created by.
    resources: BTreeMap<String, String>,
    tags: BTreeMap<String, Vec<(String, String)>>,
    calls: Vec<String>,
    refused: BTreeSet<String>,
    lost: BTreeSet<String>,
    stuck: BTreeSet<String>,
}

impl MockCloud {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cloud refuses to create this kind.
    pub fn refuse(&self, kind: &str) {
        self.state().refused.insert(kind.to_owned());
    }

    /// The cloud creates this kind, but its answer is lost.
    pub fn lose_reply(&self, kind: &str) {
        self.state().lost.insert(kind.to_owned());
    }

    /// The cloud does not let go of this kind.
    pub fn stick(&self, kind: &str) {
        self.state().stuck.insert(kind.to_owned());
    }

    /// The cloud works again; what exists stays.
    pub fn mend(&self) {
        let mut state = self.state();
        state.refused.clear();
        state.lost.clear();
        state.stuck.clear();
    }

    /// The ids of what exists.
    pub fn resources(&self) -> Vec<String> {
        self.state().resources.keys().cloned().collect()
    }

    /// Every call so far: `create machine`, `delete machine-1`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The tags of a resource.
    pub fn tags(&self, id: &str) -> Vec<(String, String)> {
        self.state().tags.get(id).cloned().unwrap_or_default()
    }

    async fn create(&self, kind: &str, name: &str) -> Result<Created<String>, CreateError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let id = {
            let mut state = self.state();
            state.calls.push(format!("create {kind}"));
            if state.refused.contains(kind) {
                let error = BuildError::failed(format!("the cloud refused to create a {kind}"));
                return Err(CreateError { error, refused: true });
            }
            let id = format!("{kind}-{}", state.resources.len() + 1);
            state.resources.insert(id.clone(), name.to_owned());
            if state.lost.contains(kind) {
                let error = BuildError::failed(format!("no answer to the creation of a {kind}"));
                return Err(CreateError { error, refused: false });
            }
            id
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(Created { id: id.clone(), value: id })
    }
}

/// The builder `mock`.
#[derive(Clone, Debug)]
pub struct MockBuilder {
    /// Its cloud; a test that wants to look at it sets it.
    pub cloud: MockCloud,
    /// Its communicator.
    pub connector: Arc<dyn Connector>,
    /// Its config.
    pub config: MockConfig,
}

/// The config of the builder `mock`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MockConfig {
    /// The name of the image.
    pub image_name: String,
    /// Hands back nothing.
    pub no_artifact: bool,
    /// Panics once the machine is there: a bug in a plugin.
    pub panic: bool,
    /// Refused in `prepare`.
    pub invalid: bool,
}

impl MockBuilder {
    /// A builder on this cloud, with a machine that answers to everything.
    pub fn on(cloud: &MockCloud) -> Self {
        Self { cloud: cloud.clone(), connector: Arc::new(MockConnector::default()), config: MockConfig::default() }
    }
}

impl BuilderPlugin for MockBuilder {
    const TYPE: &'static str = "mock";
    const ABOUT: &'static str = "a cloud that is a list, for tests";
    const COMMUNICATES: bool = true;
    type Config = MockConfig;

    fn prepare(config: MockConfig, connector: Arc<dyn Connector>, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.invalid {
            problems.add("invalid", "invalid by request");
        }
        problems.ok(Self { cloud: MockCloud::default(), connector, config })
    }
}

#[async_trait]
impl Builder for MockBuilder {
    async fn run(&self, cx: &BuildContext, provision: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        cx.ledger.set_access("mock", serde_json::Value::Null).await?;
        self.create(cx, "network", Lifetime::Temporary).await?;
        cx.cancel.check()?;
        let machine = self.create(cx, "machine", Lifetime::Temporary).await?;
        cx.cancel.check()?;
        assert!(!self.config.panic, "a panic by request");
        let target = Target { address: &machine, private_key: None };
        let communicator = self.connector.connect(cx, target).await?;
        let build_vars = BTreeMap::from([("ID".to_owned(), machine.clone())]);
        provision.provision(cx, &Machine { communicator, build_vars }).await?;
        cx.cancel.check()?;
        let image = self.create(cx, "image", Lifetime::Artifact).await?;
        cx.cancel.sleep(Duration::from_secs(1)).await?;
        let artifact = MockArtifact { cloud: self.cloud.clone(), id: image };
        Ok((!self.config.no_artifact).then(|| Box::new(artifact) as Box<dyn Artifact>))
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Ok(Arc::new(self.cloud.clone()))
    }
}

impl MockBuilder {
    async fn create(&self, cx: &BuildContext, kind: &'static str, lifetime: Lifetime) -> Result<String, BuildError> {
        cx.events.say(format!("Creating {kind}"));
        let name = format!("gaia-{}-{kind}", cx.build_id);
        let details = BTreeMap::new();
        let new = NewResource { kind, name: name.clone(), region: "nowhere".to_owned(), lifetime, details };
        cx.ledger.create(new, self.cloud.create(kind, &name)).await
    }
}

#[async_trait]
impl Reclaimer for MockCloud {
    fn after(&self, kind: &str) -> &'static [&'static str] {
        if kind == "network" { &["machine"] } else { &[] }
    }

    async fn reclaim(&self, cx: &ReclaimContext, entry: &Entry) -> Result<(), BuildError> {
        let kind = &entry.resource.kind;
        cx.events.say(format!("Deleting {kind}"));
        let wait = tokio::time::sleep(Duration::from_millis(10));
        // Hurried or not, the cloud is asked; hurried, nobody waits.
        let _hurried = cx.cancel.run(wait).await.is_err();
        let mut state = self.state();
        if state.stuck.contains(kind) {
            return Err(BuildError::failed(format!("the cloud does not let go of the {kind}")));
        }
        let id = match &entry.state {
            EntryState::Created(id) => Some(id.clone()),
            _ => state.resources.iter().find(|(_, name)| **name == entry.resource.name).map(|(id, _)| id.clone()),
        };
        if let Some(id) = id {
            state.calls.push(format!("delete {id}"));
            state.resources.remove(&id);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MockArtifact {
    cloud: MockCloud,
    id: String,
}

#[async_trait]
impl Artifact for MockArtifact {
    fn builder_id(&self) -> &'static str {
        "mock.builder"
    }

    fn id(&self) -> String {
        self.id.clone()
    }

    fn describe(&self) -> String {
        format!("image {}", self.id)
    }

    async fn destroy(&self, _cx: &BuildContext) -> Result<(), BuildError> {
        self.cloud.state().resources.remove(&self.id);
        Ok(())
    }

    fn as_taggable(&self) -> Option<&dyn Taggable> {
        Some(self)
    }
}

#[async_trait]
impl Taggable for MockArtifact {
    fn tag_data(&self) -> RenderData {
        RenderData::default().with("SourceAMI", "image-0")
    }

    async fn tag(&self, cx: &BuildContext, tags: &Tags) -> Result<(), BuildError> {
        cx.events.say(format!("Adding tags to {}", self.id));
        self.cloud.state().tags.insert(self.id.clone(), tags.tags.clone());
        Ok(())
    }
}
