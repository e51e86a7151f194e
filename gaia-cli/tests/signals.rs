//! Real signals to a real process, which has builders whose clean-up goes wrong: see `examples/mock.rs`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use gaia_cli::Exit;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than any of these runs takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// The example, which cargo builds beside the tests.
fn mock() -> PathBuf {
    let example = PathBuf::from(env!("CARGO_BIN_EXE_gaia")).with_file_name("examples").join("mock");
    assert!(example.is_file(), "first run: cargo build -p gaia-cli --example mock");
    example
}

struct Gaia {
    folder: TempDir,
}

/// A process that is killed if the test ends before it does.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    seen: String,
}

impl Gaia {
    fn new(builder: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("t.json"), json!({"builders": [builder]}).to_string()).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(mock());
        command.args(arguments).current_dir(self.folder.path()).env_clear().env("GAIA_STATE_DIR", self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts a build whose errors go to its standard output, so that their order is seen.
    fn start(&self) -> Running {
        let mut child =
            self.command(&["build", "--errors-to-stdout", "t.json"]).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout, seen: String::new() }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    fn ledgers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("ledger")).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap().replace(".jsonl", "")).collect()
    }
}

impl Running {
    /// Reads on until a text was written.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert_ne!(self.stdout.read_line(&mut self.seen).unwrap(), 0, "{text:?} never came: {}", self.seen);
        }
    }

    fn signal(&self, name: &str) {
        // It may have ended: until it is waited for, its id is still its own.
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads the rest and gives the exit code.
    fn end(mut self) -> (Option<i32>, String) {
        self.stdout.read_to_string(&mut self.seen).unwrap();
        (self.exit_code(), std::mem::take(&mut self.seen))
    }

    #[expect(clippy::disallowed_methods, reason = "a test of a process waits in real time")]
    fn exit_code(&mut self) -> Option<i32> {
        let begun = std::time::Instant::now();
        while begun.elapsed() < LONGEST {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still running after {LONGEST:?}: {}", self.seen);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn code(exit: Exit) -> i32 {
    exit.code().into()
}

#[test]
fn one_signal_cancels_and_cleans_up() {
    for (signal, word) in [("-INT", "interrupt"), ("-TERM", "terminated"), ("-HUP", "hangup")] {
        let gaia = Gaia::new(&json!({"type": "stubborn"}));
        let mut running = gaia.start();
        running.wait_for("Going to sleep");
        running.signal(signal);
        let expected = format!(
            "stubborn output will be in this color.\n\n\
             ==> stubborn: Going to sleep\n\
             Cancelling build after receiving {word}\n\
             ==> stubborn: Deleting thing-1\n\
             Build 'stubborn' errored: Build was cancelled.\n\
             Cleanly cancelled builds after being interrupted.\n"
        );
        assert_eq!(running.end(), (Some(code(Exit::Failure)), expected));
        assert_eq!(gaia.ledgers(), Vec::<String>::new());
    }
}

#[test]
fn two_signals_hurry_and_what_is_left_is_named() {
    let gaia = Gaia::new(&json!({"type": "stubborn", "cleanup": "slow"}));
    let mut running = gaia.start();
    running.wait_for("Going to sleep");
    running.signal("-INT");
    running.wait_for("Deleting thing-1");
    running.signal("-INT");
    let (exit, text) = running.end();
    let id = gaia.ledgers().remove(0);
    assert_eq!(exit, Some(code(Exit::Failure)), "{text}");
    let told = [
        "Hurrying the clean-up",
        "    stubborn: thing thing-1 in nowhere: not waited for\n",
        &format!("\ngaia cleanup --build {id}\n"),
    ];
    told.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));

    let (exit, text) = gaia.run(&["cleanup", "--build", &id]);
    assert_eq!(exit, Some(code(Exit::Success)), "{text}");
    assert!(text.contains("    stubborn: Removed thing thing-1\n"), "{text}");
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
}

