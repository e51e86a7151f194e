//! The plugin: a checked config that can connect.

use std::sync::Arc;

use async_trait::async_trait;
use builder_core::{
    Authentication, BuildContext, BuildError, Communicator, CommunicatorPlugin, Connector, ExposeSecret,
    PrepareContext, Problems, Target,
};

use crate::auth::Credentials;
use crate::communicator::SshCommunicator;
use crate::config::Config;
use crate::connect;
use crate::keys;
use crate::session::{Hop, Pin, Route};
use crate::settings::{self, Login, Settings};

/// The `ssh` communicator of a template, checked.
#[derive(Clone, Debug)]
pub struct SshConnector {
    settings: Settings,
}

impl CommunicatorPlugin for SshConnector {
    const TYPE: &'static str = "ssh";
    const ABOUT: &'static str = "logs in over SSH; transfers files by sftp or scp";
    type Config = Config;

    fn prepare(config: Config, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        Ok(Self { settings: settings::check(config)? })
    }
}

#[async_trait]
impl Connector for SshConnector {
    fn kind(&self) -> &'static str {
        Self::TYPE
    }

    fn port(&self) -> Option<u16> {
        Some(self.settings.login.port)
    }

    fn host(&self) -> Option<&str> {
        self.settings.host.as_deref()
    }

    fn username(&self) -> Option<&str> {
        Some(&self.settings.login.username)
    }

    /// A key file comes before the agent and the password, as the cloud may know its key pair by name.
    fn authentication(&self) -> Authentication {
        let login = &self.settings.login;
        match login {
            Login { key_file: Some(_), .. } => Authentication::KeyFile,
            Login { agent: true, .. } => Authentication::Agent,
            Login { password: Some(_), .. } => Authentication::Given,
            _ => Authentication::NeedsKeyPair,
        }
    }

    async fn preflight(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let machine = keys::of_login(&self.settings.login).await.err();
        let bastion = match &self.settings.bastion {
            // A bastion that takes the machine's key has nothing of its own to complain about.
            Some(bastion) if bastion.login.key_file != self.settings.login.key_file => {
                keys::of_login(&bastion.login).await.err()
            }
            _ => None,
        };
        for bad in [machine, bastion].into_iter().flatten() {
            bad.add_to(&mut problems);
        }
        problems.ok(())
    }

    async fn connect(&self, cx: &BuildContext, target: Target<'_>) -> Result<Arc<dyn Communicator>, BuildError> {
        let settings = &self.settings;
        let logins = [Some(&settings.login), settings.bastion.as_ref().map(|b| &b.login)];
        for password in logins.into_iter().flatten().filter_map(|login| login.password.as_ref()) {
            cx.redactor.add(password.expose_secret());
        }
        let hop = async |login: &Login, generated| {
            let credentials = Credentials::gather(login, generated, &cx.environment).await?;
            Ok::<_, BuildError>(Hop { port: login.port, credentials, pin: Pin::default() })
        };
        let bastion = match &settings.bastion {
            Some(bastion) => Some((bastion.host.clone(), hop(&bastion.login, None).await?)),
            None => None,
        };
        let machine = hop(&settings.login, target.private_key.as_ref()).await?;
        let route = Route { client: settings.client.clone(), bastion, machine };

        cx.events.say("Waiting for SSH to become available...");
        let mut connected = connect::wait(cx, target.address, settings, &route).await?;
        if let Some(pause) = settings.pause {
            connected.session.disconnect().await;
            cx.events.say(format!("Pausing {pause} before connecting..."));
            cx.cancel.sleep(pause.positive().unwrap_or_default()).await?;
            connected = connect::wait(cx, target.address, settings, &route).await?;
        }
        cx.events.say("Connected to SSH!");
        Ok(Arc::new(SshCommunicator::new(route, connected, settings, cx.names.bits())))
    }
}
