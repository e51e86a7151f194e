//! From [`Config`] to [`Settings`]: every rule checked, every choice made into a type. Pure: no file, no call.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use builder_core::{Authentication, Connector, Deferred, DeferredMap, Problems};
use indexmap::IndexMap;

use super::{AmiFilter, BlockDevice, Config, Interface, MetadataOptions, SubnetFilter, rules};
use crate::cloud::{Access, Keys};
use crate::poller::Patience;
use crate::tagging;

/// EC2's limit for user data, counted before base64.
pub(crate) const USER_DATA_LIMIT: usize = 16384;

/// What a build does, decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) keys: Option<Keys>,
    pub(crate) check_regions: bool,
    pub(crate) polling: Polling,

    pub(crate) ami_name: String,
    pub(crate) description: Option<Deferred>,
    pub(crate) virtualization_type: Option<String>,
    pub(crate) sharing: Sharing,
    /// Without repetition; may hold the build region, which is only known once the configuration is read.
    pub(crate) copy_to: Vec<String>,
    pub(crate) tags: DeferredMap,
    pub(crate) snapshot_tags: DeferredMap,
    pub(crate) ena_support: Option<bool>,
    pub(crate) sriov_support: bool,
    pub(crate) replace: bool,
    pub(crate) replace_snapshots: bool,
    pub(crate) encrypt: Option<bool>,
    pub(crate) kms_key: Option<String>,
    pub(crate) region_kms_keys: IndexMap<String, String>,
    pub(crate) image_devices: Vec<BlockDevice>,
    pub(crate) skip_image: bool,
    pub(crate) imds_v2: bool,
    pub(crate) deprecate_at: Option<jiff::Timestamp>,

    pub(crate) source: ImageSource,
    pub(crate) instance_type: String,
    pub(crate) availability_zone: Option<String>,
    pub(crate) vpc: Vpc,
    pub(crate) subnet: Subnet,
    pub(crate) security_groups: SecurityGroups,
    pub(crate) public_ip: Option<bool>,
    pub(crate) instance_profile: Option<String>,
    pub(crate) user_data: UserData,
    pub(crate) run_tags: DeferredMap,
    pub(crate) run_volume_tags: DeferredMap,
    pub(crate) launch_devices: Vec<BlockDevice>,
    pub(crate) no_ephemeral: bool,
    pub(crate) ebs_optimized: bool,
    pub(crate) shutdown_terminates: bool,
    pub(crate) stop: bool,
    pub(crate) unlimited_credits: bool,
    pub(crate) tenancy: Option<String>,
    pub(crate) metadata: MetadataOptions,

    pub(crate) interface: Option<Interface>,
    pub(crate) key_pair: KeyPair,
}

/// How long to wait, by what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polling {
    /// For instances.
    pub(crate) instance: Patience,
    /// For images and their snapshots.
    pub(crate) image: Patience,
}

/// Who may use the AMI and its snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sharing {
    pub(crate) users: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) organizations: Vec<String>,
    pub(crate) organizational_units: Vec<String>,
    pub(crate) product_codes: Vec<String>,
    pub(crate) snapshot_users: Vec<String>,
    pub(crate) snapshot_groups: Vec<String>,
}

/// The image to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageSource {
    /// This one.
    Id(String),
    /// The one that matches.
    Filter(AmiFilter),
}

/// The VPC of the temporary security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vpc {
    /// The subnet's, else the default one.
    Default,
    /// This one.
    Id(String),
    /// The one that matches.
    Filter(IndexMap<String, String>),
}

/// The subnet to launch in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subnet {
    /// EC2 chooses.
    Default,
    /// This one.
    Id(String),
    /// One that matches.
    Filter(SubnetFilter),
}

/// The security groups of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecurityGroups {
    /// A temporary one that lets these in.
    Temporary {
        /// Networks in CIDR notation.
        cidrs: Vec<String>,
    },
    /// These.
    Ids(Vec<String>),
    /// Those that match.
    Filter(IndexMap<String, String>),
}

