//! Commands on a server that does odd things.

use std::time::Duration;

use builder_core::ExitStatus;
use russh::MethodKind::Password;
use tokio::sync::mpsc;

use crate::support::fake::Fake;
use crate::support::{connect, exec};

#[tokio::test]
async fn every_end_of_a_command_is_told() {
    let server = Fake::start(1, &[Password]).await;
    let ssh = connect(&server.template()).await;
    let rows = [
        ("exit 0", ExitStatus::Code(0)),
        ("exit 7", ExitStatus::Code(7)),
        ("exit 4294967295", ExitStatus::Code(u32::MAX)),
        ("signal", ExitStatus::Signal("KILL".into())),
        ("silent", ExitStatus::Missing),
        ("vanish", ExitStatus::Missing),
        // The connection is gone by now: this one goes over a new one.
        ("exit 1", ExitStatus::Code(1)),
    ];
    for (command, status) in rows {
        let done = exec(&*ssh, command).await.expect(command);
        assert_eq!(done.status, status, "{command}");
        if command != "vanish" {
            assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"), "{command}");
        }
    }
    let commands = server.seen.commands.lock().expect("commands").clone();
    assert_eq!(commands, rows_commands(), "a server that is not known to be Unix gets commands as they are");
    let error = exec(&*ssh, "refuse").await.expect_err("refused");
    assert_eq!((error.message.as_str(), error.lost), ("the machine refused to run a command", false));
}

fn rows_commands() -> Vec<&'static str> {
    vec!["exit 0", "exit 7", "exit 4294967295", "signal", "silent", "vanish", "exit 1"]
}

#[tokio::test]
async fn a_caller_that_does_not_listen_still_gets_the_status() {
    let server = Fake::start(1, &[Password]).await;
    let ssh = connect(&server.template()).await;
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    assert_eq!(ssh.exec("exit 3", sender).await.expect("a status"), ExitStatus::Code(3));
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_lost_connection() {
    let server = Fake::start(1, &[Password]).await;
    let ssh = connect(&server.template()).await;
    let port = server.port;
    server.stop().await;
    let error =
        tokio::time::timeout(Duration::from_secs(5), exec(&*ssh, "exit 0")).await.expect("soon").expect_err("gone");
    assert_eq!(error.message, format!("reconnecting to core@127.0.0.1:{port}: connection refused"));
    assert!(error.lost);
}
