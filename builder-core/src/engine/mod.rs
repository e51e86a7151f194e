//! The engine: runs planned builds, one or many in parallel, from preflight to the last post-processor.
//!
//! It knows traits and the ledger, not what any plugin does. Texts that Packer's users know are theirs word for word.

mod build;
mod cleanup;
mod post_process;
mod provision;

pub(crate) use build::caught;
pub use cleanup::{Cleanup, CleanupOutcome};

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::communicator::Connector;
use crate::context::Names;
use crate::decode::Problems;
use crate::event::{ArtifactSummary, EventKind, Events};
use crate::ledger::LedgerStore;
use crate::node::Node;
use crate::plugin::{Builder, PostProcessor, Provisioner};
use crate::render::Renderer;
use crate::secret::{Redactor, SecretString};
use crate::source::Diagnostics;

/// A prepared component with its place in the template, for what can only be found out later.
#[derive(Debug)]
pub struct Placed<T> {
    /// The component, in the words of an error: ``provisioner `shell` ``.
    pub component: String,
    /// Its config as it was written.
    pub node: Node,
    /// The prepared component.
    pub it: T,
}

/// One builder with everything that happens to its machine and its artifact: a build that is ready to run.
#[derive(Debug)]
pub struct PlannedBuild {
    /// The builder's `name`, else its type.
    pub name: String,
    /// The builder's type.
    pub build_type: String,
    /// The builder.
    pub builder: Placed<Box<dyn Builder>>,
    /// Its communicator; the builder has it too.
    pub connector: Arc<dyn Connector>,
    /// In order.
    pub provisioners: Vec<PlannedProvisioner>,
    /// Runs on the machine after an error.
    pub error_cleanup: Option<PlannedProvisioner>,
    /// Chains of post-processors, each starting from the builder's artifact.
    pub post_processors: Vec<Vec<PlannedPostProcessor>>,
    /// The `{{ }}` language with this build's variables.
    pub renderer: Arc<dyn Renderer>,
    /// Values that must not be shown.
    pub secrets: Vec<SecretString>,
}

/// A provisioner with what the template says around it.
#[derive(Debug)]
pub struct PlannedProvisioner {
    /// Its type.
    pub kind: String,
    /// The provisioner.
    pub provisioner: Placed<Box<dyn Provisioner>>,
    /// Waits this long first.
    pub pause_before: Option<Duration>,
    /// Ends it after this long, each try by itself.
    pub timeout: Option<Duration>,
    /// Tries again this often.
    pub max_retries: u32,
}

/// A post-processor with what the template says around it.
#[derive(Debug)]
pub struct PlannedPostProcessor {
    /// Its type.
    pub kind: String,
    /// Its `name`, else its type.
    pub name: String,
    /// `keep_input_artifact`, if the user said.
    pub keep_input: Option<bool>,
    /// The post-processor.
    pub post_processor: Placed<Box<dyn PostProcessor>>,
}

/// `-on-error`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Give everything back.
    #[default]
    Cleanup,
    /// Leave everything for the user to look at, and for `gaia cleanup`.
    Abort,
    /// Ask; without a terminal, clean up.
    Ask,
    /// Run the error-cleanup-provisioner, then leave everything.
    RunCleanupProvisioner,
}

/// An answer to `-on-error=ask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `c`
    Cleanup,
    /// `a`
    Abort,
    /// `r`: the provisioners, all of them, once more.
    Retry,
}

/// Asks a person what to do after an error.
#[async_trait]
pub trait Ask: Send + Sync + Debug {
    /// Asks; `retry` tells whether that is on offer. `None` if there is nobody to ask.
    async fn ask(&self, build: &str, error: &str, retry: bool) -> Option<Answer>;
}

/// For runs without a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

#[async_trait]
impl Ask for Nobody {
    async fn ask(&self, _build: &str, _error: &str, _retry: bool) -> Option<Answer> {
        None
    }
}

/// Everything that the builds of a run share.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where events go.
    pub events: Events,
    /// Tells when to stop.
    pub cancel: Cancel,
    /// The run's clock.
    pub clock: Clock,
    /// The secrets of the process.
    pub redactor: Redactor,
    /// Random names.
    pub names: Names,
    /// The environment of the process.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Where ledgers are kept.
    pub store: Arc<dyn LedgerStore>,
    /// What to do after an error.
    pub on_error: OnError,
    /// Whom to ask.
    pub ask: Arc<dyn Ask>,
    /// `-force`
    pub force: bool,
    /// How many builds run at once.
    pub parallel: usize,
}

/// How a build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub build_name: String,
    /// The id that its resources carry.
    pub build_id: String,
    /// The artifacts that exist, finished or not thrown away.
    pub artifacts: Vec<ArtifactSummary>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Resources that are still there, in words.
    pub left_behind: Vec<String>,
}

impl Run {
    /// Looks at the local files of every build, before anything is created.
    pub async fn preflight(builds: &[PlannedBuild]) -> Diagnostics {
        let mut found = Diagnostics::default();
        for build in builds {
            let mut note = |component: &str, node: &Node, result: Result<(), Problems>| {
                if let Err(problems) = result {
                    found.extend(problems.locate(component, node));
                }
            };
            let placed = &build.builder;
            note(&placed.component, &placed.node, placed.it.preflight().await);
            note(&placed.component, &placed.node, build.connector.preflight().await);
            for provisioner in build.provisioners.iter().chain(&build.error_cleanup) {
                let placed = &provisioner.provisioner;
                note(&placed.component, &placed.node, placed.it.preflight().await);
            }
            for post_processor in build.post_processors.iter().flatten() {
                let placed = &post_processor.post_processor;
                note(&placed.component, &placed.node, placed.it.preflight().await);
            }
        }
        // One component of the template may belong to many builds.
        let mut seen = Vec::new();
        found.0.retain(|d| {
            let new = !seen.contains(d);
            if new {
                seen.push(d.clone());
            }
            new
        });
        found
    }

    /// Runs every build and gives their outcomes in the order of the builds.
    pub async fn run(&self, builds: Vec<PlannedBuild>) -> Vec<Outcome> {
        self.events.emit(EventKind::RunStarted { builds: builds.iter().map(|b| b.name.clone()).collect() });
        let gate = Arc::new(Semaphore::new(self.parallel.max(1)));
        let mut tasks = JoinSet::new();
        for (i, planned) in builds.into_iter().enumerate() {
            let (run, gate) = (self.clone(), gate.clone());
            tasks.spawn(async move {
                // The gate is never closed; a build that was cancelled while it waited ends at once.
                let _permit = gate.acquire_owned().await.ok();
                (i, run.build_or_bug(planned).await)
            });
        }
        let mut outcomes = BTreeMap::new();
        while let Some(ended) = tasks.join_next().await {
            // A panic inside a build is caught there; what remains is a runtime that is shut down.
            if let Ok((i, outcome)) = ended {
                outcomes.insert(i, outcome);
            }
        }
        let outcomes: Vec<_> = outcomes.into_values().collect();
        let success = outcomes.iter().all(|o: &Outcome| o.error.is_none());
        let cancelled = outcomes.iter().any(|o| o.cancelled);
        self.events.emit(EventKind::RunFinished { success, cancelled });
        outcomes
    }
}

#[cfg(test)]
mod tests;