/// User data for the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserData {
    /// None.
    None,
    /// This text.
    Text(String),
    /// A file's content.
    File(String),
}

/// The key pair that the instance is launched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPair {
    /// One for this build; the name is the user's, else made from the build's id.
    Temporary { name: Option<String>, ed25519: bool },
    /// One that exists; its private key is a file or in the agent.
    Existing { name: Option<String>, by: Identity },
}

/// Where the private key is, if gaia does not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// In `ssh_private_key_file`.
    File,
    /// In the agent.
    Agent,
    /// There is none: a password, or no login at all.
    Nothing,
}

impl Settings {
    /// Snapshots that the template names: the user's, which nothing here deletes or tags.
    pub(crate) fn users_snapshots(&self) -> impl Iterator<Item = &str> {
        self.launch_devices.iter().chain(&self.image_devices).filter_map(|d| d.snapshot_id.as_deref())
    }

    /// Checks all rules and gives the settings, or everything that is wrong.
    pub(crate) fn check(config: Config, connector: &dyn Connector, force: bool) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let p = &mut problems;
        rules::not_yet(&config, p);
        rules::ami_name(&config.ami_name, p);
        for (field, devices) in [
            ("launch_block_device_mappings", &config.launch_block_device_mappings),
            ("ami_block_device_mappings", &config.ami_block_device_mappings),
        ] {
            devices.iter().enumerate().for_each(|(i, device)| device.check(&format!("{field}[{i}]"), p));
        }
        for (field, tags) in [
            ("tags", &config.tags),
            ("snapshot_tags", &config.snapshot_tags),
            ("run_tags", &config.run_tags),
            ("run_volume_tags", &config.run_volume_tags),
        ] {
            // What is known already: the rest is checked when it is rendered, before anything is made.
            let literal = |text: &Deferred| !text.template.contains("{{");
            let known = tags.iter().filter(|(key, value)| literal(key) && literal(value));
            let known: Vec<_> = known.map(|(key, value)| (key.template.clone(), value.template.clone())).collect();
            if let Err(e) = tagging::check(field, &known) {
                p.add(field, e.to_string());
            }
        }
        let keys = keys(&config, p);
        encryption(&config, p);
        choices(&config, p);
        let source = source(&config, p);
        let user_data = user_data(&config, p);
        let security_groups = security_groups(&config, p);
        let key_pair = key_pair(&config, connector.authentication(), p);
        if config.instance_type.is_none() {
            p.add("", "either instance_type or spot_instance_types must be specified")
                .help("add \"instance_type\": \"t3.micro\"");
        }
        let deprecate_at = config.deprecate_at.as_deref().and_then(|at| {
            let parsed = at.parse().ok();
            if parsed.is_none() {
                let message =
                    format!("deprecate_at is not a valid time: {at:?}. Expect time format: YYYY-MM-DDTHH:MM:SSZ");
                p.add("deprecate_at", message);
            }
            parsed
        });
        let mut copy_to: Vec<String> = Vec::new();
        config.ami_regions.iter().for_each(|r| {
            if !copy_to.contains(r) {
                copy_to.push(r.clone());
            }
        });
        let settings = Self {
            access: Access {
                region: config.region,
                profile: config.profile,
                endpoint: config.custom_endpoint_ec2,
                credentials_file: config.shared_credentials_file,
                max_attempts: config.max_retries.unwrap_or(10).clamp(1, 100),
            },
            keys,
            check_regions: !config.skip_region_validation,
            polling: polling(config.aws_polling),
            ami_name: config.ami_name,
            description: rules::given(&config.ami_description).then_some(config.ami_description),
            virtualization_type: config.ami_virtualization_type,
            sharing: Sharing {
                users: config.ami_users,
                groups: config.ami_groups,
                organizations: config.ami_org_arns,
                organizational_units: config.ami_ou_arns,
                product_codes: config.ami_product_codes,
                snapshot_users: config.snapshot_users,
                snapshot_groups: config.snapshot_groups,
            },
            copy_to,
            tags: config.tags,
            snapshot_tags: config.snapshot_tags,
            ena_support: config.ena_support,
            sriov_support: config.sriov_support,
            replace: config.force_deregister || force,
            replace_snapshots: config.force_delete_snapshot,
            encrypt: config.encrypt_boot,
            kms_key: config.kms_key_id,
            region_kms_keys: config.region_kms_key_ids,
            image_devices: config.ami_block_device_mappings,
            skip_image: config.skip_create_ami,
            imds_v2: config.imds_support.is_some(),
            deprecate_at,
            source,
            instance_type: config.instance_type.unwrap_or_default(),
            availability_zone: config.availability_zone,
            vpc: match (config.vpc_id, config.vpc_filter.filters) {
                (Some(id), _) => Vpc::Id(id),
                (None, filters) if !filters.is_empty() => Vpc::Filter(filters),
                _ => Vpc::Default,
            },
            subnet: match (config.subnet_id, config.subnet_filter) {
                (Some(id), _) => Subnet::Id(id),
                (None, filter) if !filter.filters.is_empty() => Subnet::Filter(filter),
                _ => Subnet::Default,
            },
            security_groups,
            public_ip: config.associate_public_ip_address,
            instance_profile: config.iam_instance_profile,
            user_data,
            run_tags: config.run_tags,
            run_volume_tags: config.run_volume_tags,
            launch_devices: config.launch_block_device_mappings,
            no_ephemeral: config.no_ephemeral,
            ebs_optimized: config.ebs_optimized,
            shutdown_terminates: config.shutdown_behavior.as_deref() == Some("terminate"),
            stop: !config.disable_stop_instance,
            unlimited_credits: config.enable_unlimited_credits,
            tenancy: config.tenancy,
            metadata: config.metadata_options,
            interface: config.ssh_interface,
            key_pair,
        };
        problems.ok(settings)
    }
}

