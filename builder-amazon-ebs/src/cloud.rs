//! Access to EC2: credentials, clients and pollers by region, shared by all builds of the process that use the same access.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Credentials, Region};
use builder_core::{BuildError, ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::poller::{Images, Instances, Poller, Snapshots};

/// The provider in a ledger.
pub(crate) const PROVIDER: &str = "aws-ec2";

/// How to reach EC2, without the secrets: what a ledger keeps, so that `gaia cleanup` finds its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The build region; `None` for the one of the profile or the environment.
    pub(crate) region: Option<String>,
    /// A profile of the AWS configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// Another endpoint than Amazon's, for every region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Another credentials file than the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials_file: Option<String>,
    /// How often a call is tried.
    pub(crate) max_attempts: u32,
}

/// Credentials that stand in the template.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: SecretString,
    pub(crate) token: Option<SecretString>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.access_key)
    }
}

/// EC2 as one access sees it.
pub(crate) struct Cloud {
    /// How it is reached.
    pub(crate) access: Access,
    /// The build region.
    pub(crate) region: String,
    config: aws_config::SdkConfig,
    regions: Mutex<BTreeMap<String, Arc<Regional>>>,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cloud({:?})", self.access)
    }
}

/// EC2 in one region: its client and its pollers.
#[derive(Debug)]
pub(crate) struct Regional {
    /// The region's name.
    pub(crate) name: String,
    /// The SDK's client.
    pub(crate) client: Client,
    /// Waits for instances.
    pub(crate) instances: Poller<Instances>,
    /// Waits for images.
    pub(crate) images: Poller<Images>,
    /// Waits for snapshots.
    pub(crate) snapshots: Poller<Snapshots>,
}

/// What tells one access from another in this process: the access key stands for the credentials.
type Key = (Access, Option<String>);
type Slot = OnceCell<Arc<Cloud>>;

/// The clouds in use: builds with the same access share clients, credentials and pollers. Held weakly: the last build
/// that ends takes its cloud with it.
static CLOUDS: Mutex<Option<HashMap<Key, Weak<Slot>>>> = Mutex::new(None);

/// A share in a [`Cloud`].
#[derive(Clone, Debug)]
pub(crate) struct CloudHandle {
    slot: Arc<Slot>,
}

impl CloudHandle {
    /// The share of an access; nothing is read or called yet.
    pub(crate) fn new(access: &Access, keys: Option<&Keys>) -> Self {
        let key = (access.clone(), keys.map(|k| k.access_key.clone()));
        let mut clouds = CLOUDS.lock().unwrap_or_else(PoisonError::into_inner);
        let clouds = clouds.get_or_insert_default();
        clouds.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = clouds.get(&key).and_then(Weak::upgrade) {
            return Self { slot };
        }
        let slot = Arc::<Slot>::default();
        clouds.insert(key, Arc::downgrade(&slot));
        Self { slot }
    }

    /// The cloud: the first to ask reads the AWS configuration.
    pub(crate) async fn open(&self, access: &Access, keys: Option<&Keys>) -> Result<Arc<Cloud>, BuildError> {
        self.slot.get_or_try_init(|| Cloud::open(access, keys)).await.cloned()
    }
}

impl Cloud {
    async fn open(access: &Access, keys: Option<&Keys>) -> Result<Arc<Self>, BuildError> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::standard().with_max_attempts(access.max_attempts))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(10))
                    .operation_attempt_timeout(Duration::from_secs(60))
                    .operation_timeout(Duration::from_secs(300))
                    .build(),
            );
        if let Some(region) = &access.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &access.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(file) = &access.credentials_file {
            let files = EnvConfigFiles::builder()
                .include_default_config_file(true)
                .with_file(EnvConfigFileKind::Credentials, expand_home(file))
                .build();
            loader = loader.profile_files(files);
        }
        if let Some(keys) = keys {
            let token = keys.token.as_ref().map(|t| t.expose_secret().to_owned());
            let secret = keys.secret_key.expose_secret();
            loader = loader.credentials_provider(Credentials::new(&keys.access_key, secret, token, None, "template"));
        }
        if let Some(endpoint) = &access.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(BuildError::failed(
                "no region: set `region` in the template, AWS_REGION in the environment, or a region in the profile",
            ));
        };
        Ok(Arc::new(Self { access: access.clone(), region, config, regions: Mutex::default() }))
    }

    /// The access with what the environment adds to it: what a ledger keeps, since a clean-up may run in another one.
    pub(crate) fn recorded(&self, environment: &BTreeMap<String, String>) -> Access {
        let profile = || environment.get("AWS_PROFILE").filter(|name| !name.is_empty()).cloned();
        let endpoint = || self.config.endpoint_url().map(str::to_owned);
        Access {
            profile: self.access.profile.clone().or_else(profile),
            endpoint: self.access.endpoint.clone().or_else(endpoint),
            ..self.access.clone()
        }
    }

    /// EC2 in the build region.
    pub(crate) fn home(&self) -> Arc<Regional> {
        self.in_region(&self.region)
    }

    /// EC2 in a region.
    pub(crate) fn in_region(&self, region: &str) -> Arc<Regional> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let config =
                aws_sdk_ec2::config::Builder::from(&self.config).region(Region::new(region.to_owned())).build();
            let client = Client::from_conf(config);
            Arc::new(Regional {
                name: region.to_owned(),
                instances: Poller::new(client.clone()),
                images: Poller::new(client.clone()),
                snapshots: Poller::new(client.clone()),
                client,
            })
        };
        regions.entry(region.to_owned()).or_insert_with(make).clone()
    }
}

/// `~/x` under the user's home, as a shell would have it.
fn expand_home(path: &str) -> std::path::PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}
