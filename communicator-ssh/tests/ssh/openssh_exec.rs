//! Commands at OpenSSH's own sshd: their output, their end, and what becomes of them when nobody waits any more.

use std::time::Duration;

use builder_core::{Communicator, ExitStatus, Output};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::sshd::{Sshd, is_alive, is_running};
use crate::support::{connect, eventually, exec, output};

#[tokio::test]
async fn output_and_status_are_kept_apart() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    let rows = [
        ("echo out; echo err >&2; exit 7", ExitStatus::Code(7), "out\n", "err\n"),
        ("true", ExitStatus::Code(0), "", ""),
        ("printf 'no end of line'", ExitStatus::Code(0), "no end of line", ""),
        ("kill -TERM $$", ExitStatus::Signal("TERM".into()), "", ""),
        // Standard input is empty, and nothing is a terminal.
        ("cat; test -t 0 || test -t 1 || echo none", ExitStatus::Code(0), "none\n", ""),
        ("for i in 1 2; do\n  echo $i # a comment\ndone", ExitStatus::Code(0), "1\n2\n", ""),
        ("echo '\"quoted\"' \"it's\"", ExitStatus::Code(0), "\"quoted\" it's\n", ""),
        ("cat <<X\nhere\nX", ExitStatus::Code(0), "here\n", ""),
    ];
    for (command, status, stdout, stderr) in rows {
        let done = exec(&*ssh, command).await.expect(command);
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (status, stdout, stderr), "{command}");
    }
    let missing = exec(&*ssh, "/no/such/command").await.expect("an answer");
    assert_eq!(missing.status, ExitStatus::Code(127));
    assert!(missing.stderr.contains("/no/such/command") && !missing.stderr.contains("gaia-"), "{missing:?}");
}

#[tokio::test]
async fn a_terminal_is_as_packers() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({"ssh_pty": true}))).await;
    let rows = [
        ("stty size; echo $TERM", ExitStatus::Code(0), "40 80\r\nxterm\r\n"),
        ("echo out; echo err >&2; exit 3", ExitStatus::Code(3), "out\r\nerr\r\n"),
        ("stty -a | grep -o -- '-echo '", ExitStatus::Code(0), "-echo \r\n"),
    ];
    for (command, status, stdout) in rows {
        let done = exec(&*ssh, command).await.expect(command);
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (status, stdout, ""), "{command}");
    }
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let read = async {
        let mut length = 0;
        while let Some(Output::Stdout(bytes) | Output::Stderr(bytes)) = receiver.recv().await {
            if length < 200_000 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            length += bytes.len();
        }
        length
    };
    let (status, length) = tokio::join!(ssh.exec("head -c 30000000 /dev/zero", sender), read);
    assert_eq!((status.expect("a status"), length), (ExitStatus::Code(0), 30_000_000));
}

#[tokio::test]
async fn commands_run_side_by_side() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    // Each waits for the other's file.
    let (a, b) = (sshd.text_path("a"), sshd.text_path("b"));
    let meet =
        |mine: &str, theirs: &str| format!("touch {mine}; until test -e {theirs}; do sleep 0.05; done; echo met");
    let (one, two) = (meet(&a, &b), meet(&b, &a));
    let (one, two) = tokio::join!(output(&*ssh, &one), output(&*ssh, &two));
    assert_eq!((one.as_str(), two.as_str()), ("met\n", "met\n"));
}

#[tokio::test]
async fn a_dropped_command_is_ended_with_its_children() {
    let sshd = Sshd::start().await;
    for pty in [false, true] {
        let ssh = connect(&sshd.template(json!({"ssh_pty": pty}))).await;
        let file = sshd.path(&format!("pids-{pty}"));
        let command = format!("sh -c 'echo $$; sleep 1000 & echo $!; wait' > {}", file.display());
        let (sender, _receiver) = mpsc::channel(1);
        let pids = || -> Vec<u32> {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        tokio::select! {
            status = ssh.exec(&command, sender) => panic!("it ended by itself: {status:?}"),
            started = eventually(|| pids().len() == 2) => assert!(started, "it did not start"),
        }
        let pids = pids();
        assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))).await, "pty {pty}: {pids:?} live on");
        assert_eq!(output(&*ssh, "echo on").await.trim_end(), "on", "the connection goes on");
        ssh.close().await;
    }
}

#[tokio::test]
async fn a_command_that_is_dropped_at_any_moment_leaves_no_channel_behind() {
    // One for the command, one for ending it, one for the next.
    let sshd = Sshd::start_with("MaxSessions 3\n").await;
    for pty in [false, true] {
        let ssh = connect(&sshd.template(json!({"ssh_pty": pty}))).await;
        for millis in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
            let (sender, _receiver) = mpsc::channel(1);
            let command = format!("sleep 1000.{}", sshd.port);
            let run = ssh.exec(&command, sender);
            drop(tokio::time::timeout(Duration::from_millis(millis), run).await);
            let mut next = exec(&*ssh, "echo on").await;
            for _ in 0..100 {
                if next.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                next = exec(&*ssh, "echo on").await;
            }
            assert_eq!(next.expect("a channel").stdout.trim_end(), "on", "pty {pty}, after {millis} ms");
            assert!(eventually(|| !is_running(&command)).await, "pty {pty}, after {millis} ms: it runs on");
        }
        ssh.close().await;
    }
}

#[tokio::test]
async fn close_waits_for_commands_that_are_being_ended() {
    let sshd = Sshd::start().await;
    let ssh = connect(&sshd.template(json!({}))).await;
    let file = sshd.path("sleeper");
    let (sender, _receiver) = mpsc::channel(1);
    let command = format!("echo $$ > {}; exec sleep 1000", file.display());
    let pid = || std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    tokio::select! {
        status = ssh.exec(&command, sender) => panic!("it ended by itself: {status:?}"),
        started = eventually(|| pid().is_some()) => assert!(started),
    }
    close(&*ssh).await;
    let pid = pid().expect("a process id");
    assert!(!is_alive(pid), "{pid} outlived the goodbye");
}

async fn close(ssh: &dyn Communicator) {
    tokio::time::timeout(Duration::from_secs(8), ssh.close()).await.expect("a goodbye in time");
}
