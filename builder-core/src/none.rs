//! The communicator `none`: no way into the machine. Provisioners that need one say so; `shell-local` and its like do not.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::communicator::{
    Authentication, Communicator, CommunicatorError, Connector, ExitStatus, Output, Target, Upload,
};
use crate::context::BuildContext;
use crate::decode::Problems;
use crate::error::BuildError;
use crate::plugin::{CommunicatorPlugin, PrepareContext};

/// The communicator of a template that says `"communicator": "none"`.
#[derive(Clone, Copy, Debug)]
pub struct NoCommunicator;

/// It has no keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NoConfig {}

crate::register_communicator!(NoCommunicator);

impl CommunicatorPlugin for NoCommunicator {
    const TYPE: &'static str = "none";
    const ABOUT: &'static str = "no way into the machine";
    type Config = NoConfig;

    fn prepare(_config: NoConfig, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        Ok(Self)
    }
}

#[async_trait]
impl Connector for NoCommunicator {
    fn kind(&self) -> &'static str {
        Self::TYPE
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn host(&self) -> Option<&str> {
        None
    }

    fn username(&self) -> Option<&str> {
        None
    }

    fn authentication(&self) -> Authentication {
        Authentication::None
    }

    async fn connect(&self, _cx: &BuildContext, _target: Target<'_>) -> Result<Arc<dyn Communicator>, BuildError> {
        Ok(Arc::new(*self))
    }
}

fn none<T>() -> Result<T, CommunicatorError> {
    Err(CommunicatorError::refused("this build has `\"communicator\": \"none\"`: use `ssh` for what needs the machine"))
}

#[async_trait]
impl Communicator for NoCommunicator {
    async fn exec(&self, _command: &str, _output: mpsc::Sender<Output>) -> Result<ExitStatus, CommunicatorError> {
        none()
    }

    async fn upload(&self, _source: Upload, _remote: &str, _mode: u32) -> Result<(), CommunicatorError> {
        none()
    }

    async fn upload_dir(&self, _local: &Path, _remote: &str) -> Result<(), CommunicatorError> {
        none()
    }

    async fn download(&self, _remote: &str, _local: &Path) -> Result<(), CommunicatorError> {
        none()
    }

    async fn reconnect(&self) -> Result<(), CommunicatorError> {
        none()
    }

    async fn close(&self) {}
}
