//! The config, checked: what the keys mean, with defaults filled in. Pure: looks at no file.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use builder_core::{GoDuration, Problems, SecretString};
use russh::{Preferred, cipher, client, kex};

use crate::config::Config;

/// What Packer waits and tries if the template says nothing of either.
const DEFAULT_TIMEOUT: GoDuration = GoDuration::from_secs(5 * 60);
const DEFAULT_ATTEMPTS: u32 = 10;
const DEFAULT_KEEPALIVE: GoDuration = GoDuration::from_secs(5);

/// Unanswered signs of life before a connection counts as lost.
const KEEPALIVE_MAX: usize = 3;
/// What a machine may send ahead of us: with less, a download over 80 ms waits for the window more than for the line.
const WINDOW: u32 = 16 * 1024 * 1024;
/// The largest packet that russh takes.
const PACKET: u32 = 65_535;

/// What a connector needs to connect, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The host, if the user gave one.
    pub(crate) host: Option<String>,
    /// How to log in to the machine.
    pub(crate) login: Login,
    /// The host to go through.
    pub(crate) bastion: Option<Bastion>,
    /// Whether commands get a terminal.
    pub(crate) pty: bool,
    /// How long to wait for a login; `None` is without end.
    pub(crate) timeout: Option<GoDuration>,
    /// How many refused logins to take; `None` is without end.
    pub(crate) attempts: Option<u32>,
    /// The wait between a first login and the one that counts.
    pub(crate) pause: Option<GoDuration>,
    /// What transfers files.
    pub(crate) method: TransferMethod,
    /// What russh is told of the protocol.
    pub(crate) client: Arc<client::Config>,
}

/// How to log in to one host.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// What the keys of the config begin with, for errors: `ssh_` or `ssh_bastion_`.
    pub(crate) prefix: &'static str,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: Option<SecretString>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) agent: bool,
}

/// A host that the connection goes through.
#[derive(Clone, Debug)]
pub(crate) struct Bastion {
    pub(crate) host: String,
    pub(crate) login: Login,
}

/// The protocol that is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferMethod {
    Sftp,
    Scp,
}

/// Checks all of a config.
pub(crate) fn check(config: Config) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    refuse_unsupported(&config, &mut problems);
    if config.ssh_username.is_empty() {
        problems
            .add("ssh_username", "An ssh_username must be specified")
            .help("Note: some builders used to default ssh_username to \"root\".");
    }
    if config.ssh_certificate_file.is_some() && config.ssh_private_key_file.is_none() {
        problems
            .add("ssh_certificate_file", "ssh_private_key_file must be specified if ssh_certificate_file is specified");
    }
    let method = match config.ssh_file_transfer_method.as_deref() {
        None | Some("sftp") => TransferMethod::Sftp,
        Some("scp") => TransferMethod::Scp,
        Some(other) => {
            problems.add(
                "ssh_file_transfer_method",
                format!("ssh_file_transfer_method ('{other}') is invalid, valid methods: sftp, scp"),
            );
            TransferMethod::Sftp
        }
    };
    let bastion = bastion(&config, &mut problems);
    let (timeout, attempts) =
        match (config.ssh_timeout.filter(|t| t.positive().is_some()), config.ssh_handshake_attempts) {
            (None, None | Some(0)) => (Some(DEFAULT_TIMEOUT), Some(DEFAULT_ATTEMPTS)),
            (timeout, attempts) => (timeout, attempts.filter(|n| *n > 0)),
        };
    let client = client(&config, &mut problems);
    problems.ok(Settings {
        host: config.ssh_host,
        login: Login {
            prefix: "ssh_",
            port: port(config.ssh_port),
            username: config.ssh_username,
            password: config.ssh_password,
            key_file: config.ssh_private_key_file,
            certificate_file: config.ssh_certificate_file,
            agent: config.ssh_agent_auth,
        },
        bastion,
        pty: config.ssh_pty,
        timeout,
        attempts,
        pause: Some(config.pause_before_connecting).filter(|p| p.positive().is_some()),
        method,
        client: Arc::new(client),
    })
}

