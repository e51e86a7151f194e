//! Packer's legacy JSON templates: from text to planned builds.
//!
//! ```text
//! load(text) ─► Template ─► plan(registry, input) ─► [PlannedBuild]
//! ```
//!
//! Everything here is pure: no file is read, no network is used, no environment is looked at but the one that is given.
//! Every problem is a diagnostic with its place in the user's text, and all of them are reported at once.
//! The crate knows the contract of `builder-core` and no plugin.
//!
//! ```
//! use builder_core::source::Source;
//!
//! let text = r#"{"builders": [{"type": "null"}], "provisoners": []}"#;
//! let errors = template::load(Source { name: "t.json".into(), text: text.into() }).unwrap_err();
//! assert_eq!(errors.to_string(), "error: t.json:1:34: Unknown root level key in template: 'provisoners'");
//! assert_eq!(errors.0[0].help.as_deref(), Some("did you mean `provisioners`?"));
//! ```

mod inspect;
mod json;
mod lang;
mod parse;
mod plan;
mod renderer;
mod template;
mod variables;
mod version;

pub use inspect::{InspectedBuilder, InspectedVariable, Inspection, inspect};
pub use lang::Settings;
pub use parse::{load, read};
pub use plan::{Plan, PlanInput, plan};
pub use renderer::TemplateRenderer;
pub use template::{Builder, Filter, PostProcessor, Provisioner, Template, Variable};
pub use variables::{Assignment, parse_argument, parse_file};

/// The version of Packer that gaia answers as, to `min_packer_version` and to `{{packer_version}}`.
pub const PACKER_VERSION: &str = "1.16.0";
