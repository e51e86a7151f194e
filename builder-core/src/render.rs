//! The seam to the template language: what a component can ask of it, not how it works.

use std::collections::BTreeMap;
use std::fmt::Debug;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer};

/// Values that a template can name: `{{ .Path }}`, and `{{ build `ID` }}` while provisioning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderData {
    /// The fields of the place: `Path`, `Vars`, `SourceAMI`.
    pub fields: BTreeMap<String, Field>,
    /// What the `build` function answers; empty before a machine exists.
    pub build: BTreeMap<String, String>,
}

/// A value behind a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text.
    Text(String),
    /// A map: `{{ .SourceAMITags.Name }}`.
    Map(BTreeMap<String, String>),
}

impl RenderData {
    /// The same with one more text field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.insert(name.into(), Field::Text(value.into()));
        self
    }

    /// The same with the answers of the `build` function, which are fields too.
    #[must_use]
    pub fn with_build(mut self, build: &BTreeMap<String, String>) -> Self {
        for (name, value) in build {
            self.fields.entry(name.clone()).or_insert_with(|| Field::Text(value.clone()));
        }
        self.build.extend(build.clone());
        self
    }
}

/// Why a template could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Byte offset in the template text, where it is known.
    pub offset: Option<usize>,
}

/// The `{{ }}` language with the variables, name and type of one build.
pub trait Renderer: Send + Sync + Debug {
    /// Renders a text once.
    fn render(&self, template: &str, data: &RenderData) -> Result<String, RenderError>;

    /// Checks the syntax and the function names of a text that is rendered later.
    fn check(&self, template: &str) -> Result<(), RenderError>;
}

/// The renderer that leaves every text as it is: for tests and components without templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbatim;

impl Renderer for Verbatim {
    fn render(&self, template: &str, _data: &RenderData) -> Result<String, RenderError> {
        Ok(template.to_owned())
    }

    fn check(&self, _template: &str) -> Result<(), RenderError> {
        Ok(())
    }
}

/// A config field that is rendered when it is used, not when it is read: `execute_command`, a tag's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct Deferred {
    /// The text with its `{{ }}`.
    pub template: String,
    /// Where it stands, ready to show: `gaia-hub.json:45:23`; empty if no file holds it.
    pub place: String,
}

impl Deferred {
    /// The name by which [`crate::decode`] knows the type.
    pub(crate) const MARK: &'static str = "$gaia::Deferred";

    /// A template that no file holds: the default of a field.
    pub fn new(template: impl Into<String>) -> Self {
        Self { template: template.into(), place: String::new() }
    }

    /// Renders it; the error says where the text stands.
    pub fn render(&self, renderer: &dyn Renderer, data: &RenderData) -> Result<String, RenderError> {
        renderer.render(&self.template, data).map_err(|e| {
            if self.place.is_empty() {
                return e;
            }
            RenderError { message: format!("{}: {}", self.place, e.message), offset: None }
        })
    }
}

impl From<&str> for Deferred {
    fn from(template: &str) -> Self {
        Self::new(template)
    }
}

impl<'de> Deserialize<'de> for Deferred {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Deferred;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Deferred, E> {
                Ok(Deferred::new(text))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Deferred, D::Error> {
                let (template, place) = <(String, String)>::deserialize(d)?;
                Ok(Deferred { template, place })
            }
        }
        deserializer.deserialize_newtype_struct(Self::MARK, Visitor)
    }
}

/// Tags or other name–value pairs whose both sides are templates, in the order of the text.
pub type DeferredMap = indexmap::IndexMap<Deferred, Deferred>;

/// Renders every pair of a map, in order; `what` names the map in the error.
pub fn render_map(
    what: &str,
    map: &DeferredMap,
    renderer: &dyn Renderer,
    data: &RenderData,
) -> Result<Vec<(String, String)>, RenderError> {
    map.iter()
        .map(|(key, value)| Ok((key.render(renderer, data)?, value.render(renderer, data)?)))
        .collect::<Result<_, RenderError>>()
        .map_err(|e| RenderError { message: format!("{what}: {}", e.message), offset: e.offset })
}
