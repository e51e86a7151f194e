//! The real binary: exit codes, streams and what is linked in.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::{Command, Output, Stdio};

use gaia_cli::Exit;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary in a folder of its own, with an environment that holds nothing of the user's.
struct Gaia {
    folder: TempDir,
}

impl Gaia {
    fn new(template: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("t.json"), template).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gaia"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

/// A build that needs no machine: it succeeds at once.
fn nothing() -> Value {
    json!({"builders": [{"type": "null", "communicator": "none"}]})
}

#[test]
fn exit_codes_are_those_of_the_table() {
    let gaia = Gaia::new(&nothing().to_string());
    let rows: [(&[&str], Exit); 13] = [
        (&["build", "t.json"], Exit::Success),
        (&["validate", "t.json"], Exit::Success),
        (&["inspect", "t.json"], Exit::Success),
        (&["cleanup"], Exit::Success),
        (&["plugins"], Exit::Success),
        (&["version"], Exit::Success),
        (&["--help"], Exit::Success),
        (&["build", "none.json"], Exit::Failure),
        (&["build", "-only=other", "t.json"], Exit::Failure),
        (&["build"], Exit::Failure),
        (&["build", "-nonsense", "t.json"], Exit::Failure),
        (&["bild", "t.json"], Exit::UnknownCommand),
        (&[], Exit::UnknownCommand),
    ];
    for (arguments, expected) in rows {
        let (code, stdout, stderr) = gaia.run(arguments);
        assert_eq!(code, Some(expected.code().into()), "{arguments:?}: {stdout}{stderr}");
        assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "no colour in a pipe: {stdout}{stderr}");
    }
}

#[test]
fn the_template_is_read_from_standard_input() {
    let gaia = Gaia::new("");
    let mut child = gaia.command(&["inspect", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), nothing().to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("Builders:\n\n  null\n"));
}

#[test]
fn a_bad_template_is_refused_with_its_place() {
    let rows = [
        ("{\n  \"builders\": [}\n", "t.json:2:16"),
        ("{\n  \"builders\": [{\"type\": \"nul\", \"communicator\": \"none\"}]\n}", "did you mean `null`?"),
        ("{\"builders\": [{\"type\": \"null\", \"communicator\": \"none\"}],\n \"provisoners\": []}", "t.json:2:2"),
        ("[]", "t.json:1:1"),
        ("", "t.json"),
    ];
    for (template, expected) in rows {
        let (code, stdout, stderr) = Gaia::new(template).run(&["build", "t.json"]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{template}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{template}: {stderr}");
    }
}

#[test]
fn every_plugin_of_gaia_is_linked_in() {
    let (code, stdout, _) = Gaia::new("").run(&["plugins"]);
    assert_eq!(code, Some(0));
    let names: Vec<_> =
        stdout.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "builder amazon-ebs",
        "builder null",
        "provisioner shell",
        "post-processor tags",
        "communicator none",
        "communicator ssh",
    ];
    assert_eq!(names, expected);
}

#[test]
fn ledgers_are_where_they_are_asked_for() {
    let gaia = Gaia::new(&nothing().to_string());
    let folder = gaia.folder.path();
    assert_eq!(gaia.run(&["build", "t.json"]).0, Some(0));
    assert!(folder.join(".local/state/gaia/ledger").is_dir());
    assert_eq!(gaia.run(&["build", "--state-dir", "here", "t.json"]).0, Some(0));
    assert!(folder.join("here/ledger").is_dir());
    let status =
        gaia.command(&["build", "t.json"]).env("GAIA_STATE_DIR", folder.join("there")).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
    assert!(folder.join("there/ledger").is_dir());
}
