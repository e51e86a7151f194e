//! The options of amazon-ebs, as a template writes them. Names and meaning are Packer's.
//!
//! [`checked`] turns them into [`Settings`], which is what the steps know.

mod block_device;
mod checked;
mod later;
mod rules;

pub(crate) use block_device::BlockDevice;
pub(crate) use checked::{
    Identity, ImageSource, KeyPair, SecurityGroups, Settings, Subnet, USER_DATA_LIMIT, UserData, Vpc, decoded,
    too_large,
};
use later::NotYet;

use builder_core::{Deferred, DeferredMap};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// The config of amazon-ebs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    // Access.
    /// An access key; without one the usual chain is used: environment, profile, instance role.
    pub access_key: Option<String>,
    /// The secret that goes with `access_key`.
    #[schemars(with = "Option<String>")]
    pub secret_key: Option<builder_core::SecretString>,
    /// A session token that goes with them.
    #[schemars(with = "Option<String>")]
    pub token: Option<builder_core::SecretString>,
    /// A profile of the AWS configuration files.
    pub profile: Option<String>,
    /// Another credentials file than the usual one.
    pub shared_credentials_file: Option<String>,
    /// The region to build in; default from the profile or the environment.
    pub region: Option<String>,
    /// Does not check region names with EC2.
    pub skip_region_validation: bool,
    /// Accepted: credentials are checked by the first call that needs them.
    pub skip_credential_validation: bool,
    /// Accepted: the instance role is only asked for when nothing else gives credentials.
    pub skip_metadata_api_check: bool,
    /// Another EC2 endpoint, for every region: `http://127.0.0.1:5000`.
    pub custom_endpoint_ec2: Option<String>,
    /// How often a call is tried; default 10.
    pub max_retries: Option<u32>,
    /// How often and how long to look while waiting.
    pub aws_polling: AwsPolling,
    /// Not supported yet.
    pub assume_role: NotYet,
    /// Not supported yet.
    pub vault_aws_engine: NotYet,
    /// Not supported yet.
    pub mfa_code: NotYet,
    /// Not supported yet.
    pub insecure_skip_tls_verify: NotYet,
    /// Not supported yet.
    pub decode_authorization_messages: NotYet,

    // The image.
    /// The name of the AMI: 3 to 128 characters, unique in the account and region.
    pub ami_name: String,
    /// A description, rendered when the source image is known.
    pub ami_description: Deferred,
    /// Checked against the source image where enhanced networking is asked for.
    pub ami_virtualization_type: Option<String>,
    /// Accounts that may launch the AMI.
    pub ami_users: Vec<String>,
    /// `all` makes the AMI public.
    pub ami_groups: Vec<String>,
    /// Organizations that may launch the AMI.
    pub ami_org_arns: Vec<String>,
    /// Organizational units that may launch the AMI.
    pub ami_ou_arns: Vec<String>,
    /// Product codes.
    pub ami_product_codes: Vec<String>,
    /// Regions to copy the AMI to.
    pub ami_regions: Vec<String>,
    /// Tags for the AMI and its snapshots, rendered when the source image is known.
    pub tags: DeferredMap,
    /// Tags for the snapshots that win over `tags`.
    pub snapshot_tags: DeferredMap,
    /// Accounts that may use the snapshots.
    pub snapshot_users: Vec<String>,
    /// `all` makes the snapshots public.
    pub snapshot_groups: Vec<String>,
    /// Enhanced networking with ENA, on or off; unset leaves it as it is.
    pub ena_support: Option<bool>,
    /// Enhanced networking with SR-IOV.
    pub sriov_support: bool,
    /// Takes the place of an AMI with the same name: the old one goes when the new one is ready.
    pub force_deregister: bool,
    /// With `force_deregister`: the old one's snapshots go too.
    pub force_delete_snapshot: bool,
    /// Encrypts every volume of the AMI.
    pub encrypt_boot: Option<bool>,
    /// The key in the build region; default the account's.
    pub kms_key_id: Option<String>,
    /// Keys by region for the copies; empty for the account's.
    pub region_kms_key_ids: IndexMap<String, String>,
    /// Devices of the AMI that differ from the instance's.
    pub ami_block_device_mappings: Vec<BlockDevice>,
    /// Builds and provisions, and makes no AMI.
    pub skip_create_ami: bool,
    /// Leaves `run_tags` off the AMI; it is how it is here.
    pub skip_ami_run_tags: bool,
    /// `v2.0`: instances of the AMI need IMDSv2.
    pub imds_support: Option<String>,
    /// When the AMI is deprecated: `2027-01-01T00:00:00Z`.
    pub deprecate_at: Option<String>,
    /// Not supported yet.
    pub deregistration_protection: NotYet,
    /// Not supported yet.
    pub fast_launch: NotYet,
    /// Not supported yet.
    pub skip_save_build_region: NotYet,
    /// Not supported yet.
    pub snapshot_copy_duration_minutes: NotYet,

    // The instance.
    /// The AMI to start from.
    pub source_ami: Option<String>,
    /// Finds the AMI to start from.
    pub source_ami_filter: AmiFilter,
    /// The instance type: `t2.micro`.
    pub instance_type: Option<String>,
    /// The zone to launch in.
    pub availability_zone: Option<String>,
    /// The VPC for the temporary security group.
    pub vpc_id: Option<String>,
    /// Finds the VPC; needs `ec2:DescribeVpcs`.
    pub vpc_filter: ResourceFilter,
    /// The subnet to launch in.
    pub subnet_id: Option<String>,
    /// Finds the subnet.
    pub subnet_filter: SubnetFilter,
    /// An existing security group.
    pub security_group_id: Option<String>,
    /// Existing security groups.
    pub security_group_ids: Vec<String>,
    /// Finds existing security groups.
    pub security_group_filter: ResourceFilter,
    /// Who may reach the instance; default everybody, since the builder's own address is not known to it.
    pub temporary_security_group_source_cidrs: Vec<String>,
    /// Not supported yet.
    pub temporary_security_group_source_public_ip: NotYet,
    /// Whether the instance gets a public address; unset: as the subnet has it.
    pub associate_public_ip_address: Option<bool>,
    /// The name of an instance profile; needs `iam:PassRole`.
    pub iam_instance_profile: Option<String>,
    /// Accepted: the profile is checked by the launch.
    pub skip_profile_validation: bool,
    /// Not supported yet.
    pub temporary_iam_instance_profile_policy_document: NotYet,
    /// User data, at most 16384 bytes.
    pub user_data: Option<String>,
    /// A file with user data, at most 16384 bytes.
    pub user_data_file: Option<String>,
    /// Tags for the instance, its volumes, its network interface, the key pair and the security group.
    pub run_tags: DeferredMap,
    /// Tags for the instance's volumes.
    pub run_volume_tags: DeferredMap,
    /// Devices of the instance that differ from the source image's.
    pub launch_block_device_mappings: Vec<BlockDevice>,
    /// Leaves out the instance store volumes of old instance types.
    pub no_ephemeral: bool,
    /// EBS-optimized.
    pub ebs_optimized: bool,
    /// What the instance does when its system shuts down: `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// A provisioner stops the instance.
    pub disable_stop_instance: bool,
    /// Unlimited CPU credits for T instances.
    pub enable_unlimited_credits: bool,
    /// `default`, `dedicated` or `host`.
    pub tenancy: Option<String>,
    /// The instance metadata service.
    pub metadata_options: MetadataOptions,
    /// Not supported yet.
    pub placement: NotYet,
    /// Not supported yet.
    pub license_specifications: NotYet,
    /// Not supported yet.
    pub enable_nitro_enclave: NotYet,
    /// Not supported yet.
    pub capacity_reservation_preference: NotYet,
    /// Not supported yet.
    pub capacity_reservation_id: NotYet,
    /// Not supported yet.
    pub capacity_reservation_group_arn: NotYet,
    /// Not supported yet.
    pub spot_price: NotYet,
    /// Not supported yet.
    pub spot_instance_types: NotYet,
    /// Not supported yet.
    pub spot_allocation_strategy: NotYet,
    /// Not supported yet.
    pub spot_tags: NotYet,
    /// Not supported yet.
    pub fleet_tags: NotYet,
    /// Not supported yet.
    pub block_duration_minutes: NotYet,
    /// Not supported yet.
    pub windows_password_timeout: NotYet,

    // The way in.
    /// `public_ip`, `private_ip`, `public_dns`, `private_dns` or `ipv6`; default the public address, else the private one.
    pub ssh_interface: Option<Interface>,
    /// An existing key pair, whose private key is `ssh_private_key_file` or in the agent.
    pub ssh_keypair_name: Option<String>,
    /// The name of the temporary key pair; default `gaia_` and the build's id.
    pub temporary_key_pair_name: Option<String>,
    /// `rsa` (default) or `ed25519`.
    pub temporary_key_pair_type: Option<String>,
    /// Accepted, as in Packer: EC2 chooses the size.
    pub temporary_key_pair_bits: Option<u32>,
    /// Not supported yet.
    pub session_manager_port: NotYet,
    /// Not supported yet.
    pub pause_before_ssm: NotYet,
}