/// What Packer does and we do not: an error is better than a build that quietly lacks it.
fn refuse_unsupported(config: &Config, problems: &mut Problems) {
    let proxy = "reach the machine through a bastion (`ssh_bastion_host`) or run gaia where the proxy is not needed";
    let tunnels = "have the machine fetch what it needs, or upload it with a file provisioner";
    let rows = [
        ("ssh_proxy_host", config.ssh_proxy_host.is_some(), proxy),
        ("ssh_proxy_port", config.ssh_proxy_port.is_some_and(|p| p != 0), proxy),
        ("ssh_proxy_username", config.ssh_proxy_username.is_some(), proxy),
        ("ssh_proxy_password", config.ssh_proxy_password.is_some(), proxy),
        ("ssh_local_tunnels", !config.ssh_local_tunnels.is_empty(), tunnels),
        ("ssh_remote_tunnels", !config.ssh_remote_tunnels.is_empty(), tunnels),
        (
            "ssh_bastion_interactive",
            config.ssh_bastion_interactive,
            "give a password, a private key file or an agent for the bastion",
        ),
        (
            "ssh_clear_authorized_keys",
            config.ssh_clear_authorized_keys,
            "remove the key in the last provisioner: `shred -u ~/.ssh/authorized_keys`",
        ),
    ];
    for (key, set, help) in rows {
        if set {
            problems.add(key, format!("`{key}` is not supported yet")).help(help);
        }
    }
}

fn bastion(config: &Config, problems: &mut Problems) -> Option<Bastion> {
    let host = config.ssh_bastion_host.clone()?;
    // The bastion takes the machine's key unless it has its own; a certificate goes with its key.
    let (key_file, certificate_file) = match &config.ssh_bastion_private_key_file {
        Some(own) => (Some(own.clone()), config.ssh_bastion_certificate_file.clone()),
        None => (
            config.ssh_private_key_file.clone(),
            config.ssh_bastion_certificate_file.clone().or_else(|| config.ssh_certificate_file.clone()),
        ),
    };
    if config.ssh_bastion_password.is_none() && key_file.is_none() && !config.ssh_bastion_agent_auth {
        problems.add(
            "ssh_bastion_host",
            "ssh_bastion_password, ssh_bastion_private_key_file or ssh_bastion_agent_auth must be specified",
        );
    }
    Some(Bastion {
        host,
        login: Login {
            prefix: "ssh_bastion_",
            port: port(config.ssh_bastion_port),
            username: config.ssh_bastion_username.clone().unwrap_or_else(|| config.ssh_username.clone()),
            password: config.ssh_bastion_password.clone(),
            key_file,
            certificate_file,
            agent: config.ssh_bastion_agent_auth,
        },
    })
}

fn port(given: u16) -> u16 {
    if given == 0 { 22 } else { given }
}

fn client(config: &Config, problems: &mut Problems) -> client::Config {
    let mut preferred = Preferred {
        // AES in hardware is faster than ChaCha20 in software, and every sshd of the last ten years has it.
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        // A build's traffic is scripts and archives: not worth a compressor.
        compression: Cow::Borrowed(&[russh::compression::NONE]),
        ..Preferred::default()
    };
    let known: Vec<_> =
        cipher::ALL_CIPHERS.iter().copied().copied().filter(|c| ![cipher::CLEAR, cipher::NONE].contains(c)).collect();
    if let Some(ciphers) = choose("ssh_ciphers", &config.ssh_ciphers, &known, problems) {
        preferred.cipher = Cow::Owned(ciphers);
    }
    let known: Vec<_> = kex::ALL_KEX_ALGORITHMS.iter().copied().copied().filter(|k| *k != kex::NONE).collect();
    if let Some(mut exchanges) =
        choose("ssh_key_exchange_algorithms", &config.ssh_key_exchange_algorithms, &known, problems)
    {
        // Not algorithms but marks of what the protocol may do; they travel in the same list.
        exchanges.extend([kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
        preferred.kex = Cow::Owned(exchanges);
    }
    let keepalive = config.ssh_keep_alive_interval.filter(|k| *k != GoDuration::default()).unwrap_or(DEFAULT_KEEPALIVE);
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-gaia_", env!("CARGO_PKG_VERSION")))),
        preferred,
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        keepalive_interval: keepalive.positive(),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: config.ssh_read_write_timeout.positive(),
        nodelay: true,
        ..client::Config::default()
    }
}

/// The algorithms that a list names; `None` for an empty list.
fn choose<N: AsRef<str> + Copy>(key: &str, names: &[String], known: &[N], problems: &mut Problems) -> Option<Vec<N>> {
    let mut chosen = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(found) = known.iter().find(|k| k.as_ref() == name) {
            chosen.push(*found);
            continue;
        }
        let list: Vec<_> = known.iter().map(AsRef::as_ref).collect();
        problems
            .add(format!("{key}[{at}]"), format!("{key}: unknown algorithm `{name}`"))
            .help(format!("known here: {}", list.join(", ")));
    }
    (!names.is_empty()).then_some(chosen)
}

