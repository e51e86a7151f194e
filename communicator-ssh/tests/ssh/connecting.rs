//! The wait for a machine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use builder_core::testing::said;
use builder_core::{AddressSource, BuildError, Connector as _, EventKind, Stage, Target};
use russh::MethodKind::{KeyboardInteractive, Password, PublicKey};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::fake::{Fake, PASSWORD, fingerprint};
use crate::support::{connector, context, exec, try_connect};

#[tokio::test]
async fn it_says_what_packer_says_and_hides_the_password() {
    let server = Fake::start(1, &[Password]).await;
    let (cx, mut events) = context().await;
    let ssh = try_connect(&cx, &server.template()).await.expect("a connection");
    cx.events.say(format!("the password is {PASSWORD}"));
    assert_eq!(
        said(&mut events),
        ["==> Waiting for SSH to become available...", "==> Connected to SSH!", "==> the password is <sensitive>"]
    );
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 1, "no probe before the connection");
    ssh.close().await;
}

#[tokio::test]
async fn the_password_also_answers_questions() {
    let server = Fake::start(1, &[KeyboardInteractive]).await;
    let (cx, _events) = context().await;
    try_connect(&cx, &server.template()).await.expect("a connection");
}

#[tokio::test]
async fn refused_logins_are_counted_and_explained() {
    let rows: [(u32, &[_], &str); 3] = [
        (1, &[Password], "once: tried the password; it takes nothing else"),
        (
            2,
            &[Password, KeyboardInteractive],
            "2 times: tried the password, the password by keyboard-interactive; it takes keyboard-interactive",
        ),
        (1, &[PublicKey], "once: tried the password; it takes publickey"),
    ];
    for (attempts, methods, expected) in rows {
        let server = Fake::start(1, methods).await;
        let mut template = server.template();
        template["ssh_password"] = "wrong".into();
        template["ssh_handshake_attempts"] = attempts.into();
        let (cx, mut events) = context().await;
        let error = try_connect(&cx, &template).await.expect_err("no login").to_string();
        let start =
            format!("Error waiting for SSH: the login as core@127.0.0.1:{} was refused {expected}", server.port);
        assert!(error.starts_with(&start), "{error}\n{start}");
        assert!(
            error.ends_with(
                "check that `ssh_username` is the image's user and that the machine knows the key or password"
            )
        );
        assert_eq!(server.seen.connections.load(Ordering::Relaxed), attempts);
        let last = std::iter::from_fn(|| events.try_next()).last().expect("events");
        assert_eq!(last.kind, EventKind::WaitEnded);
    }
}

#[tokio::test]
async fn time_runs_out_with_the_last_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed_port = closed.local_addr().expect("an address").port();
    drop(closed);
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other_port = other.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let hint = "; check the security group, the user name and that the image starts sshd";
    let rows = [
        (
            closed_port,
            format!(
                "after 300ms, the last try to reach core@127.0.0.1:{closed_port} ended with: connection refused{hint}"
            ),
        ),
        (
            mute.local_addr().expect("an address").port(),
            "after 300ms, the first try had not ended; give it more time with `ssh_timeout`".to_owned(),
        ),
        (
            other_port,
            format!(
                "after 300ms, the last try to reach core@127.0.0.1:{other_port} ended with: during the SSH handshake: "
            ),
        ),
    ];
    for (port, expected) in rows {
        let template = json!({"ssh_host": "127.0.0.1", "ssh_port": port, "ssh_username": "core", "ssh_password": "x",
                              "ssh_timeout": "300ms"});
        let (cx, _events) = context().await;
        let error = try_connect(&cx, &template).await.expect_err("nobody is there").to_string();
        assert!(error.starts_with(&format!("Timeout waiting for SSH: {expected}")), "{error}\n{expected}");
    }
}

/// An address that comes with the third question.
#[derive(Debug)]
struct Late(AtomicU32);