/// How often and how long to look while waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AwsPolling {
    /// Seconds between two looks.
    pub delay_seconds: Option<u32>,
    /// How many looks; with the delay (2 s if unset) it gives the longest wait.
    pub max_attempts: Option<u32>,
}

/// A filter for the source image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AmiFilter {
    /// Filters of DescribeImages; several values are separated by commas.
    pub filters: IndexMap<String, String>,
    /// Owners: account ids, `self`, `amazon`. Required: without one anybody's image might match.
    pub owners: Vec<String>,
    /// Takes the newest of several.
    pub most_recent: bool,
    /// Looks at deprecated images too.
    pub include_deprecated: bool,
}

/// A filter for a VPC or for security groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResourceFilter {
    /// Filters of the Describe call; several values are separated by commas.
    pub filters: IndexMap<String, String>,
}

/// A filter for the subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SubnetFilter {
    /// Filters of DescribeSubnets; several values are separated by commas.
    pub filters: IndexMap<String, String>,
    /// Takes the one with the most free addresses.
    pub most_free: bool,
    /// Takes any.
    pub random: bool,
}

/// The instance metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MetadataOptions {
    /// `enabled` or `disabled`.
    pub http_endpoint: Option<String>,
    /// `optional` or `required`.
    pub http_tokens: Option<String>,
    /// 1 to 64.
    pub http_put_response_hop_limit: Option<i32>,
    /// `enabled` or `disabled`.
    pub instance_metadata_tags: Option<String>,
}

/// Which of an instance's addresses to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// The public IPv4 address.
    PublicIp,
    /// The private IPv4 address.
    PrivateIp,
    /// The public DNS name.
    PublicDns,
    /// The private DNS name.
    PrivateDns,
    /// The IPv6 address.
    Ipv6,
}
