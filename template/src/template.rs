//! A template as it was written: nothing is rendered yet, and everything knows its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use builder_core::node::Node;
use builder_core::source::{Source, Span};

/// A template whose rules have been checked.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text that it was read from.
    pub source: Arc<Source>,
    /// What it says of itself.
    pub description: Option<String>,
    /// In the order of the text.
    pub variables: Vec<Variable>,
    /// In the order of the text.
    pub builders: Vec<Builder>,
    /// In order.
    pub provisioners: Vec<Provisioner>,
    /// Runs on the machine after a provisioner failed, in every build.
    pub error_cleanup: Option<Provisioner>,
    /// Chains, each of which starts from the builder's artifact.
    pub post_processors: Vec<Vec<PostProcessor>>,
    /// Root keys that start with `_`, and what they say.
    pub comments: Vec<(String, String)>,
}

/// A declared variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Option<Span>,
    /// Its default, not rendered; `None` if a value has to be given.
    pub default: Option<String>,
    /// Where the default stands.
    pub span: Option<Span>,
    /// Whether its value must not be shown.
    pub sensitive: bool,
}

/// A builder. `only`, `except` and `override` call it by its raw name.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Its `name`, else its type: not rendered.
    pub name: Node,
    /// Its type, not rendered.
    pub kind: Node,
    /// The rest of its keys.
    pub config: Node,
}

impl Builder {
    /// The name as it was written.
    pub fn raw_name(&self) -> &str {
        self.name.as_str().unwrap_or_default()
    }
}

/// A provisioner.
#[derive(Clone, Debug)]
pub struct Provisioner {
    /// Its type.
    pub kind: Node,
    /// The builders that it is for.
    pub filter: Filter,
    /// By a builder's raw name: keys that replace its own.
    pub overrides: BTreeMap<String, Node>,
    /// `pause_before`
    pub pause_before: Option<Duration>,
    /// `timeout`
    pub timeout: Option<Duration>,
    /// `max_retries`, not rendered.
    pub max_retries: Option<Node>,
    /// The rest of its keys.
    pub config: Node,
}

/// A post-processor.
#[derive(Clone, Debug)]
pub struct PostProcessor {
    /// Its type.
    pub kind: Node,
    /// Its `name`, else its type: what `-except` goes by.
    pub name: String,
    /// The builders that it is for.
    pub filter: Filter,
    /// `keep_input_artifact`, if the user said.
    pub keep_input: Option<bool>,
    /// The rest of its keys.
    pub config: Node,
}

/// `only` or `except`: raw names of builders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// For every builder.
    #[default]
    All,
    /// For these.
    Only(BTreeSet<String>),
    /// For all but these.
    Except(BTreeSet<String>),
}

impl Filter {
    /// Whether it lets a builder through.
    pub fn allows(&self, raw_name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(raw_name),
            Self::Except(names) => !names.contains(raw_name),
        }
    }
}