#[async_trait::async_trait]
impl AddressSource for Late {
    async fn address(&self) -> Result<Option<String>, BuildError> {
        Ok((self.0.fetch_add(1, Ordering::Relaxed) >= 2).then(|| "127.0.0.1".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_may_come_late_or_never() {
    let template = json!({"ssh_username": "core", "ssh_password": "x", "ssh_timeout": "1500ms"});
    let (cx, _events) = context().await;
    let target = Target { address: &Late(AtomicU32::new(0)), private_key: None };
    let error = connector(&template).connect(&cx, target).await.expect_err("no address").to_string();
    assert_eq!(error, "Timeout waiting for SSH: after 1.5s, the machine still had no address");
}

#[tokio::test]
async fn it_tries_again_until_the_server_is_up() {
    let address = Late(AtomicU32::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let local = listener.local_addr().expect("an address");
    drop(listener);
    let mut template = json!({"ssh_port": local.port(), "ssh_username": "core", "ssh_password": PASSWORD});
    template["ssh_timeout"] = "30s".into();
    let start = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        Fake::on(TcpListener::bind(local).await.expect("the same port"), 1, &[Password])
    };
    let (cx, mut events) = context().await;
    let began = Instant::now();
    let target = Target { address: &address, private_key: None };
    let connector = connector(&template);
    let (connected, _server) = tokio::join!(connector.connect(&cx, target), start);
    connected.expect("a connection");
    assert!(began.elapsed() < Duration::from_secs(6), "at most a second is lost: {:?}", began.elapsed());
    let waits: Vec<_> = std::iter::from_fn(|| events.try_next())
        .filter_map(|e| if let EventKind::Waiting { what } = e.kind { Some(what) } else { None })
        .collect();
    assert_eq!(waits[0], "the machine to get an address");
    let refused = format!("SSH at core@127.0.0.1:{} to become available (connection refused)", local.port());
    assert!(waits.contains(&refused), "{waits:?}");
}

#[tokio::test]
async fn cancelling_ends_the_wait() {
    let template = json!({"ssh_host": "127.0.0.1", "ssh_port": 1, "ssh_username": "core", "ssh_password": "x"});
    let (cx, _events) = context().await;
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cx.cancel.raise(Stage::Cancelled);
    };
    let began = Instant::now();
    let (connected, ()) = tokio::join!(try_connect(&cx, &template), cancel);
    assert!(connected.expect_err("cancelled").is_cancelled());
    assert!(began.elapsed() < Duration::from_millis(800));
}

#[tokio::test]
async fn a_pause_comes_between_two_logins() {
    let server = Fake::start(1, &[Password]).await;
    let mut template = server.template();
    template["pause_before_connecting"] = "200ms".into();
    let (cx, mut events) = context().await;
    let began = Instant::now();
    let ssh = try_connect(&cx, &template).await.expect("a connection");
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.seen.logins.load(Ordering::Relaxed), 2);
    assert_eq!(
        said(&mut events),
        [
            "==> Waiting for SSH to become available...",
            "==> Pausing 200ms before connecting...",
            "==> Connected to SSH!"
        ]
    );
    assert!(exec(&*ssh, "exit 0").await.is_ok());
}

#[tokio::test]
async fn another_host_key_is_an_error_that_names_both() {
    let server = Fake::start(1, &[Password]).await;
    let template = server.template();
    let (cx, _events) = context().await;
    let ssh = try_connect(&cx, &template).await.expect("a connection");
    let local = format!("127.0.0.1:{}", server.port);
    server.stop().await;
    let _impostor = Fake::on(TcpListener::bind(&local).await.expect("the same port"), 2, &[Password]);
    for error in
        [ssh.reconnect().await.expect_err("another key"), exec(&*ssh, "exit 0").await.expect_err("another key")]
    {
        assert_eq!(
            error.message,
            format!(
                "reconnecting to core@{local}: the host key changed since this build logged in first: it was ssh-ed25519 \
                 {}, now it is ssh-ed25519 {}",
                fingerprint(1),
                fingerprint(2)
            )
        );
        assert!(!error.lost, "trying again will not help");
    }
}

#[tokio::test]
async fn nothing_to_log_in_with_is_said_at_once() {
    let rows = [
        (json!({}), "there is nothing to log in with: set `ssh_private_key_file`, `ssh_password` or `ssh_agent_auth`"),
        (
            json!({"ssh_agent_auth": true}),
            "`ssh_agent_auth` is set, but the environment has no SSH_AUTH_SOCK: start an agent",
        ),
        (json!({"ssh_private_key_file": "/missing"}), "ssh_private_key_file is invalid: /missing: No such file"),
    ];
    for (mut template, expected) in rows {
        template["ssh_username"] = "core".into();
        template["ssh_host"] = "127.0.0.1".into();
        let (cx, _events) = context().await;
        let error = try_connect(&cx, &template).await.expect_err("nothing").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
