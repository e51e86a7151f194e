//! The gaia binary on a copy of the example, against a rig.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{Rig, repository};

/// No build here takes longer; one that does is killed, and its test fails.
const LONGEST: Duration = Duration::from_secs(180);

/// The path of the gaia binary, built from the present source.
pub fn gaia_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "gaia-cli", "--bin", "gaia"])
            .current_dir(repository())
            .status()
            .expect("cargo can be run");
        assert!(built.success(), "gaia does not build");
        // A test binary is target/debug/deps/NAME.
        let test = std::env::current_exe().expect("a test knows its own path");
        let target = test.ancestors().nth(2).expect("a test is two folders deep in target/");
        target.join("gaia")
    })
}

/// A folder with the example, adapted to a rig, in which gaia (or Packer) runs.
#[derive(Debug)]
pub struct Gaia<'a> {
    rig: &'a Rig,
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// What it wrote to standard output.
    pub stdout: String,
    /// And to standard error.
    pub stderr: String,
    /// Its end.
    pub status: ExitStatus,
    /// How long it took.
    pub elapsed: Duration,
}

impl Ran {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output and standard error, one after the other.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl<'a> Gaia<'a> {
    /// Copies examples/gaia-hub; the template gets the rig's endpoint, host and port, and nothing else changes.
    pub fn new(rig: &'a Rig) -> Self {
        let gaia = Self { rig, folder: TempDir::with_prefix("gaia-test-").expect("a temporary folder") };
        let example = repository().join("examples/gaia-hub");
        for file in ["gaia-hub.json", "gaia.ign"] {
            std::fs::copy(example.join(file), gaia.path(file)).expect("the example can be copied");
        }
        gaia.edit("gaia-hub.json", |template| {
            let builder = &mut template["builders"][0];
            builder["custom_endpoint_ec2"] = json!(rig.ready.endpoint);
            builder["ssh_host"] = json!("127.0.0.1");
            builder["ssh_port"] = json!(rig.ready.ssh_port);
        });
        let sample = std::fs::read_to_string(example.join("vars.json.sample")).expect("the example has variables");
        std::fs::write(gaia.path("vars.json"), sample).expect("a temporary file");
        gaia.edit("vars.json", |vars| {
            vars["vpc_id"] = json!(rig.ready.vpc_id);
            vars["subnet_id"] = json!(rig.ready.subnet_id);
        });
        gaia
    }

    /// A path in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Where the run keeps its ledgers.
    pub fn ledgers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("state/ledger")).into_iter().flatten();
        let mut names: Vec<_> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Changes a JSON file of the folder.
    pub fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(self.path(file)).expect("the file is there");
        let mut json: Value = serde_json::from_str(&text).expect("the file is JSON");
        change(&mut json);
        std::fs::write(self.path(file), serde_json::to_string_pretty(&json).expect("JSON can be written"))
            .expect("a file");
    }

    /// Changes the builder of the template.
    pub fn builder(&self, more: Value) {
        self.edit("gaia-hub.json", |template| {
            let builder = template["builders"][0].as_object_mut().expect("the template has a builder");
            merge(builder, more);
        });
    }

    /// Changes the provisioner of the template.
    pub fn provisioner(&self, more: Value) {
        self.edit("gaia-hub.json", |template| {
            let provisioner = template["provisioners"][0].as_object_mut().expect("the template has a provisioner");
            merge(provisioner, more);
        });
    }

    /// `gaia build -var-file=vars.json gaia-hub.json`, with options before the file.
    pub fn build(&self, options: &[&str]) -> Ran {
        let mut arguments = vec!["build", "-var-file=vars.json"];
        arguments.extend(options);
        arguments.push("gaia-hub.json");
        self.run(&arguments)
    }

    /// Runs gaia.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.wait(self.command(gaia_binary(), arguments))
    }

    /// A program in the folder, with an environment that holds the rig's credentials and nothing of the user's.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let ready = &self.rig.ready;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("GAIA_STATE_DIR", self.path("state"))
            .env("AWS_SHARED_CREDENTIALS_FILE", &ready.credentials_file)
            .env("AWS_CONFIG_FILE", &ready.config_file)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, or kills it.
    #[expect(clippy::disallowed_methods, reason = "a test of a process waits in real time")]
    pub fn wait(&self, mut command: Command) -> Ran {
        let (stdout, stderr) = (self.path("stdout.txt"), self.path("stderr.txt"));
        let file = |path| std::fs::File::create(path).expect("a temporary file");
        let begun = Instant::now();
        let mut child =
            command.stdout(file(&stdout)).stderr(file(&stderr)).spawn().expect("the program can be started");
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if begun.elapsed() > LONGEST {
                child.kill().expect("a child can be killed");
                let said = std::fs::read_to_string(&stdout).unwrap_or_default();
                panic!("still running after {LONGEST:?}:\n{said}\nsshd: {}", self.rig.sshd_log());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        Ran { stdout: read(stdout), stderr: read(stderr), status, elapsed: begun.elapsed() }
    }
}

fn merge(object: &mut Map<String, Value>, more: Value) {
    let Value::Object(more) = more else { panic!("changes are an object") };
    for (key, value) in more {
        if value.is_null() {
            object.remove(&key);
        } else {
            object.insert(key, value);
        }
    }
}
