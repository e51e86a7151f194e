//! Options of Packer's amazon-ebs that gaia knows and does not support yet: refused by name, never ignored.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

/// An option that is refused if it is set to anything but its zero value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<serde_json::Value>")]
pub struct NotYet {
    /// Whether the template sets it.
    pub set: bool,
}

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An empty string or null is an unset variable.
        Ok(Self { set: Option::<IgnoredAny>::deserialize(deserializer)?.is_some() })
    }
}