fn keys(config: &Config, p: &mut Problems) -> Option<Keys> {
    match (&config.access_key, &config.secret_key) {
        (Some(access_key), Some(secret_key)) => {
            let (access_key, secret_key) = (access_key.clone(), secret_key.clone());
            Some(Keys { access_key, secret_key, token: config.token.clone() })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let path = if config.access_key.is_some() { "access_key" } else { "secret_key" };
            p.add(path, "`access_key` and `secret_key` must both be either set or not set.");
            None
        }
    }
}

fn encryption(config: &Config, p: &mut Problems) {
    if let Some(key) = &config.kms_key_id {
        rules::kms_key("kms_key_id", key, p);
    }
    for (region, key) in config.region_kms_key_ids.iter().filter(|(_, key)| !key.is_empty()) {
        rules::kms_key(&format!("region_kms_key_ids.{region}"), key, p);
    }
    let any_key = config.kms_key_id.is_some() || !config.region_kms_key_ids.is_empty();
    if any_key && config.encrypt_boot != Some(true) {
        p.add(
            "encrypt_boot",
            "If you have set either region_kms_key_ids or kms_key_id, encrypt_boot must also be true.",
        );
    }
    if !config.region_kms_key_ids.is_empty() {
        for region in config.ami_regions.iter().filter(|r| !config.region_kms_key_ids.contains_key(*r)) {
            p.add("ami_regions", format!("Region {region} is in ami_regions but not in region_kms_key_ids"));
        }
        for region in config.region_kms_key_ids.keys().filter(|r| !config.ami_regions.contains(r)) {
            p.add("region_kms_key_ids", format!("Region {region} is in region_kms_key_ids but not in ami_regions"));
        }
    }
    let shared = [&config.ami_users, &config.ami_org_arns, &config.ami_ou_arns].iter().any(|list| !list.is_empty());
    if config.encrypt_boot == Some(true) && shared {
        if config.kms_key_id.is_none() {
            p.add("encrypt_boot", "Cannot share AMI encrypted with default KMS key");
        }
        if config.region_kms_key_ids.values().any(String::is_empty) {
            p.add("region_kms_key_ids", "Cannot share AMI encrypted with default KMS key for other regions");
        }
    }
    if config.encrypt_boot == Some(true) && !config.snapshot_users.is_empty() && config.kms_key_id.is_none() {
        p.add("snapshot_users", "Cannot share snapshot encrypted with default KMS key");
    }
}

