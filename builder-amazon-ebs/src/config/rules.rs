//! Rules of single values that need no other: names, keys, choices. Texts are Packer's where users know them.

use builder_core::{Deferred, Problems};

use super::{Config, NotYet};

/// The name of an AMI, by EC2's rule.
pub(super) fn ami_name(name: &str, problems: &mut Problems) {
    if name.is_empty() {
        problems.add("", "ami_name must be specified");
        return;
    }
    if !(3..=128).contains(&name.chars().count()) {
        problems.add("ami_name", "ami_name must be between 3 and 128 characters long");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
    if !name.chars().all(allowed) {
        problems
            .add(
                "ami_name",
                "AMIName should only contain alphanumeric characters, parentheses (()), square brackets ([]), spaces ( ), \
                 periods (.), slashes (/), dashes (-), single quotes ('), at-signs (@), or underscores(_)",
            )
            .help("the `clean_resource_name` template filter cleans a name: \"{{user `name` | clean_resource_name}}\"");
    }
}

/// A KMS key: an id, `mrk-…`, an alias, or an ARN of either.
pub(super) fn kms_key(path: &str, key: &str, problems: &mut Problems) {
    let name = match key.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", partition, "kms", region, account, name] => {
            let known = ["aws", "aws-us-gov", "aws-cn"].contains(&partition);
            if known && !region.is_empty() && account.len() == 12 { Some(name) } else { None }
        }
        [name] => Some(name),
        _ => None,
    };
    let hex = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let valid = name.is_some_and(|name| {
        let id = name.strip_prefix("key/").unwrap_or(name);
        let alias = name.strip_prefix("alias/").is_some_and(|a| !a.is_empty());
        alias || id.strip_prefix("mrk-").is_some_and(hex) || (id.len() == 36 && hex(id))
    });
    if !valid {
        problems.add(path, format!("{key:?} is not a valid KMS Key Id."));
    }
}

/// A value that must be one of a few.
pub(super) fn one_of(path: &str, value: Option<&str>, allowed: &[&str], message: &str, problems: &mut Problems) {
    if value.is_some_and(|v| !allowed.contains(&v)) {
        problems.add(path, message);
    }
}

/// Options that are known and not supported yet.
pub(super) fn not_yet(config: &Config, problems: &mut Problems) {
    let options: [(&str, NotYet); 26] = [
        ("assume_role", config.assume_role),
        ("vault_aws_engine", config.vault_aws_engine),
        ("mfa_code", config.mfa_code),
        ("insecure_skip_tls_verify", config.insecure_skip_tls_verify),
        ("decode_authorization_messages", config.decode_authorization_messages),
        ("deregistration_protection", config.deregistration_protection),
        ("fast_launch", config.fast_launch),
        ("skip_save_build_region", config.skip_save_build_region),
        ("snapshot_copy_duration_minutes", config.snapshot_copy_duration_minutes),
        ("temporary_security_group_source_public_ip", config.temporary_security_group_source_public_ip),
        ("temporary_iam_instance_profile_policy_document", config.temporary_iam_instance_profile_policy_document),
        ("placement", config.placement),
        ("license_specifications", config.license_specifications),
        ("enable_nitro_enclave", config.enable_nitro_enclave),
        ("capacity_reservation_preference", config.capacity_reservation_preference),
        ("capacity_reservation_id", config.capacity_reservation_id),
        ("capacity_reservation_group_arn", config.capacity_reservation_group_arn),
        ("spot_price", config.spot_price),
        ("spot_instance_types", config.spot_instance_types),
        ("spot_allocation_strategy", config.spot_allocation_strategy),
        ("spot_tags", config.spot_tags),
        ("fleet_tags", config.fleet_tags),
        ("block_duration_minutes", config.block_duration_minutes),
        ("windows_password_timeout", config.windows_password_timeout),
        ("session_manager_port", config.session_manager_port),
        ("pause_before_ssm", config.pause_before_ssm),
    ];
    for (name, option) in options {
        if option.set {
            problems
                .add(name, format!("`{name}` is not supported by this gaia"))
                .help("leave it out, or build this template with Packer for now");
        }
    }
}

/// Whether a deferred text was given.
pub(super) fn given(text: &Deferred) -> bool {
    !text.template.is_empty()
}
