//! Block device mappings: what a template may say of a device, Packer's rules for it, and EC2's form of it.

use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, VolumeType};
use builder_core::Problems;
use schemars::JsonSchema;
use serde::Deserialize;

/// A device of an instance or of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BlockDevice {
    /// `/dev/sdf`
    pub device_name: String,
    /// Whether the volume goes with its instance; unset: it does.
    pub delete_on_termination: Option<bool>,
    /// Whether it is encrypted; unset: as the account or the snapshot has it.
    pub encrypted: Option<bool>,
    /// Provisioned IOPS.
    pub iops: Option<i32>,
    /// MiB/s, for gp3.
    pub throughput: Option<i32>,
    /// Takes the device away.
    pub no_device: bool,
    /// The snapshot to start from.
    pub snapshot_id: Option<String>,
    /// `ephemeral0` to `ephemeral23`
    pub virtual_name: Option<String>,
    /// `gp2`, `gp3`, `io1`, `io2`, `st1`, `sc1`, `standard`
    pub volume_type: Option<String>,
    /// GiB
    pub volume_size: Option<i32>,
    /// The key, with `encrypted`.
    pub kms_key_id: Option<String>,
}

impl BlockDevice {
    /// Checks the rules that do not depend on EC2's present limits, which EC2 knows better.
    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        if self.device_name.is_empty() {
            problems.add(path, "The `device_name` must be specified for every device in the block device mapping.");
        }
        let device = &self.device_name;
        if self.kms_key_id.is_some() && self.encrypted != Some(true) {
            problems.add(
                format!("{path}.kms_key_id"),
                format!("The device {device}, must also have `encrypted: true` when setting a kms_key_id."),
            );
        }
        if let (Some(iops), Some(size), Some(kind)) = (self.iops, self.volume_size, self.volume_type.as_deref()) {
            let ratio = match kind {
                "io1" => Some(50),
                "io2" => Some(500),
                _ => None,
            };
            if let Some(ratio) = ratio.filter(|ratio| i64::from(iops) > i64::from(size) * ratio) {
                problems.add(
                    format!("{path}.iops"),
                    format!("{device}: the maximum ratio of provisioned IOPS to requested volume size (in GiB) is {ratio}:1 for {kind} volumes"),
                );
            }
        }
        if self.throughput.is_some() && self.volume_type.as_deref() != Some("gp3") {
            let kind = self.volume_type.as_deref().unwrap_or_default();
            problems.add(
                format!("{path}.throughput"),
                format!("Throughput is only valid for gp3 volumes, {device:?} is of type {kind}"),
            );
        }
        for (name, value) in [("volume_size", self.volume_size), ("iops", self.iops), ("throughput", self.throughput)] {
            if value.is_some_and(|v| v < 1) {
                problems.add(format!("{path}.{name}"), format!("`{name}` of device {device} must be above zero"));
            }
        }
    }

    /// EC2's form. `image`: for CreateImage, which takes no key.
    pub(crate) fn mapping(&self, image: bool) -> BlockDeviceMapping {
        let mapping = BlockDeviceMapping::builder().device_name(&self.device_name);
        if self.no_device {
            return mapping.no_device("").build();
        }
        if let Some(name) = self.virtual_name.as_ref().filter(|n| n.starts_with("ephemeral")) {
            return mapping.virtual_name(name).build();
        }
        let mut ebs = EbsBlockDevice::builder()
            .delete_on_termination(self.delete_on_termination.unwrap_or(true))
            .set_iops(self.iops)
            .set_throughput(self.throughput)
            .set_snapshot_id(self.snapshot_id.clone())
            .set_volume_size(self.volume_size)
            .set_volume_type(self.volume_type.as_deref().map(VolumeType::from))
            .set_encrypted(self.encrypted);
        if !image {
            ebs = ebs.set_kms_key_id(self.kms_key_id.clone());
        }
        mapping.ebs(ebs.build()).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(json: &serde_json::Value) -> BlockDevice {
        builder_core::decode::decode_json(json).unwrap()
    }

    #[test]
    fn rules() {
        use serde_json::json;
        let rows = [
            (json!({"device_name": "/dev/sdf", "volume_size": "100", "volume_type": "gp2"}), None),
            (
                json!({"volume_size": 1}),
                Some("The `device_name` must be specified for every device in the block device mapping."),
            ),
            (
                json!({"device_name": "a", "kms_key_id": "k"}),
                Some("The device a, must also have `encrypted: true` when setting a kms_key_id."),
            ),
            (
                json!({"device_name": "a", "volume_type": "io1", "iops": 501, "volume_size": 10}),
                Some(
                    "a: the maximum ratio of provisioned IOPS to requested volume size (in GiB) is 50:1 for io1 volumes",
                ),
            ),
            (json!({"device_name": "a", "volume_type": "io2", "iops": 5000, "volume_size": 10}), None),
            (
                json!({"device_name": "a", "throughput": 125, "volume_type": "gp2"}),
                Some("Throughput is only valid for gp3 volumes, \"a\" is of type gp2"),
            ),
            (json!({"device_name": "a", "volume_size": -1}), Some("`volume_size` of device a must be above zero")),
        ];
        for (json, expected) in rows {
            let mut problems = Problems::default();
            device(&json).check("launch_block_device_mappings[0]", &mut problems);
            assert_eq!(problems.0.first().map(|p| p.message.as_str()), expected, "{json}");
        }
    }

    #[test]
    fn a_volume_goes_with_its_instance_unless_the_template_says_otherwise() {
        use serde_json::json;
        for (json, expected) in [(json!({}), Some(true)), (json!({"delete_on_termination": "false"}), Some(false))] {
            let ebs = device(&json).mapping(false).ebs.unwrap();
            assert_eq!(ebs.delete_on_termination, expected, "{json}");
        }
        assert_eq!(device(&json!({"no_device": true})).mapping(false).no_device.as_deref(), Some(""));
        assert_eq!(
            device(&json!({"virtual_name": "ephemeral0"})).mapping(false).virtual_name.as_deref(),
            Some("ephemeral0")
        );
    }
}
