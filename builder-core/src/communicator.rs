//! The way into a machine: what a communicator does, and how a builder asks for one.
//!
//! Knows no protocol: crates like communicator-ssh implement the traits.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::context::BuildContext;
use crate::error::BuildError;
use crate::event::{EventKind, Events};
use crate::secret::SecretString;

/// An open way into a machine.
#[async_trait]
pub trait Communicator: Send + Sync + Debug {
    /// Runs a command line in the user's shell on the machine and streams what it writes; returns when it has ended and
    /// everything was sent. An error means that the command did not start; a connection that is lost after that is
    /// [`ExitStatus::Missing`]. Ends by itself when the connection hangs. A full channel holds the command back. Cancelling is dropping the future: the implementation
    /// ends the remote command then, as far as its protocol can. Reconnects once if the connection was lost before the start.
    async fn exec(&self, command: &str, output: mpsc::Sender<Output>) -> Result<ExitStatus, CommunicatorError>;

    /// Copies a file onto the machine. The remote file gets `mode` where the protocol can carry it.
    async fn upload(&self, source: Upload, remote: &str, mode: u32) -> Result<(), CommunicatorError>;

    /// Copies a directory onto the machine, by rsync's rule: without a trailing slash on `local` the directory itself is created
    /// in `remote`, with one its contents are.
    async fn upload_dir(&self, local: &Path, remote: &str) -> Result<(), CommunicatorError>;

    /// Copies a file from the machine to a path on this host, by way of a temporary file beside it.
    async fn download(&self, remote: &str, local: &Path) -> Result<(), CommunicatorError>;

    /// Drops the connection and opens it again, once; for a machine that was restarted.
    async fn reconnect(&self) -> Result<(), CommunicatorError>;

    /// Says goodbye. Errors do not matter any more.
    async fn close(&self);
}

/// What to upload.
#[derive(Clone, PartialEq, Eq)]
pub enum Upload {
    /// A file on this host.
    File(PathBuf),
    /// Bytes: a script made from `inline`.
    Bytes(Vec<u8>),
}

impl Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// A piece of what a command wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard output; with a pty, everything.
    Stdout(Vec<u8>),
    /// To standard error.
    Stderr(Vec<u8>),
}

/// How a remote command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this code.
    Code(u32),
    /// By this signal, named without `SIG`.
    Signal(String),
    /// Nobody said: the connection ended first, as when the machine restarts.
    Missing,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::Missing => f.write_str("no exit status: the connection was lost"),
        }
    }
}

/// Why a communicator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommunicatorError {
    /// What happened, to what: lower case, no full stop.
    pub message: String,
    /// Whether the connection is the cause, so that the same again may work.
    pub lost: bool,
}

impl CommunicatorError {
    /// The machine answered, and refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), lost: false }
    }

    /// The connection failed.
    pub fn lost(message: impl Into<String>) -> Self {
        Self { message: message.into(), lost: true }
    }
}

impl From<CommunicatorError> for BuildError {
    fn from(error: CommunicatorError) -> Self {
        Self::Failed(error.message)
    }
}

/// A machine as the provisioners see it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The way in.
    pub communicator: Arc<dyn Communicator>,
    /// What the template's `build` function answers: `ID`, `Host`, `Port`, `User`, `ConnType` and the builder's own.
    pub build_vars: BTreeMap<String, String>,
}

impl Machine {
    /// A machine with what every build tells of it; `more` are the builder's own variables.
    pub fn new(
        cx: &BuildContext,
        communicator: Arc<dyn Communicator>,
        connector: &dyn Connector,
        (id, host): (&str, &str),
        more: BTreeMap<String, String>,
    ) -> Self {
        let mut build_vars = more;
        let own: [(&str, &str); 6] = [
            ("ID", id),
            ("Host", host),
            ("Port", &connector.port().map(|p| p.to_string()).unwrap_or_default()),
            ("User", connector.username().unwrap_or_default()),
            ("ConnType", connector.kind()),
            ("PackerRunUUID", &cx.build_id),
        ];
        build_vars.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { communicator, build_vars }
    }
}

/// A communicator's checked config: not yet a connection.
#[async_trait]
pub trait Connector: Send + Sync + Debug {
    /// The type: `ssh`, `none`.
    fn kind(&self) -> &'static str;

    /// The port on the machine that must be reachable; `None` if it needs no network.
    fn port(&self) -> Option<u16>;

