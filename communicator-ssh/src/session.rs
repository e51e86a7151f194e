//! One connection that is logged in: dialled, through a bastion if there is one, its host key checked against the pin.
//!
//! Knows nothing of trying again: `connect` does, and `communicator` once.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use builder_core::CommunicatorError;
use russh::client::{self, DisconnectReason, Msg};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Disconnect};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::auth::{self, Credentials, Denied};
use crate::settings::limits;

/// How to get to a machine, without its address.
pub(crate) struct Route {
    pub(crate) client: Arc<client::Config>,
    /// The host to go through.
    pub(crate) bastion: Option<(String, Hop)>,
    pub(crate) machine: Hop,
}

/// One host on the way.
pub(crate) struct Hop {
    pub(crate) port: u16,
    pub(crate) credentials: Credentials,
    pub(crate) pin: Pin,
}

impl Hop {
    /// The host in messages: `core@10.0.0.1:22`.
    pub(crate) fn describe(&self, host: &str) -> String {
        let user = &self.credentials.username;
        if host.contains(':') {
            format!("{user}@[{host}]:{}", self.port)
        } else {
            format!("{user}@{host}:{}", self.port)
        }
    }
}

/// The host key that a host has to show: the one with which it let us in first.
///
/// Not the first that it showed: a machine may make its keys anew while it boots.
#[derive(Clone, Default)]
pub(crate) struct Pin(Arc<Mutex<Option<PublicKey>>>);

/// Why there is no session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// No connection, or not one that speaks SSH: it may work in a moment.
    Unreachable(String),
    /// The login was refused.
    Refused(String),
    /// Another host key than the pinned one.
    Impostor(String),
}

impl OpenError {
    fn through(self, bastion: &str) -> Self {
        let say = |text: String| format!("at the bastion {bastion}: {text}");
        match self {
            Self::Unreachable(text) => Self::Unreachable(say(text)),
            Self::Refused(text) => Self::Refused(say(text)),
            Self::Impostor(text) => Self::Impostor(say(text)),
        }
    }
}

/// A connection that is logged in.
pub(crate) struct Session {
    handle: client::Handle<Handler>,
    facts: Arc<Mutex<Facts>>,
    /// The connection that this one goes through lives as long.
    _bastion: Option<Box<Self>>,
}

/// What the connection's own task learns.
#[derive(Default)]
struct Facts {
    /// How the server calls itself: `SSH-2.0-OpenSSH_9.2`.
    software: String,
    host_key: Option<PublicKey>,
    /// Why the connection ended.
    ended: Option<String>,
}

impl Session {
    /// Opens a connection and logs in. `dial` is the time for the TCP connection.
    pub(crate) async fn open(route: &Route, host: &str, dial: Duration) -> Result<Self, OpenError> {
        let Some((bastion_host, bastion)) = &route.bastion else {
            let stream = connect_tcp(host, route.machine.port, dial).await?;
            return Self::log_in(route, &route.machine, stream, None).await;
        };
        let name = bastion.describe(bastion_host);
        let outer = async {
            let stream = connect_tcp(bastion_host, bastion.port, dial).await?;
            Self::log_in(route, bastion, stream, None).await
        };
        let outer = outer.await.map_err(|e| e.through(&name))?;
        let port = u32::from(route.machine.port);
        let inner = timeout(dial + limits::REPLY, outer.handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0))
            .await
            .map_err(|_| OpenError::Unreachable(format!("the bastion {name} gave no answer")))?
            .map_err(|e| OpenError::Unreachable(format!("the bastion {name} cannot reach it: {}", cause(&e))))?;
        Self::log_in(route, &route.machine, inner.into_stream(), Some(Box::new(outer))).await
    }

    async fn log_in<S>(route: &Route, hop: &Hop, stream: S, bastion: Option<Box<Self>>) -> Result<Self, OpenError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let facts = Arc::new(Mutex::new(Facts::default()));
        let handler = Handler { pin: hop.pin.clone(), facts: facts.clone() };
        let mut handle = timeout(limits::HANDSHAKE, client::connect_stream(route.client.clone(), stream, handler))
            .await
            .map_err(|_| OpenError::Unreachable(format!("no SSH handshake within {:?}", limits::HANDSHAKE)))?
            .map_err(|failure| match failure {
                Failure::Impostor(text) => OpenError::Impostor(text),
                Failure::Protocol(error) => {
                    OpenError::Unreachable(format!("during the SSH handshake: {}", cause(&error)))
                }
            })?;
        let denied = match timeout(limits::LOGIN, auth::log_in(&mut handle, &hop.credentials)).await {
            Ok(Ok(())) => None,
            Ok(Err(Denied::Refused(text))) => Some(OpenError::Refused(text)),
            Ok(Err(Denied::Ended { error, tried })) => {
                let text = lock(&facts).ended.take().unwrap_or_else(|| cause(&error));
                // `Too many authentication failures`: an agent with many keys gets no further than this.
                let refused = text == auth::NOTHING_ELSE || text.contains("authentication");
                Some(if refused {
                    OpenError::Refused(format!("tried {tried}; {text}"))
                } else {
                    OpenError::Unreachable(text)
                })
            }
            Err(_) => Some(OpenError::Unreachable(format!("no answer to the login within {:?}", limits::LOGIN))),
        };
        let session = Self { handle, facts, _bastion: bastion };
        if let Some(denied) = denied {
            session.disconnect().await;
            return Err(denied);
        }
        hop.pin.set(lock(&session.facts).host_key.clone());
        Ok(session)
    }

    /// A new channel for a command or a subsystem.
    pub(crate) async fn channel(&self) -> Result<Channel<Msg>, CommunicatorError> {
        match timeout(limits::REPLY, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error @ russh::Error::ChannelOpenFailure(_))) => Err(CommunicatorError::refused(format!(
                "the machine refused one more SSH channel ({}): its sshd allows so many at once as MaxSessions says",
                cause(&error)
            ))),
            Ok(Err(error)) => Err(CommunicatorError::lost(self.why_lost(&error))),
            Err(_) => {
                Err(CommunicatorError::lost(format!("the machine gave no answer on SSH within {:?}", limits::REPLY)))
            }
        }
    }

    /// An error of a channel in words, with whether the connection is to blame.
    pub(crate) fn channel_error(&self, what: &str, error: &russh::Error) -> CommunicatorError {
        if self.is_closed() {
            CommunicatorError::lost(format!("{what}: {}", self.why_lost(error)))
        } else {
            CommunicatorError::refused(format!("{what}: {}", cause(error)))
        }
    }

    fn why_lost(&self, otherwise: &russh::Error) -> String {
        let why = lock(&self.facts).ended.clone().unwrap_or_else(|| cause(otherwise));
        format!("the SSH connection was lost: {why}")
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Whether the machine's commands run in a POSIX shell's world, as far as the server's name tells.
    pub(crate) fn is_unix(&self) -> bool {
        let software = &lock(&self.facts).software;
        (software.contains("OpenSSH_") && !software.contains("for_Windows")) || software.contains("dropbear")
    }

    /// Says goodbye; a peer that does not listen any more is not worth a wait.
    pub(crate) async fn disconnect(&self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        drop(timeout(Duration::from_secs(1), goodbye).await);
    }
}