#[test]
fn three_signals_leave_at_once_even_if_every_worker_is_busy() {
    let gaia = Gaia::new(&json!({"type": "stubborn", "cleanup": "deaf"}));
    let mut running = gaia.start();
    running.wait_for("Going to sleep");
    running.signal("-INT");
    running.wait_for("Cancelling build");
    running.signal("-INT");
    running.wait_for("Hurrying the clean-up");
    running.signal("-INT");
    let (exit, text) = running.end();
    let id = gaia.ledgers().remove(0);
    assert_eq!(exit, Some(code(Exit::Abandoned)), "{text}");
    let last_words = "\n==> Left without a clean-up. To take away what is left behind, run:\n";
    assert!(text.ends_with(&format!("{last_words}gaia cleanup --build {id}\n")), "{text}");
    assert_eq!(gaia.run(&["cleanup"]).0, Some(code(Exit::Success)));
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
}

#[test]
fn three_signals_leave_even_if_nobody_reads_what_is_written() {
    let gaia = Gaia::new(&json!({"type": "stubborn", "chatter": 100_000}));
    let mut running = gaia.start();
    running.wait_for("line 10");
    // From here on nobody reads: the pipe is full at once, and the process waits in a write.
    while running.child.try_wait().unwrap().is_none() {
        #[expect(clippy::disallowed_methods, reason = "a test of a process waits in real time")]
        std::thread::sleep(Duration::from_millis(300));
        running.signal("-INT");
    }
    assert_eq!(running.exit_code(), Some(code(Exit::Abandoned)));
    assert_eq!(gaia.run(&["cleanup"]).0, Some(code(Exit::Success)));
}

#[test]
fn what_cannot_be_taken_away_is_an_exit_code_of_its_own() {
    let rows = [
        (json!({"type": "stubborn", "finish": true}), Exit::Success, 0),
        (json!({"type": "stubborn", "finish": true, "cleanup": "stuck"}), Exit::LeftBehind, 1),
        (json!({"type": "stubborn", "error": "it broke", "cleanup": "stuck"}), Exit::Failure, 1),
        (json!({"type": "mock", "communicator": "mock", "panic": true}), Exit::Failure, 0),
    ];
    for (builder, expected, left) in rows {
        let gaia = Gaia::new(&builder);
        let (exit, text) = gaia.run(&["build", "t.json"]);
        assert_eq!((exit, gaia.ledgers().len()), (Some(code(expected)), left), "{builder}: {text}");
        assert_eq!(text.contains("gaia cleanup --build"), left > 0, "{builder}: {text}");
    }
}

#[test]
fn a_reader_that_goes_away_cancels_and_cleans_up() {
    let gaia = Gaia::new(&json!({"type": "stubborn", "chatter": 1000}));
    let mut child = gaia.command(&["build", "t.json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code(Exit::Failure)), "{stderr}");
    assert!(stderr.starts_with("standard output cannot be written to any more: cancelling the builds\n"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
}

#[test]
fn what_a_killed_build_leaves_is_skipped_while_it_runs_and_taken_away_after() {
    let gaia = Gaia::new(&json!({"type": "stubborn"}));
    let mut running = gaia.start();
    running.wait_for("Going to sleep");
    let id = gaia.ledgers().remove(0);
    let (exit, text) = gaia.run(&["cleanup"]);
    assert_eq!(exit, Some(code(Exit::Success)), "{text}");
    assert!(text.starts_with(&format!("Skipped build {id} (stubborn), begun ")), "{text}");
    assert_eq!(gaia.run(&["cleanup", "--build", &id]).0, Some(code(Exit::Failure)), "asked for, and not done");
    running.signal("-KILL");
    running.end();
    let left = gaia.command(&["cleanup"]).env("STUBBORN", "stuck").output().unwrap();
    assert_eq!(left.status.code(), Some(code(Exit::Failure)));
    assert!(String::from_utf8_lossy(&left.stderr).contains("Still there: thing thing-1 in nowhere: it is in use"));
    assert_eq!(gaia.run(&["cleanup", "--expired"]).1, "Nothing to clean up.\n");
    assert_eq!(gaia.run(&["cleanup", "--all"]).0, Some(code(Exit::Success)));
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
}
