//! The rig: moto's EC2 server and an OpenSSH sshd in a sandbox (`tests/rig/rig.py`), started for one test and ended with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::repository;

/// A running rig.
#[derive(Debug)]
pub struct Rig {
    process: Child,
    /// What it said of itself when it was ready.
    pub ready: Ready,
}

/// Where the rig can be found.
#[derive(Debug, Deserialize)]
pub struct Ready {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    /// Where the machine's sshd listens.
    pub ssh_port: u16,
    /// The machine's root directory, seen from this host.
    pub sandbox: PathBuf,
    /// The build region.
    pub region: String,
    /// A VPC with a public subnet.
    pub vpc_id: String,
    /// That subnet.
    pub subnet_id: String,
    /// The image that the example's filter must find.
    pub source_ami: String,
    /// AWS's two files, with the profile of the example.
    pub credentials_file: PathBuf,
    /// The other.
    pub config_file: PathBuf,
    calls_log: PathBuf,
    sshd_log: PathBuf,
}

/// An API call that the endpoint served.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// `CreateImage`
    pub action: String,
    /// Where.
    pub region: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// Every resource of the account, by region and kind.
#[derive(Clone, Debug, PartialEq)]
pub struct State(pub Value);

impl Rig {
    /// Starts a rig with options of `rig.py start`.
    pub fn start(options: &[&str]) -> Self {
        let python = repository().join("target/tools/venv/bin/python");
        assert!(python.exists(), "{} is missing: run scripts/setup", python.display());
        let mut process = Command::new(python)
            .arg(repository().join("tests/rig/rig.py"))
            .arg("start")
            .args(options)
            .env_remove("AWS_PROFILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the rig can be started");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the rig speaks UTF-8");
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("the rig did not start ({e}): {line:?}"));
        Self { process, ready }
    }

    /// What exists now.
    pub fn state(&self) -> State {
        State(serde_json::from_str(&self.http("GET", "/rig/state", "")).expect("the rig's state is JSON"))
    }

    /// Replaces the faults: `{"deny": [ACTION], "fail": {ACTION: "CODE[:N]"}, "lose": {…}}`.
    pub fn faults(&self, faults: &Value) {
        self.http("POST", "/rig/faults", &faults.to_string());
    }

    /// Every API call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        let log = std::fs::read_to_string(&self.ready.calls_log).expect("the rig writes its calls down");
        log.lines().map(|line| serde_json::from_str(line).expect("a call is JSON")).collect()
    }

    fn machine(&self, path: &str) -> PathBuf {
        self.ready.sandbox.join(path.trim_start_matches('/'))
    }

    /// Whether the machine has a file there.
    pub fn has(&self, path: &str) -> bool {
        self.machine(path).symlink_metadata().is_ok()
    }

    /// What the machine's sshd logged: for a test that fails.
    pub fn sshd_log(&self) -> String {
        std::fs::read_to_string(&self.ready.sshd_log).unwrap_or_default()
    }

    /// One request to the rig's own paths; HTTP/1.0, so that the answer ends with the connection.
    fn http(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.ready.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the rig listens");
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("the rig reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the rig answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head and a body");
        assert!(head.contains(" 200 "), "{method} {path}: {head}");
        body.to_owned()
    }
}

/// The rig ends when its standard input closes, and takes everything it started with it.
impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let ended = self.process.wait();
        if !std::thread::panicking() {
            assert!(ended.is_ok_and(|status| status.success()), "the rig did not end well");
        }
    }
}

impl State {
    /// The resources of a kind in a region: `images`, `snapshots`, `instances`, `volumes`, `key_pairs`, `security_groups`.
    pub fn of(&self, region: &str, kind: &str) -> Vec<Value> {
        self.0[region][kind].as_array().cloned().unwrap_or_default()
    }

    /// Everything, a line per resource: for comparing before and after, and for reading when that fails.
    pub fn lines(&self) -> Vec<String> {
        let regions = self.0.as_object().into_iter().flatten();
        let kinds =
            regions.flat_map(|(r, kinds)| kinds.as_object().into_iter().flatten().map(move |(k, list)| (r, k, list)));
        let lines = kinds.flat_map(|(region, kind, list)| {
            list.as_array().into_iter().flatten().map(move |resource| format!("{region} {kind} {}", name(resource)))
        });
        lines.collect()
    }
}

fn name(resource: &Value) -> String {
    let keys = ["ImageId", "SnapshotId", "InstanceId", "VolumeId", "KeyName", "GroupName", "NetworkInterfaceId"];
    let found = keys.iter().find_map(|key| resource[*key].as_str());
    found.map_or_else(|| resource.to_string(), str::to_owned)
}
