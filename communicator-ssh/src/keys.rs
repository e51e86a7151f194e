//! Private keys and certificates: read, parsed, refused with a reason. Knows nothing of connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder_core::{BuildError, ExposeSecret, Problems, SecretString};
use russh::keys::{self, Certificate, HashAlg, PrivateKey};
use tokio::io::AsyncReadExt;

use crate::settings::Login;

/// The largest key file that is read; RSA keys of 16384 bits take 13 KiB.
const LARGEST: u64 = 64 * 1024;

/// A private key that may open the door.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) private: Arc<PrivateKey>,
    pub(crate) certificate: Option<Certificate>,
}

impl Key {
    /// The key in an error: `ssh-ed25519 key SHA256:…`.
    pub(crate) fn describe(&self) -> String {
        let what = if self.certificate.is_some() { "certificate" } else { "key" };
        format!("{} {what} {}", self.private.algorithm(), self.private.fingerprint(HashAlg::Sha256))
    }
}

/// A key file that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadKey {
    /// The key of the config that names the file; empty for the key that the builder made.
    field: String,
    message: String,
    help: &'static str,
}

impl BadKey {
    pub(crate) fn add_to(self, problems: &mut Problems) {
        problems.add(self.field, self.message).help(self.help);
    }
}

impl From<BadKey> for BuildError {
    fn from(bad: BadKey) -> Self {
        Self::Failed(format!("{}: {}", bad.message, bad.help))
    }
}

/// Reads the private key that a login names, with its certificate.
pub(crate) async fn of_login(login: &Login) -> Result<Option<Key>, BadKey> {
    let Some(file) = &login.key_file else { return Ok(None) };
    let field = format!("{}private_key_file", login.prefix);
    let path = expand_home(file, std::env::home_dir().as_deref());
    let pem = read(&path, &field).await?;
    let private = parse(&pem, &field, &path.display().to_string())?;
    let certificate = match &login.certificate_file {
        None => None,
        Some(file) => Some(certificate(login, &expand_home(file, std::env::home_dir().as_deref()), &private).await?),
    };
    Ok(Some(Key { private: Arc::new(private), certificate }))
}

/// The key that a builder made.
pub(crate) fn generated(pem: &SecretString) -> Result<Key, BadKey> {
    let private = parse(pem.expose_secret(), "", "the temporary key pair")?;
    Ok(Key { private: Arc::new(private), certificate: None })
}

async fn certificate(login: &Login, path: &Path, private: &PrivateKey) -> Result<Certificate, BadKey> {
    let field = format!("{}certificate_file", login.prefix);
    let text = read(path, &field).await?;
    let help = "give the file that `ssh-keygen -s CA KEY.pub` wrote: KEY-cert.pub";
    let bad = |why: &str| BadKey {
        message: format!("{field} is invalid: {}: {why}", path.display()),
        field: field.clone(),
        help,
    };
    let certificate =
        Certificate::from_openssh(text.trim()).map_err(|e| bad(&format!("not an OpenSSH certificate ({e})")))?;
    if certificate.public_key() != private.public_key().key_data() {
        return Err(bad("it was made for another key than the private key file holds"));
    }
    Ok(certificate)
}

async fn read(path: &Path, field: &str) -> Result<String, BadKey> {
    let bad = |why: String| BadKey {
        field: field.to_owned(),
        message: format!("{field} is invalid: {}: {why}", path.display()),
        help: "check the path and who may read the file",
    };
    let file = tokio::fs::File::open(path).await.map_err(|e| bad(e.to_string()))?;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).await.map_err(|e| bad(e.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(bad(format!("larger than {LARGEST} bytes, so not a key")));
    }
    Ok(text)
}

fn parse(pem: &str, field: &str, name: &str) -> Result<PrivateKey, BadKey> {
    let encrypted = || BadKey {
        field: field.to_owned(),
        message: format!(
            "Failed to read key '{name}': password protected keys are not supported. Please decrypt the key prior to use."
        ),
        help: "decrypt a copy with `ssh-keygen -p -N '' -f COPY`, or add the key to an agent and set `ssh_agent_auth`",
    };
    // The old PEM forms say so in their headers; OpenSSH's own form says it inside.
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(encrypted());
    }
    match keys::decode_secret_key(pem.trim(), None) {
        Ok(key) if key.is_encrypted() => Err(encrypted()),
        Ok(key) => Ok(key),
        Err(keys::Error::KeyIsEncrypted) => Err(encrypted()),
        Err(error) => Err(BadKey {
            field: field.to_owned(),
            message: match field {
                "" => format!("{name} holds no private key that can be read ({error})"),
                _ => format!("{field} is invalid: {name}: no private key that can be read ({error})"),
            },
            help: "give a private key (not the .pub file) of type rsa, ecdsa or ed25519",
        }),
    }
}

/// `~` and `~/x` are in the home directory.
fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_expanded_only_at_the_start() {
        let rows = [
            ("~/.ssh/id", "/home/u/.ssh/id"),
            ("~", "/home/u"),
            ("/a/~/b", "/a/~/b"),
            ("~other/x", "~other/x"),
            ("x", "x"),
        ];
        for (path, expected) in rows {
            assert_eq!(expand_home(Path::new(path), Some(Path::new("/home/u"))), Path::new(expected), "{path}");
        }
        assert_eq!(expand_home(Path::new("~/x"), None), Path::new("~/x"));
    }
}
