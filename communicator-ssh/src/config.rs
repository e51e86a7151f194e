//! The keys of a template that this communicator reads, as they stand there. What they mean is in `settings`.

use std::path::PathBuf;

use builder_core::{GoDuration, SecretString};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// The config of the communicator `ssh`: keys that stand among the builder's.
///
/// Keys that every builder of Packer's takes but that are not built yet are here as well, so that they are refused by
/// name and not as unknown.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the keys that templates have")]
pub struct Config {
    /// The machine's address, if it is not the one that the builder finds.
    pub ssh_host: Option<String>,
    /// The port of the machine's sshd; 22 if unset.
    pub ssh_port: u16,
    /// The user to log in as. Required.
    pub ssh_username: String,
    /// The user's password, also given to each keyboard-interactive question.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub ssh_password: Option<SecretString>,
    /// A private key, not encrypted: OpenSSH, PKCS#1, PKCS#8 or SEC1. `~/` is the home directory.
    pub ssh_private_key_file: Option<PathBuf>,
    /// A certificate for the private key, as `ssh-keygen -s` writes it.
    pub ssh_certificate_file: Option<PathBuf>,
    /// Log in with the keys of the agent at `SSH_AUTH_SOCK`.
    pub ssh_agent_auth: bool,
    /// Run commands on a terminal: they die with the connection, and their standard error comes with their output.
    pub ssh_pty: bool,
    /// How long to wait until a login works. 5 minutes if `ssh_handshake_attempts` is unset too, else without end.
    pub ssh_timeout: Option<GoDuration>,
    /// How many refused logins end the wait. 10 if `ssh_timeout` is unset too, else without end.
    pub ssh_handshake_attempts: Option<u32>,
    /// Log in, then wait this long and log in again: for machines that restart their network or sshd while they boot.
    pub pause_before_connecting: GoDuration,
    /// How often to ask a silent machine for a sign of life: 5s if unset, never if negative.
    pub ssh_keep_alive_interval: Option<GoDuration>,
    /// Give a connection up that was silent for this long; never if unset.
    pub ssh_read_write_timeout: GoDuration,
    /// `sftp` or `scp`, whichever is tried first; the other serves if the machine does not have it. `sftp` if unset.
    pub ssh_file_transfer_method: Option<String>,
    /// Accepted and without effect: the agent is not forwarded.
    pub ssh_disable_agent_forwarding: bool,
    /// The ciphers to offer, the best first.
    pub ssh_ciphers: Vec<String>,
    /// The key exchanges to offer, the best first.
    pub ssh_key_exchange_algorithms: Vec<String>,
    /// Not supported yet.
    pub ssh_clear_authorized_keys: bool,
    /// A host to go through.
    pub ssh_bastion_host: Option<String>,
    /// The port of the bastion's sshd; 22 if unset.
    pub ssh_bastion_port: u16,
    /// The user on the bastion; `ssh_username` if unset.
    pub ssh_bastion_username: Option<String>,
    /// The password on the bastion.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub ssh_bastion_password: Option<SecretString>,
    /// Not supported yet.
    pub ssh_bastion_interactive: bool,
    /// The private key for the bastion; `ssh_private_key_file` if unset.
    pub ssh_bastion_private_key_file: Option<PathBuf>,
    /// The certificate for that key.
    pub ssh_bastion_certificate_file: Option<PathBuf>,
    /// Log in to the bastion with the keys of the agent.
    pub ssh_bastion_agent_auth: bool,
    /// Not supported yet.
    pub ssh_proxy_host: Option<String>,
    /// Not supported yet.
    pub ssh_proxy_port: Option<u16>,
    /// Not supported yet.
    pub ssh_proxy_username: Option<String>,
    /// Not supported yet.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub ssh_proxy_password: Option<SecretString>,
    /// Not supported yet.
    pub ssh_local_tunnels: Vec<String>,
    /// Not supported yet.
    pub ssh_remote_tunnels: Vec<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}