fn choices(config: &Config, p: &mut Problems) {
    let text = "shutdown_behavior only accepts 'stop' or 'terminate' values.";
    rules::one_of("shutdown_behavior", config.shutdown_behavior.as_deref(), &["stop", "terminate"], text, p);
    let text = "The only valid imds_support values are \"v2.0\" or the empty string";
    rules::one_of("imds_support", config.imds_support.as_deref(), &["v2.0"], text, p);
    let unknown = config.tenancy.as_deref().unwrap_or_default();
    let text = format!("Error: Unknown tenancy type {unknown}");
    rules::one_of("tenancy", config.tenancy.as_deref(), &["default", "dedicated", "host"], &text, p);
    let on_off = ["enabled", "disabled"];
    let metadata = &config.metadata_options;
    let text = "http_endpoint requires either disabled or enabled as its value";
    rules::one_of("metadata_options.http_endpoint", metadata.http_endpoint.as_deref(), &on_off, text, p);
    let text = "http_tokens requires either optional or required as its value";
    rules::one_of("metadata_options.http_tokens", metadata.http_tokens.as_deref(), &["optional", "required"], text, p);
    let text = "instance_metadata_tags requires either disabled or enabled as its value";
    rules::one_of(
        "metadata_options.instance_metadata_tags",
        metadata.instance_metadata_tags.as_deref(),
        &on_off,
        text,
        p,
    );
    if metadata.http_put_response_hop_limit.is_some_and(|hops| !(1..=64).contains(&hops)) {
        let text = "http_put_response_hop_limit requires a number between 1 and 64";
        p.add("metadata_options.http_put_response_hop_limit", text);
    }
    let kind = config.instance_type.as_deref().unwrap_or_default();
    let burstable = ["t2.", "t3.", "t3a.", "t4g."].iter().any(|t| kind.starts_with(t));
    if config.enable_unlimited_credits && !burstable {
        let message = format!(
            "Error: Instance Type: {kind} is not within the supported types for Unlimited credits. \
             Supported instance types are T2, T3, and T4g"
        );
        p.add("enable_unlimited_credits", message);
    }
}

fn source(config: &Config, p: &mut Problems) -> ImageSource {
    let filter = &config.source_ami_filter;
    let filtered = !filter.filters.is_empty() || !filter.owners.is_empty();
    match &config.source_ami {
        None if !filtered => {
            p.add("", "A source_ami or source_ami_filter must be specified");
        }
        None if filter.owners.is_empty() => {
            p.add("source_ami_filter", "For security reasons, your source AMI filter must declare an owner.")
                .help("add \"owners\": [\"self\"], or the account id of the publisher");
        }
        Some(id) if !filtered => return ImageSource::Id(id.clone()),
        Some(_) | None => {}
    }
    let mut filter = filter.clone();
    if let Some(id) = &config.source_ami {
        // Both together: the image must be that one and match.
        filter.filters.insert("image-id".to_owned(), id.clone());
    }
    ImageSource::Filter(filter)
}

fn user_data(config: &Config, p: &mut Problems) -> UserData {
    match (&config.user_data, &config.user_data_file) {
        (Some(_), Some(_)) => {
            p.add("user_data_file", "Only one of user_data or user_data_file can be specified.");
            UserData::None
        }
        (Some(text), None) => {
            too_large("user_data", "user_data", text.as_bytes(), p);
            UserData::Text(text.clone())
        }
        (None, Some(file)) => UserData::File(file.clone()),
        (None, None) => UserData::None,
    }
}