async fn connect_tcp(host: &str, port: u16, dial: Duration) -> Result<TcpStream, OpenError> {
    let stream = timeout(dial, TcpStream::connect((host, port)))
        .await
        .map_err(|_| OpenError::Unreachable(format!("no answer within {dial:?}")))?
        .map_err(|e| OpenError::Unreachable(io_cause(&e)))?;
    // Latency only; a stream that refuses it works all the same.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

impl Pin {
    fn set(&self, key: Option<PublicKey>) {
        let mut pinned = lock(&self.0);
        *pinned = pinned.take().or(key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side of russh's events that concerns us.
struct Handler {
    pin: Pin,
    facts: Arc<Mutex<Facts>>,
}

/// Why russh's task ended.
#[derive(Debug)]
enum Failure {
    Protocol(russh::Error),
    Impostor(String),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl client::Handler for Handler {
    type Error = Failure;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let shown = shown.public_key();
        // Within a connection the key may not change either, when the two sides exchange keys again.
        let expected = lock(&self.pin.0).clone().or_else(|| lock(&self.facts).host_key.clone());
        match expected {
            Some(expected) if expected.key_data() != shown.key_data() => {
                let name = |key: &PublicKey| format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
                Err(Failure::Impostor(format!(
                    "the host key changed since this build logged in first: it was {}, now it is {}",
                    name(&expected),
                    name(&shown)
                )))
            }
            _ => {
                lock(&self.facts).host_key = Some(shown);
                Ok(true)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        _names: &russh::Names,
        session: &mut client::Session,
    ) -> Result<(), Failure> {
        lock(&self.facts).software = String::from_utf8_lossy(session.remote_sshid()).into_owned();
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        let why = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => info.message.clone(),
            DisconnectReason::Error(Failure::Impostor(text)) => text.clone(),
            DisconnectReason::Error(Failure::Protocol(error)) => cause(error),
        };
        lock(&self.facts).ended = Some(why);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// An error of russh in a user's words.
pub(crate) fn cause(error: &russh::Error) -> String {
    use russh::{ChannelOpenFailure as Open, Error};
    match error {
        Error::IO(e) => io_cause(e),
        Error::HUP | Error::Disconnect | Error::SendError | Error::RecvError => {
            "the machine closed the connection".to_owned()
        }
        Error::NoAuthMethod => auth::NOTHING_ELSE.to_owned(),
        Error::Version => "what answers there does not speak SSH".to_owned(),
        Error::KeepaliveTimeout => "the machine gave no sign of life".to_owned(),
        Error::InactivityTimeout => "nothing was heard for `ssh_read_write_timeout`".to_owned(),
        Error::NoCommonAlgo { kind, ours, theirs } => {
            format!("no {kind:?} algorithm in common: here {}; there {}", ours.join(", "), theirs.join(", "))
        }
        Error::ChannelOpenFailure(why) => match why {
            Open::AdministrativelyProhibited => "administratively prohibited".to_owned(),
            Open::ConnectFailed => "connect failed".to_owned(),
            Open::UnknownChannelType => "unknown channel type".to_owned(),
            Open::ResourceShortage => "resource shortage".to_owned(),
            Open::Other { code, reason } => format!("{reason} (code {code})"),
        },
        other => other.to_string(),
    }
}

fn io_cause(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe => "connection reset".to_owned(),
        Kind::UnexpectedEof => "the machine closed the connection".to_owned(),
        Kind::HostUnreachable => "no route to the host".to_owned(),
        Kind::NetworkUnreachable => "the network is unreachable".to_owned(),
        Kind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}
