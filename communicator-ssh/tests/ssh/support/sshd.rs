//! OpenSSH's sshd on a free port of loopback, with a directory of its own, gone with the value.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{keygen, program};

const SFTP: &str = "Subsystem sftp internal-sftp\n";

/// A running sshd.
pub(crate) struct Sshd {
    dir: TempDir,
    pub(crate) port: u16,
    user: String,
    child: Option<Child>,
}

impl Sshd {
    /// With an sftp subsystem.
    pub(crate) async fn start() -> Self {
        Self::start_with(SFTP).await
    }

    /// With these lines in its config, and an ed25519 key of the user's at [`Sshd::key`].
    pub(crate) async fn start_with(config: &str) -> Self {
        let mut sshd = Self::new(config).await;
        sshd.run().await;
        sshd
    }

    async fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let user = program("id", &["-un"]).await.trim().to_owned();
        let sshd = Self { dir, port: 0, user, child: None };
        keygen(&sshd.path("host_key"), &["-t", "ed25519"]).await;
        keygen(&sshd.key(), &["-t", "ed25519"]).await;
        fs::copy(sshd.path("key.pub"), sshd.path("authorized")).expect("a copy");
        fs::write(sshd.path("more_config"), config).expect("a file");
        sshd
    }

    /// A file in the server's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub(crate) fn text_path(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The private key that opens the door.
    pub(crate) fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// Lets another key in.
    pub(crate) fn authorize(&self, public: &Path) {
        let mut keys = fs::read_to_string(self.path("authorized")).expect("the keys");
        keys.push_str(&fs::read_to_string(public).expect("a public key"));
        fs::write(self.path("authorized"), keys).expect("the keys");
    }

    /// Keys of a template that lead here, without a way to log in.
    pub(crate) fn address(&self) -> Value {
        json!({"ssh_host": "127.0.0.1", "ssh_port": self.port, "ssh_username": self.user, "ssh_timeout": "20s",
               "ssh_handshake_attempts": 1})
    }

    /// Keys of a template that log in, with more of them.
    #[expect(clippy::needless_pass_by_value, reason = "json!() at the call reads better")]
    pub(crate) fn template(&self, more: Value) -> Value {
        let mut template = self.address();
        template["ssh_private_key_file"] = self.key().display().to_string().into();
        for (key, value) in more.as_object().expect("an object") {
            template[key] = value.clone();
        }
        template
    }

    async fn run(&mut self) {
        for _ in 0..10 {
            if self.port == 0 {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
                self.port = listener.local_addr().expect("an address").port();
            }
            if self.spawn().await {
                return;
            }
            // Somebody was quicker to take the port.
            self.port = 0;
        }
        panic!("sshd does not start: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    async fn spawn(&mut self) -> bool {
        // sshd insists on this directory when it is root; packages and boots make it just so.
        if self.user == "root" {
            fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        let mut config = String::new();
        for (key, value) in [
            ("Port", self.port.to_string()),
            ("ListenAddress", "127.0.0.1".to_owned()),
            ("HostKey", self.text_path("host_key")),
            ("PidFile", self.text_path("pid")),
            ("AuthorizedKeysFile", self.text_path("authorized")),
            ("StrictModes", "no".to_owned()),
            ("UsePAM", "no".to_owned()),
            ("PermitRootLogin", "yes".to_owned()),
            ("PasswordAuthentication", "no".to_owned()),
            ("KbdInteractiveAuthentication", "no".to_owned()),
            ("LogLevel", "VERBOSE".to_owned()),
        ] {
            writeln!(config, "{key} {value}").expect("a line");
        }
        config.push_str(&fs::read_to_string(self.path("more_config")).expect("the config"));
        // bash reads the user's start-up files only at the first level. The first SetEnv counts.
        config.push_str("SetEnv SHLVL=1\n");
        fs::write(self.path("config"), config).expect("the config");
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("/usr/sbin/sshd (Debian package openssh-server)");
        for _ in 0..500 {
            if child.try_wait().expect("a status").is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                self.child = Some(child);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(child.kill());
        false
    }

    /// Kills the server and every connection to it, as a restart of the machine does.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let connections = children_of(child.id());
        drop(child.kill());
        drop(child.wait());
        for pid in connections {
            // The connection first, so that it does not tell of the end of its commands.
            let family = children_of(pid);
            for pid in [pid].into_iter().chain(family) {
                drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
            }
        }
    }

    /// Starts it again on the same port.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.spawn().await, "{}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    /// Gives it another host key.
    pub(crate) async fn change_host_key(&self) {
        fs::remove_file(self.path("host_key")).expect("the host key");
        keygen(&self.path("host_key"), &["-t", "ed25519"]).await;
    }

    /// `SHA256:…`
    pub(crate) async fn host_key_fingerprint(&self) -> String {
        let line = program("ssh-keygen", &["-lf", &self.text_path("host_key.pub")]).await;
        line.split(' ').nth(1).expect("a fingerprint").to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Processes whose parent is this one.
fn children_of(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // `pid (name) state ppid …`, and a name may hold spaces and brackets.
        let ppid: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (ppid == parent).then_some(pid)
    })
    .collect()
}

/// Whether a process is there and not only waiting to be collected.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Whether any process has this command line.
pub(crate) fn is_running(command: &str) -> bool {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.trim_end_matches('\0').replace('\0', " ") == command)
}
