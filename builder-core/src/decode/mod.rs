//! Config decoding: from a [`Node`] to a component's typed `Config`, with what templates rely on.
//!
//! Weak typing as in Packer (`"true"`, `"22"`, `"a,b"`, one value for a list), strings rendered unless the field's type is
//! [`Deferred`](crate::render::Deferred), keys matched without regard to case, unknown keys refused with the nearest known one.
//! An empty string in an optional field counts as unset, since that is what an unset variable renders to; so an
//! optional field is never `Deferred`.

mod deserializer;
mod duration;
mod fields;

pub use duration::{GoDuration, parse_go_duration};
pub use fields::field_names;

use serde::de::DeserializeOwned;

use crate::node::Node;
use crate::render::Renderer;
use crate::source::{Diagnostic, Diagnostics};

/// A typed value, or everything that is wrong with its node.
pub type Decoded<T> = Result<T, Diagnostics>;

/// How to decode one component.
#[derive(Clone, Copy, Debug)]
pub struct Decoding<'a> {
    /// The component, in the words of an error: ``builder `amazon-ebs` ``.
    pub component: &'a str,
    /// Renders every string that is not deferred.
    pub renderer: &'a dyn Renderer,
    /// Keys of the same object that somebody else decodes.
    pub elsewhere: &'a [&'a str],
}

/// A rule of a component's config that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field: `ami_name`, `launch_block_device_mappings[0].iops`; empty for the component as a whole.
    pub path: String,
    /// What is wrong: lower case unless it is Packer's own text, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Every broken rule of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one, at a field; empty for the component as a whole.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) -> &mut Self {
        self.0.push(Problem { path: path.into(), message: message.into(), help: None });
        self
    }

    /// Gives advice with the one added last.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        if let Some(last) = self.0.last_mut() {
            last.help = Some(help.into());
        }
        self
    }

    /// The value, if nothing was added.
    pub fn ok<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Gives every problem its place in the user's text.
    pub fn locate(self, component: &str, node: &Node) -> Diagnostics {
        let diagnostics = self.0.into_iter().map(|problem| {
            let mut diagnostic = Diagnostic::error(format!("{component}: {}", problem.message));
            diagnostic.span.clone_from(&node.locate(&problem.path).span);
            diagnostic.help = problem.help;
            diagnostic
        });
        Diagnostics(diagnostics.collect())
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Decodes a node; every unknown key is reported, and the first value of a wrong type.
pub fn decode<T: DeserializeOwned>(node: &Node, how: &Decoding<'_>) -> Decoded<T> {
    deserializer::decode(node, how)
}

/// Decodes a node and hands the config to `prepare`, whose problems get their places.
pub fn prepare<C: DeserializeOwned, T>(
    node: &Node,
    how: &Decoding<'_>,
    prepare: impl FnOnce(C) -> Result<T, Problems>,
) -> Decoded<T> {
    prepare(decode(node, how)?).map_err(|problems| problems.locate(how.component, node))
}

/// Decodes JSON as a template would hold it, without rendering: for tests of plugins.
pub fn decode_json<T: DeserializeOwned>(json: &serde_json::Value) -> Decoded<T> {
    decode(&Node::from(json), &Decoding { component: "config", renderer: &crate::render::Verbatim, elsewhere: &[] })
}

#[cfg(test)]
mod tests;
