//! The `{{ }}` language with the variables, name and type of one build, behind `builder-core`'s seam.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use builder_core::render::{RenderData, RenderError, Renderer};

use crate::lang::{self, Scope, Settings};

/// Renders the texts of one build.
#[derive(Clone)]
pub struct TemplateRenderer {
    settings: Arc<Settings>,
    variables: Arc<BTreeMap<String, String>>,
    build_name: String,
    build_type: String,
}

impl TemplateRenderer {
    /// A renderer for a build. The variables are rendered already.
    pub fn new(
        settings: Arc<Settings>,
        variables: Arc<BTreeMap<String, String>>,
        build_name: impl Into<String>,
        build_type: impl Into<String>,
    ) -> Self {
        Self { settings, variables, build_name: build_name.into(), build_type: build_type.into() }
    }
}

/// Without the variables, which may hold secrets.
impl fmt::Debug for TemplateRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateRenderer").field("build_name", &self.build_name).finish_non_exhaustive()
    }
}

impl Renderer for TemplateRenderer {
    fn render(&self, template: &str, data: &RenderData) -> Result<String, RenderError> {
        let scope = Scope {
            settings: &self.settings,
            variables: &self.variables,
            environment: None,
            build_name: Some(&self.build_name),
            build_type: Some(&self.build_type),
            build: &data.build,
        };
        lang::render(template, &data.fields, &scope).map_err(RenderError::from)
    }

    fn check(&self, template: &str) -> Result<(), RenderError> {
        lang::check(template).map_err(RenderError::from)
    }
}
