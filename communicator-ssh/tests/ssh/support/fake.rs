//! An SSH server in this process: for refusals, odd ends and a port that opens late.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{HashAlg, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Sig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The password that opens the door.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running server.
pub(crate) struct Fake {
    pub(crate) port: u16,
    task: JoinHandle<()>,
    pub(crate) seen: Seen,
}

/// What the server saw.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) logins: Arc<AtomicU32>,
    pub(crate) connections: Arc<AtomicU32>,
    pub(crate) commands: Arc<Mutex<Vec<String>>>,
    handles: Arc<Mutex<Vec<server::Handle>>>,
}

impl Fake {
    /// On a free port, with a host key made from `seed`, taking these methods.
    pub(crate) async fn start(seed: u8, methods: &[MethodKind]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::on(listener, seed, methods)
    }

    /// On a port that is open already.
    pub(crate) fn on(listener: TcpListener, seed: u8, methods: &[MethodKind]) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let config = Arc::new(server::Config {
            keys: vec![host_key(seed)],
            methods: MethodSet::from(methods),
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        });
        let seen = Seen::default();
        let handler = Handler(seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                handler.0.connections.fetch_add(1, Ordering::Relaxed);
                let (config, handler) = (config.clone(), handler.clone());
                tokio::spawn(async move {
                    let handles = handler.0.handles.clone();
                    if let Ok(running) = server::run_stream(config, stream, handler).await {
                        handles.lock().expect("handles").push(running.handle());
                        drop(running.await);
                    }
                });
            }
        });
        Self { port, task, seen }
    }

    /// Keys of a template that log in with the password.
    pub(crate) fn template(&self) -> Value {
        json!({"ssh_host": "127.0.0.1", "ssh_port": self.port, "ssh_username": "core", "ssh_password": PASSWORD,
               "ssh_timeout": "20s", "ssh_handshake_attempts": 1})
    }

    /// Ends every connection and stops listening; the port is free again.
    pub(crate) async fn stop(self) {
        self.task.abort();
        drop(self.task.await);
        let handles = std::mem::take(&mut *self.seen.handles.lock().expect("handles"));
        for handle in handles {
            hang_up(handle).await;
        }
    }
}

async fn hang_up(handle: server::Handle) {
    drop(handle.disconnect(russh::Disconnect::ByApplication, "closing time".into(), String::new()).await);
}

fn host_key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// `SHA256:…`
pub(crate) fn fingerprint(seed: u8) -> String {
    host_key(seed).fingerprint(HashAlg::Sha256).to_string()
}

#[derive(Clone)]
struct Handler(Seen);

impl Handler {
    fn judge(&self, password: &[u8]) -> Auth {
        self.0.logins.fetch_add(1, Ordering::Relaxed);
        if password == PASSWORD.as_bytes() { Auth::Accept } else { Auth::reject() }
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.judge(password.as_bytes()))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<server::Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        match response {
            Some(mut answers) => Ok(self.judge(&answers.next().unwrap_or_default())),
            None => Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false)]),
            }),
        }
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    /// `exit N`, `signal`, `refuse`, `silent` (no status) or `vanish` (the connection ends).
    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        self.0.commands.lock().expect("commands").push(command.clone());
        if command == "refuse" {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.data(channel, "out\n")?;
        session.extended_data(channel, 1, "err\n")?;
        match command.split_once(' ') {
            Some(("exit", code)) => session.exit_status_request(channel, code.parse().expect("a code"))?,
            _ if command == "signal" => session.exit_signal_request(channel, Sig::KILL, false, "", "")?,
            _ if command == "vanish" => {
                let handle = session.handle();
                tokio::spawn(async {
                    // What was said before still has to go out.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    hang_up(handle).await;
                });
                return Ok(());
            }
            _ => {}
        }
        session.close(channel)
    }
}
