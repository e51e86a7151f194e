//! Files to and from OpenSSH's own sshd, by sftp and by scp, whichever there is.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use builder_core::Upload;
use serde_json::json;

use crate::support::sshd::Sshd;
use crate::support::{connect, output};

const INTERNAL: &str = "Subsystem sftp internal-sftp\n";
const SERVER: &str = "Subsystem sftp /usr/lib/openssh/sftp-server\n";
const BROKEN: &str = "Subsystem sftp /no/such/sftp-server\n";
const NO_SCP: &str = "Subsystem sftp internal-sftp\nSetEnv SHLVL=1 PATH=/nonexistent\n";

/// Every way that a file can go: the sshd's config and the method that the template asks for.
const WAYS: [(&str, &str); 6] =
    [(INTERNAL, "sftp"), (SERVER, ""), ("", "sftp"), (BROKEN, ""), (INTERNAL, "scp"), (NO_SCP, "scp")];

/// 5 MB that no repetition makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(5_000_000);
    while bytes.len() < 5_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    bytes
}

#[tokio::test]
async fn files_arrive_whole_either_way() {
    let noise = noise();
    for (config, method) in WAYS {
        let sshd = Sshd::start_with(config).await;
        let ssh = connect(&sshd.template(json!({"ssh_file_transfer_method": method}))).await;
        let source = sshd.path("source");
        fs::write(&source, &noise).expect("a file");
        let rows = [
            (Upload::File(source), "big", noise.as_slice(), 0o640),
            (Upload::Bytes(b"#!/bin/sh\n".to_vec()), "it's a \"script\" $HOME", b"#!/bin/sh\n", 0o755),
            (Upload::Bytes(Vec::new()), "empty", b"", 0o666),
            // Shorter than what was there, with another mode.
            (Upload::Bytes(b"short".to_vec()), "big", b"short", 0o600),
        ];
        for (upload, name, expected, mode) in rows {
            let remote = sshd.text_path(name);
            ssh.upload(upload, &remote, mode).await.expect(name);
            assert!(fs::read(&remote).expect(name) == expected, "{config} {method}: {name} differs");
            assert_eq!(fs::metadata(&remote).expect(name).mode() & 0o7777, mode, "{config} {method}: {name}");
            let back = sshd.path("back");
            ssh.download(&remote, &back).await.expect(name);
            assert!(fs::read(&back).expect(name) == expected, "{config} {method}: {name} came back different");
        }
        ssh.upload(Upload::File(sshd.path("source")), &sshd.text_path("again"), 0o600).await.expect("again");
        ssh.download(&sshd.text_path("again"), &sshd.path("back")).await.expect("again");
        assert!(fs::read(sshd.path("back")).expect("back") == noise, "{config} {method}");
    }
}

#[tokio::test]
async fn the_preferred_way_is_taken_and_the_other_if_it_is_not_there() {
    let rows = [
        (INTERNAL, "sftp", false),
        (INTERNAL, "", false),
        (INTERNAL, "scp", true),
        ("", "sftp", true),
        (NO_SCP, "scp", false),
    ];
    for (config, method, by_scp) in rows {
        let sshd = Sshd::start_with(config).await;
        let ssh = connect(&sshd.template(json!({"ssh_file_transfer_method": method}))).await;
        ssh.upload(Upload::Bytes(b"x".to_vec()), &sshd.text_path("x"), 0o600).await.expect("an upload");
        let log = fs::read_to_string(sshd.path("log")).expect("a log");
        assert_eq!(log.contains("Starting session: subsystem 'sftp'"), !by_scp, "{config} {method}: {log}");
    }
}

#[tokio::test]
async fn neither_way_is_an_error_that_says_so() {
    let sshd = Sshd::start_with("SetEnv SHLVL=1 PATH=/nonexistent\n").await;
    let ssh = connect(&sshd.template(json!({}))).await;
    let error = ssh.upload(Upload::Bytes(b"x".to_vec()), "/tmp/x", 0o600).await.expect_err("no way");
    assert_eq!(
        error.message,
        "upload of /tmp/x: the machine can take no files (its sshd has no sftp subsystem; it has no scp): install OpenSSH's \
         sftp-server or scp in the image"
    );
}