/// The durations of the protocol itself, which no template sets.
pub(crate) mod limits {
    use super::Duration;

    /// From the first byte to the keys being exchanged.
    pub(crate) const HANDSHAKE: Duration = Duration::from_secs(20);
    /// A login, however many keys it tries. PAM and reverse look-ups take their time on a machine that boots.
    pub(crate) const LOGIN: Duration = Duration::from_secs(60);
    /// An answer to a request on an open connection: a channel, a terminal, a command's start.
    pub(crate) const REPLY: Duration = Duration::from_secs(30);
    /// A transfer in which nothing moves.
    pub(crate) const STALL: Duration = Duration::from_secs(300);
    /// Opening the connection when there is no loop around it that tries again.
    pub(crate) const DIAL: Duration = Duration::from_secs(15);
}

#[cfg(test)]
mod tests {
    use builder_core::decode::decode_json;
    use serde_json::{Value, json};

    use super::*;

    fn checked(mut json: Value) -> Result<Settings, Problems> {
        json.as_object_mut().unwrap().entry("ssh_username").or_insert("core".into());
        check(decode_json(&json).unwrap())
    }

    #[test]
    fn timeout_and_attempts_have_defaults_only_together() {
        let rows = [
            (json!({}), Some("5m0s"), Some(10)),
            (json!({"ssh_timeout": "", "ssh_handshake_attempts": ""}), Some("5m0s"), Some(10)),
            (json!({"ssh_timeout": "0s", "ssh_handshake_attempts": 0}), Some("5m0s"), Some(10)),
            (json!({"ssh_timeout": "90s"}), Some("1m30s"), None),
            (json!({"ssh_handshake_attempts": "3"}), None, Some(3)),
            (json!({"ssh_timeout": "1m", "ssh_handshake_attempts": 2}), Some("1m0s"), Some(2)),
        ];
        for (json, timeout, attempts) in rows {
            let settings = checked(json.clone()).unwrap();
            assert_eq!(settings.timeout.map(|t| t.to_string()).as_deref(), timeout, "{json}");
            assert_eq!(settings.attempts, attempts, "{json}");
        }
    }

    #[test]
    fn defaults_and_weak_values_are_what_packer_takes() {
        let settings = checked(json!({"ssh_disable_agent_forwarding": true, "ssh_host": ""})).unwrap();
        assert_eq!((settings.login.port, settings.pty, settings.host), (22, false, None));
        assert_eq!(settings.method, TransferMethod::Sftp);
        assert_eq!(settings.client.keepalive_interval, Some(Duration::from_secs(5)));
        assert_eq!(settings.client.inactivity_timeout, None);
        let settings = checked(json!({
            "ssh_port": "2222", "ssh_pty": "true", "ssh_keep_alive_interval": "-1s", "ssh_read_write_timeout": "1m",
            "ssh_file_transfer_method": "scp", "ssh_ciphers": "aes128-ctr,aes256-ctr",
            "ssh_key_exchange_algorithms": ["curve25519-sha256"], "pause_before_connecting": "3s",
        }))
        .unwrap();
        assert_eq!((settings.login.port, settings.pty, settings.method), (2222, true, TransferMethod::Scp));
        assert_eq!(settings.client.keepalive_interval, None);
        assert_eq!(settings.client.inactivity_timeout, Some(Duration::from_secs(60)));
        assert_eq!(*settings.client.preferred.cipher, [cipher::AES_128_CTR, cipher::AES_256_CTR]);
        assert_eq!(settings.client.preferred.kex[0], kex::CURVE25519);
        assert_eq!(settings.pause.map(|p| p.to_string()).as_deref(), Some("3s"));
    }

