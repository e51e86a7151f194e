//! A tree of JSON values that remembers where each one stands in the user's text.
//!
//! The template crate parses into it; [`crate::decode`] turns it into typed configs.

use crate::source::Span;

/// A JSON value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands; `None` for a value that no file holds (a `-var`, a test).
    pub span: Option<Span>,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, its escapes resolved.
    String(String),
    /// A list.
    Array(Vec<Node>),
    /// An object, in the order of the text. The parser refuses repeated keys.
    Object(Vec<Member>),
}

/// One `"key": value` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, its escapes resolved.
    pub key: String,
    /// Where the key stands.
    pub key_span: Option<Span>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A string that no file holds.
    pub fn string(text: impl Into<String>) -> Self {
        Self { value: Value::String(text.into()), span: None }
    }

    /// The members, if this is an object.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key of this object: the exact key, else the same in other case
    /// (Packer matches keys without regard to case).
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|m| &m.value)
    }

    /// The member with a key, found as by [`Node::get`].
    pub fn member(&self, key: &str) -> Option<&Member> {
        let members = self.members()?;
        members.iter().find(|m| m.key == key).or_else(|| members.iter().find(|m| m.key.eq_ignore_ascii_case(key)))
    }

    /// The deepest node on a path like `launch_block_device_mappings[0].iops` that exists.
    pub fn locate(&self, path: &str) -> &Self {
        let mut node = self;
        for step in path.split(['.', '[']).map(|s| s.trim_end_matches(']')).filter(|s| !s.is_empty()) {
            let next = match &node.value {
                Value::Array(items) => step.parse().ok().and_then(|n: usize| items.get(n)),
                _ => node.get(step),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// What kind of value this is, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// The same value without places: for tests and for configs made in code.
impl From<&serde_json::Value> for Node {
    fn from(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => Value::Number(n.to_string()),
            serde_json::Value::String(s) => Value::String(s.clone()),
            serde_json::Value::Array(items) => Value::Array(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| Member { key: key.clone(), key_span: None, value: Self::from(value) })
                    .collect(),
            ),
        };
        Self { value, span: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locate_goes_as_deep_as_the_tree() {
        let node = Node::from(&serde_json::json!({"a": [{"b": 1}], "C": "x"}));
        let rows = [
            ("a[0].b", "a number"),
            ("a[1].b", "a list"),
            ("a[0].z", "an object"),
            ("c", "a string"),
            ("", "an object"),
        ];
        for (path, kind) in rows {
            assert_eq!(node.locate(path).kind(), kind, "{path}");
        }
    }
}