#[tokio::test]
async fn what_cannot_be_written_or_read_is_said() {
    for (config, method) in WAYS {
        let sshd = Sshd::start_with(config).await;
        let ssh = connect(&sshd.template(json!({"ssh_file_transfer_method": method}))).await;
        let missing = sshd.text_path("missing/file");
        let back = sshd.path("back");
        let upload = ssh.upload(Upload::Bytes(b"x".to_vec()), &missing, 0o600).await.expect_err("no directory");
        let download = ssh.download(&missing, &back).await.expect_err("no file");
        let unread = ssh.upload(Upload::File(PathBuf::from(&missing)), "/tmp/x", 0o600).await.expect_err("no source");
        let below = ssh.download(&sshd.text_path("key"), &sshd.path("nowhere/x")).await.expect_err("no directory");
        for (error, start) in [
            (&upload, format!("upload of {missing}: ")),
            (&download, format!("download of {missing} to {}: ", back.display())),
            (&unread, format!("upload of /tmp/x: {missing}: ")),
            (&below, format!("download of {} to ", sshd.text_path("key"))),
        ] {
            assert!(error.message.starts_with(&start), "{config} {method}: {error}");
            assert!(error.message.to_lowercase().contains("no such file or directory"), "{config} {method}: {error}");
            assert!(!error.lost);
        }
        let left: Vec<_> = fs::read_dir(back.parent().expect("a parent")).expect("a directory").flatten().collect();
        assert!(!left.iter().any(|e| e.file_name().to_string_lossy().contains("gaia-download")), "{left:?}");
        assert!(!back.exists());
    }
}

#[tokio::test]
async fn directories_follow_rsyncs_rule() {
    for (config, method) in WAYS {
        let sshd = Sshd::start_with(config).await;
        let ssh = connect(&sshd.template(json!({"ssh_file_transfer_method": method}))).await;
        let local = sshd.path("tree");
        fs::create_dir_all(local.join("sub/deeper")).expect("directories");
        fs::create_dir(local.join("empty")).expect("a directory");
        for (name, mode) in [("a", 0o600), ("sub/b c", 0o755), ("sub/deeper/d", 0o644), ("z", 0o644)] {
            fs::write(local.join(name), name).expect("a file");
            fs::set_permissions(local.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        let rows = [
            (local.clone(), "one/new", "one/new/tree"),
            (PathBuf::from(format!("{}/", local.display())), "two", "two"),
        ];
        for (from, to, root) in rows {
            ssh.upload_dir(&from, &sshd.text_path(to)).await.expect("an upload");
            let root = sshd.path(root);
            for (name, mode) in [("a", 0o600), ("sub/b c", 0o755), ("sub/deeper/d", 0o644), ("z", 0o644)] {
                assert_eq!(fs::read_to_string(root.join(name)).expect(name), name, "{config} {method}");
                assert_eq!(
                    fs::metadata(root.join(name)).expect(name).mode() & 0o777,
                    mode,
                    "{config} {method}: {name}"
                );
            }
            assert!(root.join("empty").is_dir());
            // The same again over what is there.
            ssh.upload_dir(&from, &sshd.text_path(to)).await.expect("an upload over it");
        }
    }
}

#[tokio::test]
async fn a_path_in_the_home_directory_needs_no_shell() {
    for (config, method) in WAYS {
        let sshd = Sshd::start_with(config).await;
        let ssh = connect(&sshd.template(json!({"ssh_file_transfer_method": method}))).await;
        let name = format!(".gaia-test-{}-{}", std::process::id(), sshd.port);
        ssh.upload(Upload::Bytes(b"home".to_vec()), &format!("~/{name}"), 0o600).await.expect("an upload");
        let home = PathBuf::from(output(&*ssh, "echo $HOME").await.trim());
        let there = fs::read_to_string(home.join(&name));
        drop(fs::remove_file(home.join(&name)));
        assert_eq!(there.expect("the file"), "home", "{config} {method}");
    }
}
