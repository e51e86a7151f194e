//! A mock provisioner and a mock post-processor.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::artifact::Artifact;
use crate::communicator::{ExitStatus, Machine, exec_with_events};
use crate::context::BuildContext;
use crate::decode::{GoDuration, Problems};
use crate::error::BuildError;
use crate::plugin::{
    PostProcessed, PostProcessor, PostProcessorPlugin, PrepareContext, Provisioner, ProvisionerPlugin,
};
use crate::render::{Deferred, RenderData};

/// The provisioner `mock`: runs one command.
#[derive(Clone, Debug)]
pub struct MockProvisioner(MockProvisionerConfig);

/// The config of the provisioner `mock`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MockProvisionerConfig {
    /// The command, rendered when it runs.
    pub command: Deferred,
    /// Takes this long first.
    pub delay: GoDuration,
    /// Fails with this text, if there is one.
    pub error: Option<String>,
    /// Panics: a bug in a plugin.
    pub panic: bool,
    /// Refused in `prepare`.
    pub invalid: bool,
    /// Refused in `preflight`.
    pub missing_file: bool,
}

impl Default for MockProvisionerConfig {
    fn default() -> Self {
        Self {
            command: Deferred::new("true"),
            delay: GoDuration::default(),
            error: None,
            panic: false,
            invalid: false,
            missing_file: false,
        }
    }
}

impl ProvisionerPlugin for MockProvisioner {
    const TYPE: &'static str = "mock";
    const ABOUT: &'static str = "runs one command, for tests";
    type Config = MockProvisionerConfig;

    fn prepare(config: MockProvisionerConfig, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.invalid {
            problems.add("invalid", "invalid by request");
        }
        problems.ok(Self(config))
    }
}

#[async_trait]
impl Provisioner for MockProvisioner {
    async fn preflight(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if self.0.missing_file {
            problems.add("missing_file", "no such file by request");
        }
        problems.ok(())
    }

    async fn provision(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
        if let Some(delay) = self.0.delay.positive() {
            cx.cancel.sleep(delay).await?;
        }
        assert!(!self.0.panic, "a panic by request");
        let data = RenderData::default().with_build(&machine.build_vars);
        let command = self.0.command.render(&*cx.renderer, &data)?;
        let status = cx.cancel.run(exec_with_events(&*machine.communicator, &command, &cx.events)).await??;
        match (&self.0.error, status) {
            (Some(error), _) => Err(BuildError::failed(error.clone())),
            (None, ExitStatus::Code(0)) => Ok(()),
            (None, status) => Err(BuildError::failed(format!("`{command}` ended with {status}"))),
        }
    }
}

/// The post-processor `mock`: makes an artifact that names the one it was made from.
#[derive(Clone, Debug)]
pub struct MockPostProcessor(MockPostProcessorConfig);

/// The config of the post-processor `mock`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MockPostProcessorConfig {
    /// Fails with this text, if there is one.
    pub error: Option<String>,
    /// What it asks for when the user says nothing.
    pub keep_input: bool,
    /// Passes the artifact through and insists that it is kept.
    pub pass_through: bool,
}

impl PostProcessorPlugin for MockPostProcessor {
    const TYPE: &'static str = "mock";
    const ABOUT: &'static str = "wraps an artifact, for tests";
    type Config = MockPostProcessorConfig;

    fn prepare(config: MockPostProcessorConfig, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        Ok(Self(config))
    }
}

#[async_trait]
impl PostProcessor for MockPostProcessor {
    async fn post_process(&self, cx: &BuildContext, artifact: Arc<dyn Artifact>) -> Result<PostProcessed, BuildError> {
        cx.events.message(format!("post-processing {}", artifact.id()));
        if let Some(error) = &self.0.error {
            return Err(BuildError::failed(error.clone()));
        }
        let wrapped: Arc<dyn Artifact> =
            if self.0.pass_through { artifact } else { Arc::new(Wrapped(format!("wrapped {}", artifact.id()))) };
        Ok(PostProcessed {
            artifact: Some(wrapped),
            keep_input: self.0.keep_input,
            must_keep_input: self.0.pass_through,
        })
    }
}

#[derive(Debug)]
struct Wrapped(String);

#[async_trait]
impl Artifact for Wrapped {
    fn builder_id(&self) -> &'static str {
        "mock.wrapped"
    }

    fn id(&self) -> String {
        self.0.clone()
    }

    fn describe(&self) -> String {
        self.0.clone()
    }

    async fn destroy(&self, cx: &BuildContext) -> Result<(), BuildError> {
        cx.events.message(format!("destroyed {}", self.0));
        Ok(())
    }
}