/// Adds a problem if user data is over EC2's limit, with what can be done.
pub(crate) fn too_large(path: &str, what: &str, bytes: &[u8], p: &mut Problems) {
    let raw = decoded(bytes).map_or(bytes.len(), |raw| raw.len());
    if raw > USER_DATA_LIMIT {
        p.add(path, format!("{what} has {raw} bytes, and EC2 takes at most {USER_DATA_LIMIT} bytes of user data"))
            .help("minify it, or move parts behind a URL that the machine reads at boot (Ignition: `config.replace` or `source`)");
    }
}

/// The content of user data that is base64 already: Packer sends such a text as it is, and so does gaia.
pub(crate) fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    // `base64` wraps its lines, and Go's decoder, which Packer uses, does not mind.
    let bytes: Vec<u8> = bytes.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    if bytes.is_empty() { None } else { base64::engine::general_purpose::STANDARD.decode(bytes).ok() }
}

fn security_groups(config: &Config, p: &mut Problems) -> SecurityGroups {
    if config.security_group_id.is_some() && !config.security_group_ids.is_empty() {
        p.add("security_group_ids", "Only one of security_group_id or security_group_ids can be specified.");
    }
    let ids: Vec<_> = config.security_group_id.iter().chain(&config.security_group_ids).cloned().collect();
    if !ids.is_empty() {
        return SecurityGroups::Ids(ids);
    }
    if !config.security_group_filter.filters.is_empty() {
        return SecurityGroups::Filter(config.security_group_filter.filters.clone());
    }
    for (i, cidr) in config.temporary_security_group_source_cidrs.iter().enumerate() {
        if !is_cidr(cidr) {
            let message = format!("Error parsing CIDR in temporary_security_group_source_cidrs: {cidr:?}");
            p.add(format!("temporary_security_group_source_cidrs[{i}]"), message)
                .help("write it like \"192.0.2.0/24\"");
        }
    }
    let mut cidrs = config.temporary_security_group_source_cidrs.clone();
    if cidrs.is_empty() {
        let everybody = if config.ssh_interface == Some(Interface::Ipv6) { "::/0" } else { "0.0.0.0/0" };
        cidrs.push(everybody.to_owned());
    }
    SecurityGroups::Temporary { cidrs }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => bits <= 32,
        Ok(IpAddr::V6(_)) => bits <= 128,
        Err(_) => false,
    }
}

fn key_pair(config: &Config, authentication: Authentication, p: &mut Problems) -> KeyPair {
    let by = match authentication {
        Authentication::KeyFile => Identity::File,
        Authentication::Agent => Identity::Agent,
        Authentication::Given | Authentication::None => Identity::Nothing,
        Authentication::NeedsKeyPair => {
            if config.ssh_keypair_name.is_some() {
                let text = "ssh_private_key_file must be provided or ssh_agent_auth enabled when ssh_keypair_name is specified.";
                p.add("ssh_keypair_name", text);
            }
            let kind = config.temporary_key_pair_type.as_deref();
            let text = "temporary_key_pair_type requires either rsa or ed25519 as its value";
            rules::one_of("temporary_key_pair_type", kind, &["rsa", "ed25519"], text, p);
            let name = config.temporary_key_pair_name.clone();
            return KeyPair::Temporary { name, ed25519: kind == Some("ed25519") };
        }
    };
    KeyPair::Existing { name: config.ssh_keypair_name.clone(), by }
}

/// The user's numbers, or waits that end: ten minutes for an instance, two hours for an image, whose snapshots may take that long.
fn polling(polling: super::AwsPolling) -> Polling {
    let interval = polling.delay_seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
    // Packer counts an unset delay as two seconds.
    let delay = interval.unwrap_or(Duration::from_secs(2));
    let limit = |default| polling.max_attempts.filter(|n| *n > 0).map_or(default, |attempts| delay * attempts);
    Polling {
        instance: Patience { interval, limit: limit(Duration::from_secs(600)) },
        image: Patience { interval, limit: limit(Duration::from_secs(7200)) },
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
