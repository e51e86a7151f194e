//! Options of Packer's amazon-ebs that gaia knows and does not support yet: refused by name, never ignored.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

/// An option that is refused if it is set to anything but its zero value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<serde_json::Value>")]
pub struct NotYet {
    /// Whether the template sets it.
    pub set: bool,
}

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let zero = |value: &Value| match value {
            Value::Null => true,
            Value::Bool(yes) => !yes,
            Value::Number(n) => n.as_f64() == Some(0.0),
            Value::String(text) => ["", "0", "false"].contains(&text.as_str()),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
        };
        Ok(Self { set: !zero(&Value::deserialize(deserializer)?) })
    }
}