    /// The host, if the user gave one.
    fn host(&self) -> Option<&str>;

    /// The user to log in as.
    fn username(&self) -> Option<&str>;

    /// How it proves who it is.
    fn authentication(&self) -> Authentication;

    /// Looks at files that the config names. Called before anything is created.
    async fn preflight(&self) -> Result<(), crate::decode::Problems> {
        Ok(())
    }

    /// Connects, trying again until it works or its own time is up, and says so as Packer does
    /// (`Waiting for SSH to become available...`, `Connected to SSH!`).
    async fn connect(&self, cx: &BuildContext, target: Target<'_>) -> Result<Arc<dyn Communicator>, BuildError>;
}

/// How a [`Connector`] proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It has what it needs: a password or a key file.
    Given,
    /// A private key file, which goes with a key pair that the cloud may know.
    KeyFile,
    /// The user's agent.
    Agent,
    /// It needs a key pair, which the builder makes.
    NeedsKeyPair,
    /// Nothing: there is no login.
    None,
}

/// Where to connect to.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where the machine is. Asked before each try, since an address may come late or change.
    pub address: &'a dyn AddressSource,
    /// The private key that the builder made, as PEM or in OpenSSH's format.
    pub private_key: Option<SecretString>,
}

/// Where a machine can be reached.
#[async_trait]
pub trait AddressSource: Send + Sync + Debug {
    /// A host name or address; `None` if there is none yet.
    async fn address(&self) -> Result<Option<String>, BuildError>;
}

/// An address that is known and does not change.
#[async_trait]
impl AddressSource for String {
    async fn address(&self) -> Result<Option<Self>, BuildError> {
        Ok(Some(self.clone()))
    }
}

/// Runs a command and sends what it writes as events, line by line. To cancel it, drop it.
pub async fn exec_with_events(
    communicator: &dyn Communicator,
    command: &str,
    events: &Events,
) -> Result<ExitStatus, CommunicatorError> {
    let (sender, mut receiver) = mpsc::channel(64);
    let show = async {
        let mut stdout = Lines::default();
        let mut stderr = Lines::default();
        while let Some(output) = receiver.recv().await {
            match output {
                Output::Stdout(bytes) => {
                    for line in stdout.push(&bytes) {
                        events.output(EventKind::Stdout(line)).await;
                    }
                }
                Output::Stderr(bytes) => {
                    for line in stderr.push(&bytes) {
                        events.output(EventKind::Stderr(line)).await;
                    }
                }
            }
        }
        if let Some(line) = stdout.rest() {
            events.output(EventKind::Stdout(line)).await;
        }
        if let Some(line) = stderr.rest() {
            events.output(EventKind::Stderr(line)).await;
        }
    };
    let (status, ()) = tokio::join!(communicator.exec(command, sender), show);
    status
}

/// Runs a command and keeps up to `limit` bytes of what it writes, standard output and error together.
pub async fn exec_capture(
    communicator: &dyn Communicator,
    command: &str,
    limit: usize,
) -> Result<(ExitStatus, String), CommunicatorError> {
    let (sender, mut receiver) = mpsc::channel(64);
    let keep = async {
        let mut text = Vec::new();
        while let Some(Output::Stdout(bytes) | Output::Stderr(bytes)) = receiver.recv().await {
            let room = limit.saturating_sub(text.len());
            text.extend(bytes.into_iter().take(room));
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let (status, text) = tokio::join!(communicator.exec(command, sender), keep);
    Ok((status?, text))
}

/// Cuts a stream of bytes into lines, dropping `\r` before `\n` (a pty sends both).
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// A line longer than this is cut in two.
    const LONGEST: usize = 64 * 1024;

    /// Takes bytes in and gives the lines that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() >= Self::LONGEST {
                lines.extend(self.rest());
            }
        }
        lines
    }

    /// What is left without an end of line.
    pub fn rest(&mut self) -> Option<String> {
        let mut line = std::mem::take(&mut self.rest);
        if line.is_empty() {
            return None;
        }
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_newlines_whatever_the_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r\nb"), ["a"]);
        assert_eq!(lines.push(b"c\n\n"), ["bc", ""]);
        assert_eq!(lines.push(b"tail\xff"), Vec::<String>::new());
        assert_eq!(lines.rest().as_deref(), Some("tail\u{fffd}"));
        assert_eq!(lines.rest(), None);
    }
}
