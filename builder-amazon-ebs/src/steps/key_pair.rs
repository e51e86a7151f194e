//! The key pair that opens the instance.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{KeyType, ResourceType};
use builder_core::ledger::{Created, Lifetime, NewResource};
use builder_core::{BuildError, SecretString};

use super::{Stage, unsure};
use crate::api_error::{ApiError, Named as _};
use crate::config::{Identity, KeyPair};
use crate::{mark, reclaim};

/// What the instance is launched with and what opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    /// The key pair's name.
    pub(crate) name: Option<String>,
    /// Its private key, if it was made here.
    pub(crate) private: Option<SecretString>,
}

/// Makes a temporary key pair, or says which one is used.
pub(crate) async fn key_pair(stage: &Stage<'_>, tags: &[(String, String)]) -> Result<Key, BuildError> {
    let events = &stage.cx.events;
    match &stage.settings.key_pair {
        KeyPair::Temporary { name, ed25519 } => Box::pin(temporary(stage, name.as_deref(), *ed25519, tags)).await,
        KeyPair::Existing { name, by } => {
            match (by, name) {
                (Identity::File, _) => events.say("Using existing SSH private key"),
                (Identity::Agent, None) => events.say("Using SSH Agent with key pair in Source AMI"),
                (Identity::Agent, Some(name)) => events.say(format!("Using SSH Agent for existing key pair {name}")),
                (Identity::Nothing, _) => events.say("Not using temporary keypair"),
            }
            Ok(Key { name: name.clone(), private: None })
        }
    }
}

async fn temporary(
    stage: &Stage<'_>,
    name: Option<&str>,
    ed25519: bool,
    tags: &[(String, String)],
) -> Result<Key, BuildError> {
    let cx = stage.cx;
    let own = reclaim::temporary_name(&cx.build_id);
    let name = name.map_or_else(|| own.clone(), str::to_owned);
    cx.events.say(format!("Creating temporary keypair: {name}"));
    let new = NewResource {
        kind: reclaim::KEY_PAIR,
        name: name.clone(),
        region: stage.home.name.clone(),
        lifetime: Lifetime::Temporary,
        details: BTreeMap::new(),
    };
    let call = async {
        let made = match create(stage, &name, ed25519, tags).await {
            // A lost answer, and the SDK asked again. Nobody else has this name; the private key is lost, so make another.
            Err(e) if e.is(&["InvalidKeyPair.Duplicate"]) && name == own => {
                let again = async {
                    stage.home.client.delete_key_pair().key_name(&name).send().await.named("DeleteKeyPair")?;
                    create(stage, &name, ed25519, tags).await
                };
                Box::pin(again).await.map_err(unsure)?
            }
            made => made?,
        };
        Ok(made)
    };
    let private = Box::pin(stage.create(new, call)).await?;
    Ok(Key { name: Some(name), private: Some(private) })
}

async fn create(
    stage: &Stage<'_>,
    name: &str,
    ed25519: bool,
    tags: &[(String, String)],
) -> Result<Created<SecretString>, ApiError> {
    let call = stage.home.client.create_key_pair().key_name(name);
    let call = call.key_type(if ed25519 { KeyType::Ed25519 } else { KeyType::Rsa });
    let call = call.set_tag_specifications(mark::specification(ResourceType::KeyPair, tags).map(|s| vec![s]));
    let made = call.send().await.named("CreateKeyPair")?;
    let private = made.key_material.ok_or_else(|| ApiError::incomplete("CreateKeyPair", "private key"))?;
    stage.cx.redactor.add(&private);
    Ok(Created { id: made.key_pair_id.unwrap_or_else(|| name.to_owned()), value: SecretString::from(private) })
}