    #[test]
    fn the_bastion_takes_the_machines_key_unless_it_has_its_own() {
        let rows = [
            (json!({"ssh_private_key_file": "/k"}), "core", Some("/k")),
            (json!({"ssh_private_key_file": "/k", "ssh_bastion_private_key_file": "/b"}), "core", Some("/b")),
            (json!({"ssh_bastion_password": "x", "ssh_bastion_username": "jump"}), "jump", None),
        ];
        for (mut json, user, key) in rows {
            json["ssh_bastion_host"] = "b.test".into();
            let bastion = checked(json).unwrap().bastion.unwrap();
            assert_eq!((bastion.host.as_str(), bastion.login.port), ("b.test", 22));
            assert_eq!(bastion.login.username, user);
            assert_eq!(bastion.login.key_file, key.map(PathBuf::from));
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_key() {
        let rows = [
            (json!({"ssh_username": ""}), "ssh_username", "An ssh_username must be specified"),
            (
                json!({"ssh_file_transfer_method": "ftp"}),
                "ssh_file_transfer_method",
                "ssh_file_transfer_method ('ftp') is invalid, valid methods: sftp, scp",
            ),
            (
                json!({"ssh_certificate_file": "/c"}),
                "ssh_certificate_file",
                "ssh_private_key_file must be specified if ssh_certificate_file is specified",
            ),
            (json!({"ssh_ciphers": ["rot13"]}), "ssh_ciphers[0]", "ssh_ciphers: unknown algorithm `rot13`"),
            (json!({"ssh_ciphers": ["none"]}), "ssh_ciphers[0]", "ssh_ciphers: unknown algorithm `none`"),
            (
                json!({"ssh_key_exchange_algorithms": "curve25519-sha256,none"}),
                "ssh_key_exchange_algorithms[1]",
                "ssh_key_exchange_algorithms: unknown algorithm `none`",
            ),
            (json!({"ssh_proxy_host": "p"}), "ssh_proxy_host", "`ssh_proxy_host` is not supported yet"),
            (json!({"ssh_proxy_password": "p"}), "ssh_proxy_password", "`ssh_proxy_password` is not supported yet"),
            (json!({"ssh_local_tunnels": "1:h:2"}), "ssh_local_tunnels", "`ssh_local_tunnels` is not supported yet"),
            (
                json!({"ssh_remote_tunnels": ["1:h:2"]}),
                "ssh_remote_tunnels",
                "`ssh_remote_tunnels` is not supported yet",
            ),
            (
                json!({"ssh_clear_authorized_keys": "true"}),
                "ssh_clear_authorized_keys",
                "`ssh_clear_authorized_keys` is not supported yet",
            ),
            (
                json!({"ssh_bastion_interactive": true}),
                "ssh_bastion_interactive",
                "`ssh_bastion_interactive` is not supported yet",
            ),
            (
                json!({"ssh_bastion_host": "b"}),
                "ssh_bastion_host",
                "ssh_bastion_password, ssh_bastion_private_key_file or ssh_bastion_agent_auth must be specified",
            ),
        ];
        for (json, path, message) in rows {
            let problems = checked(json.clone()).unwrap_err();
            let said: Vec<_> = problems.0.iter().map(|p| (p.path.as_str(), p.message.as_str())).collect();
            assert_eq!(said, [(path, message)], "{json}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let settings = checked(json!({"ssh_password": "hunter2"})).unwrap();
        let config: Config =
            decode_json(&json!({"ssh_password": "hunter2", "ssh_bastion_password": "hunter2"})).unwrap();
        assert!(!format!("{settings:?} {config:?}").contains("hunter2"));
    }
}
