use builder_core::decode::decode_json;
use builder_core::testing::MockConnector;
use serde_json::{Value, json};

use super::*;

fn minimal(more: &Value) -> Value {
    let mut json = json!({
        "ami_name": "a name", "instance_type": "t2.micro", "source_ami": "ami-1", "region": "us-west-2"
    });
    for (key, value) in more.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn check(more: &Value) -> Result<Settings, Vec<String>> {
    let config: Config = decode_json(&minimal(more)).unwrap();
    Settings::check(config, &MockConnector::default(), false)
        .map_err(|p| p.0.into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect())
}

#[test]
fn broken_rules_are_named_with_their_place() {
    let rows = [
        (json!({"ami_name": ""}), ": ami_name must be specified"),
        (json!({"ami_name": "ab"}), "ami_name: ami_name must be between 3 and 128 characters long"),
        (
            json!({"access_key": "AKIA"}),
            "access_key: `access_key` and `secret_key` must both be either set or not set.",
        ),
        (json!({"source_ami": ""}), ": A source_ami or source_ami_filter must be specified"),
        (
            json!({"source_ami": "", "source_ami_filter": {"filters": {"name": "x"}}}),
            "source_ami_filter: For security reasons, your source AMI filter must declare an owner.",
        ),
        (json!({"instance_type": ""}), ": either instance_type or spot_instance_types must be specified"),
        (
            json!({"user_data": "a", "user_data_file": "b"}),
            "user_data_file: Only one of user_data or user_data_file can be specified.",
        ),
        (
            json!({"user_data": "x ".repeat(8193)}),
            "user_data: user_data has 16386 bytes, and EC2 takes at most 16384 bytes of user data",
        ),
        (
            json!({"security_group_id": "a", "security_group_ids": ["b"]}),
            "security_group_ids: Only one of security_group_id or security_group_ids can be specified.",
        ),
        (
            json!({"temporary_security_group_source_cidrs": ["10.0.0.0"]}),
            "temporary_security_group_source_cidrs[0]: Error parsing CIDR in temporary_security_group_source_cidrs: \"10.0.0.0\"",
        ),
        (
            json!({"kms_key_id": "alias/x"}),
            "encrypt_boot: If you have set either region_kms_key_ids or kms_key_id, encrypt_boot must also be true.",
        ),
        (json!({"kms_key_id": "what", "encrypt_boot": true}), "kms_key_id: \"what\" is not a valid KMS Key Id."),
        (
            json!({"encrypt_boot": true, "ami_regions": ["a"], "region_kms_key_ids": {"b": ""}}),
            "ami_regions: Region a is in ami_regions but not in region_kms_key_ids",
        ),
        (
            json!({"encrypt_boot": true, "ami_users": ["1"]}),
            "encrypt_boot: Cannot share AMI encrypted with default KMS key",
        ),
        (
            json!({"shutdown_behavior": "hibernate"}),
            "shutdown_behavior: shutdown_behavior only accepts 'stop' or 'terminate' values.",
        ),
        (
            json!({"deprecate_at": "soon"}),
            "deprecate_at: deprecate_at is not a valid time: \"soon\". Expect time format: YYYY-MM-DDTHH:MM:SSZ",
        ),
        (
            json!({"enable_unlimited_credits": true, "instance_type": "m5.large"}),
            "enable_unlimited_credits: Error: Instance Type: m5.large is not within the supported types for Unlimited credits. Supported instance types are T2, T3, and T4g",
        ),
        (
            json!({"tags": {"aws:x": "y", "b": "{{ .SourceAMI }}"}}),
            "tags: tags: the key \"aws:x\" begins with `aws:`, which is Amazon's own",
        ),
        (json!({"spot_price": "auto"}), "spot_price: `spot_price` is not supported by this gaia"),
        (
            json!({"metadata_options": {"http_put_response_hop_limit": 65}}),
            "metadata_options.http_put_response_hop_limit: http_put_response_hop_limit requires a number between 1 and 64",
        ),
        (
            json!({"launch_block_device_mappings": [{"volume_size": 1}]}),
            "launch_block_device_mappings[0]: The `device_name` must be specified for every device in the block device mapping.",
        ),
    ];
    for (json, expected) in rows {
        assert_eq!(check(&json).unwrap_err().first().map(String::as_str), Some(expected), "{json}");
    }
}

#[test]
fn names_and_keys() {
    let rows: [(&str, bool); 6] = [
        ("Blockstack.Gaia.Hub_1549643256", true),
        ("a (b) [c] d/e-f'g@h_i", true),
        ("a:b", false),
        ("größe", false),
        (&"x".repeat(128), true),
        (&"x".repeat(129), false),
    ];
    for (name, good) in rows {
        let mut p = Problems::default();
        rules::ami_name(name, &mut p);
        assert_eq!(p.0.is_empty(), good, "{name}");
    }
    let rows = [
        ("12345678-1234-abcd-0000-123456789012", true),
        ("mrk-1234abcd", true),
        ("alias/my/key", true),
        ("arn:aws:kms:us-east-1:012345678910:key/12345678-1234-abcd-0000-123456789012", true),
        ("arn:aws-us-gov:kms:us-gov-east-1:012345678910:alias/foo", true),
        ("arn:aws:kms:us-east-1:alias/foo", false),
        ("arn:foo:kms:us-east-1:012345678910:alias/foo", false),
        ("alias/", false),
        ("not a key", false),
    ];
    for (key, good) in rows {
        let mut p = Problems::default();
        rules::kms_key("kms_key_id", key, &mut p);
        assert_eq!(p.0.is_empty(), good, "{key}");
    }
}

#[test]
fn choices_become_types() {
    let settings = check(&json!({
        "profile": "", "associate_public_ip_address": "true", "vpc_id": "vpc-1", "subnet_id": "{subnet}",
        "ami_regions": "us-west-2,eu-west-1,us-west-2", "launch_block_device_mappings": [{"device_name": "/dev/sdf"}],
        "spot_price": "0", "enable_nitro_enclave": false, "spot_tags": {}, "placement": [], "aws_polling": {"delay_seconds": "30", "max_attempts": 10},
    }))
    .unwrap();
    assert_eq!(settings.access.profile, None);
    assert_eq!(settings.public_ip, Some(true));
    assert_eq!(settings.vpc, Vpc::Id("vpc-1".into()));
    assert_eq!(settings.copy_to, ["us-west-2", "eu-west-1"]);
    assert_eq!(settings.source, ImageSource::Id("ami-1".into()));
    assert_eq!(settings.security_groups, SecurityGroups::Temporary { cidrs: vec!["0.0.0.0/0".into()] });
    // The mock communicator logs in without a key.
    assert_eq!(settings.key_pair, KeyPair::Existing { name: None, by: Identity::Nothing });
    let patience = Patience { interval: Some(Duration::from_secs(30)), limit: Duration::from_secs(300) };
    assert_eq!(settings.polling, Polling { instance: patience, image: patience });
    assert_eq!(polling(crate::config::AwsPolling::default()).instance.limit, Duration::from_secs(600));
}

#[test]
fn user_data_that_is_base64_already_counts_by_its_content() {
    assert_eq!(decoded(b"aGVsbG8=\n"), Some(b"hello".to_vec()));
    assert_eq!(decoded(b"aGVs\r\nbG8=\n"), Some(b"hello".to_vec()));
    assert_eq!(decoded(b"#!/bin/sh"), None);
    assert_eq!(decoded(b""), None);
    let encoded = base64::engine::general_purpose::STANDARD.encode(vec![b'x'; USER_DATA_LIMIT]);
    let mut p = Problems::default();
    too_large("user_data", "user_data", encoded.as_bytes(), &mut p);
    assert!(p.0.is_empty());
}
