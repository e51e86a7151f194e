//! A machine that answers from a script.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::communicator::{
    Authentication, Communicator, CommunicatorError, Connector, ExitStatus, Machine, Output, Target, Upload,
};
use crate::context::BuildContext;
use crate::decode::Problems;
use crate::error::BuildError;
use crate::plugin::{CommunicatorPlugin, PrepareContext};

/// What a mock machine answers to a command.
#[derive(Clone, Debug)]
pub struct Reply {
    /// To standard output.
    pub stdout: String,
    /// To standard error.
    pub stderr: String,
    /// The end; an error stands for a lost connection.
    pub status: Result<ExitStatus, String>,
    /// Takes this long first.
    pub delay: std::time::Duration,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            stdout: String::new(),
            stderr: String::new(),
            status: Ok(ExitStatus::Code(0)),
            delay: std::time::Duration::ZERO,
        }
    }
}

impl Reply {
    /// An exit with a code.
    pub fn code(code: u32) -> Self {
        Self { status: Ok(ExitStatus::Code(code)), ..Self::default() }
    }
}

/// A machine that keeps what it is given and answers what it was told to: each command takes the next reply of the first
/// rule whose text it holds, and exit code 0 if there is none.
#[derive(Clone, Debug, Default)]
pub struct MockCommunicator {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    commands: Vec<String>,
    files: BTreeMap<String, (Vec<u8>, u32)>,
    rules: Vec<(String, VecDeque<Reply>)>,
    failing_uploads: u32,
    reconnects: u32,
}

impl MockCommunicator {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next command that holds `text` gets this reply; several calls queue up, and the last reply repeats.
    pub fn reply(&self, text: &str, reply: Reply) {
        let mut state = self.state();
        match state.rules.iter_mut().find(|(rule, _)| rule == text) {
            Some((_, replies)) => replies.push_back(reply),
            None => state.rules.push((text.to_owned(), VecDeque::from([reply]))),
        }
    }

    /// The next uploads fail as if the connection were lost.
    pub fn fail_uploads(&self, times: u32) {
        self.state().failing_uploads = times;
    }

    /// Every command so far.
    pub fn commands(&self) -> Vec<String> {
        self.state().commands.clone()
    }

    /// How often it was asked to reconnect.
    pub fn reconnects(&self) -> u32 {
        self.state().reconnects
    }

    /// A file that was uploaded: its text and mode.
    pub fn file(&self, remote: &str) -> Option<(String, u32)> {
        self.state().files.get(remote).map(|(bytes, mode)| (String::from_utf8_lossy(bytes).into_owned(), *mode))
    }

    /// This machine with the build variables that a builder would give.
    pub fn machine(&self) -> Machine {
        let build_vars = [("ID", "i-mock"), ("Host", "mock.test"), ("User", "core")];
        Machine {
            communicator: Arc::new(self.clone()),
            build_vars: build_vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }
}

#[async_trait]
impl Communicator for MockCommunicator {
    async fn exec(&self, command: &str, output: mpsc::Sender<Output>) -> Result<ExitStatus, CommunicatorError> {
        let reply = {
            let mut state = self.state();
            state.commands.push(command.to_owned());
            let rule = state.rules.iter_mut().find(|(text, _)| command.contains(text.as_str()));
            rule.and_then(|(_, replies)| if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() })
                .unwrap_or_default()
        };
        tokio::time::sleep(reply.delay).await;
        for chunk in [Output::Stdout(reply.stdout.into_bytes()), Output::Stderr(reply.stderr.into_bytes())] {
            // A caller that has stopped listening is not this machine's trouble.
            drop(output.send(chunk).await);
        }
        reply.status.map_err(CommunicatorError::lost)
    }

    async fn upload(&self, source: Upload, remote: &str, mode: u32) -> Result<(), CommunicatorError> {
        let bytes = match source {
            Upload::Bytes(bytes) => bytes,
            Upload::File(path) => tokio::fs::read(&path)
                .await
                .map_err(|e| CommunicatorError::refused(format!("{}: {e}", path.display())))?,
        };
        let mut state = self.state();
        if state.failing_uploads > 0 {
            state.failing_uploads -= 1;
            return Err(CommunicatorError::lost(format!("upload of {remote}: connection lost")));
        }
        state.files.insert(remote.to_owned(), (bytes, mode));
        Ok(())
    }

    async fn upload_dir(&self, local: &Path, remote: &str) -> Result<(), CommunicatorError> {
        let mut entries = tokio::fs::read_dir(local).await.map_err(|e| CommunicatorError::refused(e.to_string()))?;
        while let Some(entry) = entries.next_entry().await.map_err(|e| CommunicatorError::refused(e.to_string()))? {
            let to = format!("{remote}/{}", entry.file_name().to_string_lossy());
            self.upload(Upload::File(entry.path()), &to, 0o644).await?;
        }
        Ok(())
    }

    async fn download(&self, remote: &str, local: &Path) -> Result<(), CommunicatorError> {
        let Some((text, _)) = self.file(remote) else {
            return Err(CommunicatorError::refused(format!("{remote}: no such file")));
        };
        tokio::fs::write(local, text).await.map_err(|e| CommunicatorError::refused(e.to_string()))
    }

    async fn reconnect(&self) -> Result<(), CommunicatorError> {
        self.state().reconnects += 1;
        Ok(())
    }

    async fn close(&self) {}
}

/// The communicator `mock`: connects to the machine that the test holds, or to nothing.
#[derive(Clone, Debug, Default)]
pub struct MockConnector {
    /// The machine.
    pub communicator: MockCommunicator,
}

/// The config of the communicator `mock`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MockConnectorConfig {
    /// Nothing is done with it: a key that stands beside the builder's.
    pub mock_username: String,
}

impl CommunicatorPlugin for MockConnector {
    const TYPE: &'static str = "mock";
    const ABOUT: &'static str = "answers from a script, for tests";
    type Config = MockConnectorConfig;

    fn prepare(_config: MockConnectorConfig, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        Ok(Self::default())
    }
}

#[async_trait]
impl Connector for MockConnector {
    fn kind(&self) -> &'static str {
        "mock"
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn host(&self) -> Option<&str> {
        None
    }

    fn username(&self) -> Option<&str> {
        Some("core")
    }

    fn authentication(&self) -> Authentication {
        Authentication::None
    }

    async fn connect(&self, cx: &BuildContext, target: Target<'_>) -> Result<Arc<dyn Communicator>, BuildError> {
        cx.cancel.run(target.address.address()).await??;
        Ok(Arc::new(self.communicator.clone()))
    }
}
