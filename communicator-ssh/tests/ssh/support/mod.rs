//! What the tests share: connecting with a config, running a command, programs of OpenSSH.

pub(crate) mod fake;
pub(crate) mod sshd;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use builder_core::event::EventStream;
use builder_core::plugin::{CommunicatorPlugin as _, PrepareContext};
use builder_core::{
    BuildContext, BuildError, Communicator, CommunicatorError, Connector as _, ExitStatus, Output, SecretString, Target,
};
use communicator_ssh::SshConnector;
use serde_json::Value;
use tokio::sync::mpsc;

/// A connector from the keys of a template.
pub(crate) fn connector(json: &Value) -> SshConnector {
    let config = builder_core::decode::decode_json(json).expect("the config decodes");
    let cx = PrepareContext { build_name: "test", build_type: "test", force: false };
    SshConnector::prepare(config, cx).expect("the config is good")
}

/// A build context and its events.
pub(crate) async fn context() -> (BuildContext, EventStream) {
    builder_core::testing::context().await
}

/// Connects to a config with `ssh_host`.
pub(crate) async fn try_connect(cx: &BuildContext, json: &Value) -> Result<Arc<dyn Communicator>, BuildError> {
    let address = String::new();
    connector(json).connect(cx, Target { address: &address, private_key: None }).await
}

/// Connects, which must work.
pub(crate) async fn connect(json: &Value) -> Arc<dyn Communicator> {
    let (cx, _events) = context().await;
    try_connect(&cx, json).await.expect("the connection works")
}

/// Connects with the key that a builder made.
pub(crate) async fn connect_with_key(json: &Value, pem: String) -> Result<Arc<dyn Communicator>, BuildError> {
    let (cx, _events) = context().await;
    let address = String::new();
    connector(json).connect(&cx, Target { address: &address, private_key: Some(SecretString::from(pem)) }).await
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) async fn exec(ssh: &dyn Communicator, command: &str) -> Result<Done, CommunicatorError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = async {
        while let Some(piece) = receiver.recv().await {
            match piece {
                Output::Stdout(bytes) => stdout.extend(bytes),
                Output::Stderr(bytes) => stderr.extend(bytes),
            }
        }
    };
    let (status, ()) = tokio::join!(ssh.exec(command, sender), read);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ok(Done { status: status?, stdout: text(stdout), stderr: text(stderr) })
}

/// The standard output of a command that must exit with 0.
pub(crate) async fn output(ssh: &dyn Communicator, command: &str) -> String {
    let done = exec(ssh, command).await.expect("the command runs");
    assert_eq!(done.status, ExitStatus::Code(0), "{command}: {done:?}");
    done.stdout
}

/// Runs a program of this host.
pub(crate) async fn program(name: &str, arguments: &[&str]) -> String {
    let done = tokio::process::Command::new(name).args(arguments).output().await.expect(name);
    assert!(done.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Makes a key pair: `path` and `path.pub`.
pub(crate) async fn keygen(path: &Path, arguments: &[&str]) {
    let path = path.to_str().expect("UTF-8");
    let mut all = vec!["-q", "-N", "", "-C", "test", "-f", path];
    all.extend(arguments);
    program("ssh-keygen", &all).await;
}

/// Waits until something is so; false after ten seconds.
pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..500 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
