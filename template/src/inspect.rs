//! What `gaia inspect` shows of a template, as data.

use builder_core::secret::MASK;
use serde::Serialize;

use crate::template::Template;

/// A template at a glance. Nothing in it is rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// What the template says of itself.
    pub description: Option<String>,
    /// Sorted by name.
    pub variables: Vec<InspectedVariable>,
    /// Sorted by name.
    pub builders: Vec<InspectedBuilder>,
    /// Their types, in order.
    pub provisioners: Vec<String>,
    /// The type of the error-cleanup-provisioner.
    pub error_cleanup_provisioner: Option<String>,
    /// The names in each chain.
    pub post_processors: Vec<Vec<String>>,
}

/// A variable at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedVariable {
    /// Its name.
    pub name: String,
    /// Whether a value has to be given.
    pub required: bool,
    /// Its default; a mask instead of a value that is the default of any sensitive variable.
    pub default: Option<String>,
    /// Whether it is declared sensitive.
    pub sensitive: bool,
}

/// A builder at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedBuilder {
    /// Its `name`, else its type.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Looks at a template.
pub fn inspect(template: &Template) -> Inspection {
    let text = |node: &builder_core::node::Node| node.as_str().unwrap_or_default().to_owned();
    let secrets: Vec<&str> = template
        .variables
        .iter()
        .filter(|v| v.sensitive)
        .filter_map(|v| v.default.as_deref())
        .filter(|default| !default.is_empty())
        .collect();
    let mut variables: Vec<_> = template
        .variables
        .iter()
        .map(|v| InspectedVariable {
            name: v.name.clone(),
            required: v.default.is_none(),
            default: v.default.as_deref().map(|value| if secrets.contains(&value) { MASK } else { value }.to_owned()),
            sensitive: v.sensitive,
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    let mut builders: Vec<_> =
        template.builders.iter().map(|b| InspectedBuilder { name: text(&b.name), kind: text(&b.kind) }).collect();
    builders.sort_by(|a, b| a.name.cmp(&b.name));
    Inspection {
        description: template.description.clone(),
        variables,
        builders,
        provisioners: template.provisioners.iter().map(|p| text(&p.kind)).collect(),
        error_cleanup_provisioner: template.error_cleanup.as_ref().map(|p| text(&p.kind)),
        post_processors: template
            .post_processors
            .iter()
            .map(|chain| chain.iter().map(|p| p.name.clone()).collect())
            .collect(),
    }
}
