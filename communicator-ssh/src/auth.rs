//! Proving who we are on a connection that is open: keys, the agent's keys, password, keyboard-interactive.
//!
//! One pass over what there is, the surest first, each only while the server still takes that method.

use std::collections::BTreeMap;
use std::path::PathBuf;

use builder_core::{BuildError, ExposeSecret, SecretString};
use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, ssh_key};
use russh::{MethodKind, MethodSet};

use crate::keys::{self, Key};
use crate::settings::Login;

/// A server that asks more often than this in one keyboard-interactive exchange gets no more answers.
const MOST_QUESTIONS: usize = 8;
/// What a server says that takes no method any more.
pub(crate) const NOTHING_ELSE: &str = "it takes nothing else";

/// Everything that can be shown to a server.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    keys: Vec<Key>,
    agent: Option<PathBuf>,
    password: Option<SecretString>,
}

impl Credentials {
    /// Collects what a login names, and the key that the builder made.
    pub(crate) async fn gather(
        login: &Login,
        generated: Option<&SecretString>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, BuildError> {
        let mut found = Vec::from_iter(keys::of_login(login).await?);
        if let Some(pem) = generated {
            found.push(keys::generated(pem)?);
        }
        let agent = match (login.agent, environment.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty())) {
            (false, _) => None,
            (true, Some(path)) => Some(PathBuf::from(path)),
            (true, None) => {
                return Err(BuildError::failed(format!(
                    "`{}agent_auth` is set, but the environment has no SSH_AUTH_SOCK: start an agent (`eval $(ssh-agent)`, `ssh-add KEY`)",
                    login.prefix
                )));
            }
        };
        if found.is_empty() && agent.is_none() && login.password.is_none() {
            return Err(BuildError::failed(format!(
                "there is nothing to log in with: set `{0}private_key_file`, `{0}password` or `{0}agent_auth`",
                login.prefix
            )));
        }
        Ok(Self { username: login.username.clone(), keys: found, agent, password: login.password.clone() })
    }
}

/// Why a login did not work.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The server said no to everything.
    Refused(String),
    /// The connection ended meanwhile: a server that has heard enough hangs up.
    Ended { error: russh::Error, tried: String },
}

/// What cuts a pass short.
enum Stop {
    Refused(String),
    Ended(russh::Error),
}

impl From<russh::Error> for Stop {
    fn from(error: russh::Error) -> Self {
        Self::Ended(error)
    }
}

/// One pass over the credentials: never call it again on a connection that it has logged in, which would hang.
pub(crate) async fn log_in<H: Handler>(handle: &mut Handle<H>, with: &Credentials) -> Result<(), Denied> {
    let mut pass = Pass { handle, user: &with.username, accepted: None, tried: Vec::new() };
    match pass.run(with).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Denied::Refused(pass.refusal())),
        Err(Stop::Refused(why)) => Err(Denied::Refused(why)),
        Err(Stop::Ended(error)) => Err(Denied::Ended { error, tried: pass.tried() }),
    }
}

struct Pass<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    user: &'a str,
    /// What the server still takes, as it said last.
    accepted: Option<MethodSet>,
    tried: Vec<String>,
}

