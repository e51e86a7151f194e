//! A machine that restarts, or pretends to.

use builder_core::ExitStatus;
use serde_json::json;

use crate::support::sshd::Sshd;
use crate::support::{connect, exec, output};

#[tokio::test]
async fn a_restart_is_survived_with_the_same_host_key_only() {
    let mut sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    assert_eq!(output(&*ssh, "echo one").await, "one\n");
    sshd.stop();
    let error = exec(&*ssh, "echo gone").await.expect_err("nobody is there");
    assert!(error.lost && error.message.ends_with("connection refused"), "{error:?}");
    sshd.start_again().await;
    assert_eq!(output(&*ssh, "echo two").await, "two\n", "a new connection by itself");
    ssh.reconnect().await.expect("a new connection on demand");
    assert_eq!(output(&*ssh, "echo three").await, "three\n");

    let before = sshd.host_key_fingerprint().await;
    sshd.stop();
    sshd.change_host_key().await;
    let after = sshd.host_key_fingerprint().await;
    sshd.start_again().await;
    let error = exec(&*ssh, "echo four").await.expect_err("another key");
    let expected = format!("it was ssh-ed25519 {before}, now it is ssh-ed25519 {after}");
    assert!(error.message.contains(&expected) && !error.lost, "{error:?}");
}

#[tokio::test]
async fn a_command_whose_machine_dies_has_no_status() {
    let mut sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    let file = sshd.path("started");
    let command = format!("touch {}; sleep 5", file.display());
    let stop = async {
        assert!(crate::support::eventually(|| file.exists()).await);
        sshd.stop();
    };
    let (done, ()) = tokio::join!(exec(&*ssh, &command), stop);
    assert_eq!(done.expect("an end").status, ExitStatus::Missing);
}

#[tokio::test]
async fn a_machine_that_hangs_is_noticed() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({"ssh_keep_alive_interval": "200ms"}))).await;
    // The connection's own process stops; only signs of life can tell.
    let done = tokio::time::timeout(std::time::Duration::from_secs(5), exec(&*ssh, "kill -STOP $PPID; sleep 20"));
    assert_eq!(done.await.expect("noticed in time").expect("an end").status, ExitStatus::Missing);
}