impl<H: Handler> Pass<'_, H> {
    /// Whether one of them opened the door.
    async fn run(&mut self, with: &Credentials) -> Result<bool, Stop> {
        for key in &with.keys {
            if self.key(key).await? {
                return Ok(true);
            }
        }
        if let Some(socket) = &with.agent
            && self.agent(socket).await?
        {
            return Ok(true);
        }
        match &with.password {
            Some(password) => self.password(password).await,
            None => Ok(false),
        }
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.accepted.as_ref().is_none_or(|accepted| accepted.contains(&method))
    }

    /// Whether that was it; remembers what the server takes now. A closed connection looks like a refusal to russh.
    fn settle(&mut self, result: AuthResult, tried: impl FnOnce() -> String) -> Result<bool, Stop> {
        match result {
            AuthResult::Success => Ok(true),
            AuthResult::Failure { remaining_methods, .. } => {
                self.accepted = Some(remaining_methods);
                self.tried.push(tried());
                if self.handle.is_closed() { Err(Stop::Ended(russh::Error::Disconnect)) } else { Ok(false) }
            }
        }
    }

    /// SHA-1 signatures only for servers that say they know nothing else.
    async fn hash_for(&self, algorithm: ssh_key::Algorithm) -> Result<Option<HashAlg>, Stop> {
        if !matches!(algorithm, ssh_key::Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        Ok(self.handle.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha256)))
    }

    async fn key(&mut self, key: &Key) -> Result<bool, Stop> {
        if !self.takes(MethodKind::PublicKey) {
            return Ok(false);
        }
        let hash = self.hash_for(key.private.algorithm()).await?;
        let result = match &key.certificate {
            None => {
                let with_hash = PrivateKeyWithHashAlg::new(key.private.clone(), hash);
                self.handle.authenticate_publickey(self.user, with_hash).await?
            }
            Some(certificate) => {
                let mut signer = Signer(key);
                self.handle.authenticate_certificate_with(self.user, certificate.clone(), hash, &mut signer).await?
            }
        };
        self.settle(result, || key.describe())
    }

    async fn agent(&mut self, socket: &std::path::Path) -> Result<bool, Stop> {
        let unusable = |e: &dyn std::fmt::Display| {
            Stop::Refused(format!("the agent at {} cannot be used ({e})", socket.display()))
        };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|e| unusable(&e))?;
        let identities = agent.request_identities().await.map_err(|e| unusable(&e))?;
        if identities.is_empty() {
            self.tried.push("an agent without keys".to_owned());
        }
        for identity in identities {
            if !self.takes(MethodKind::PublicKey) {
                break;
            }
            let public = identity.public_key().into_owned();
            let hash = self.hash_for(public.algorithm()).await?;
            let label = || format!("{} key {} of the agent", public.algorithm(), public.fingerprint(HashAlg::Sha256));
            let answer = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent).await
                }
            };
            match answer {
                Ok(result) => {
                    if self.settle(result, label)? {
                        return Ok(true);
                    }
                }
                Err(russh::AgentAuthError::Send(_)) => return Err(Stop::Ended(russh::Error::Disconnect)),
                // The agent keeps this key to itself (a confirmation was declined): the next may do.
                Err(russh::AgentAuthError::Key(e)) => self.tried.push(format!("{} ({e})", label())),
            }
        }
        Ok(false)
    }

    async fn password(&mut self, password: &SecretString) -> Result<bool, Stop> {
        if self.takes(MethodKind::Password) {
            let result = self.handle.authenticate_password(self.user, password.expose_secret()).await?;
            if self.settle(result, || "the password".to_owned())? {
                return Ok(true);
            }
        }
        if !self.takes(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let mut answer = self.handle.authenticate_keyboard_interactive_start(self.user, None).await?;
        for _ in 0..MOST_QUESTIONS {
            match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    self.accepted = Some(remaining_methods);
                    break;
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let responses = prompts.iter().map(|_| password.expose_secret().to_owned()).collect();
                    answer = self.handle.authenticate_keyboard_interactive_respond(responses).await?;
                }
            }
        }
        self.tried.push("the password by keyboard-interactive".to_owned());
        Ok(false)
    }

    fn tried(&self) -> String {
        match self.tried.as_slice() {
            [] => "nothing that it takes".to_owned(),
            tried => tried.join(", "),
        }
    }

    fn refusal(&self) -> String {
        let tried = self.tried();
        match &self.accepted {
            Some(methods) if !methods.is_empty() => {
                let methods: Vec<&str> = methods.iter().map(<&str>::from).collect();
                format!("tried {tried}; it takes {}", methods.join(", "))
            }
            _ => format!("tried {tried}; {NOTHING_ELSE}"),
        }
    }
}

/// Signs for a certificate, with the hash that the server knows: russh by itself signs RSA with SHA-1 there.
struct Signer<'a>(&'a Key);

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let signature: ssh_key::Signature = match self.0.private.key_data() {
            KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&to_sign)?,
            _ => self.0.private.try_sign(&to_sign)?,
        };
        signature.encode_prefixed(&mut to_sign)?;
        Ok(to_sign)
    }
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error(transparent)]
    Send(#[from] russh::SendError),
    #[error(transparent)]
    Sign(#[from] russh::keys::signature::Error),
    #[error(transparent)]
    Encode(#[from] russh::keys::ssh_encoding::Error),
}

impl From<SignError> for Stop {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Send(_) => Self::Ended(russh::Error::Disconnect),
            other => Self::Refused(format!("the key could not sign: {other}")),
        }
    }
}
