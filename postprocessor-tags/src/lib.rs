//! The tags post-processor: tags an artifact, and what belongs to it, wherever it lies.
//!
//! ```json
//! { "type": "tags", "tags": { "Name": "{{build_name}}" }, "snapshot_tags": { "From": "{{.SourceAMI}}" } }
//! ```
//!
//! It renders the tags and checks what holds for tags anywhere. Which regions, snapshots and limits there are, the artifact
//! knows: its [`builder_core::Taggable`] is the code that a builder's own `tags` go through, too.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use builder_core::render::render_map;
use builder_core::{
    Artifact, BuildContext, BuildError, DeferredMap, PostProcessed, PostProcessor, PostProcessorPlugin, PrepareContext,
    Problems, RenderData, Tags,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What to tag with. Both sides of a tag are templates, rendered with what the artifact tells of its source, `{{.BuildName}}`
/// and `{{.BuilderType}}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// For the image and its snapshots.
    pub tags: DeferredMap,
    /// For its snapshots alone; they win over `tags`.
    pub snapshot_tags: DeferredMap,
}

/// A prepared tags post-processor.
#[derive(Clone, Debug)]
pub struct TagArtifact(Config);

builder_core::register_post_processor!(TagArtifact);

impl PostProcessorPlugin for TagArtifact {
    const TYPE: &'static str = "tags";
    const ABOUT: &'static str = "tags an artifact and its snapshots";
    type Config = Config;

    fn prepare(config: Config, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.tags.is_empty() && config.snapshot_tags.is_empty() {
            problems.add("", "there is nothing to tag with").help("give `tags`, `snapshot_tags` or both");
        }
        for (option, map) in [("tags", &config.tags), ("snapshot_tags", &config.snapshot_tags)] {
            if map.keys().any(|key| key.template.is_empty()) {
                problems.add(option, format!("{option}: a tag needs a key"));
            }
        }
        problems.ok(Self(config))
    }
}

#[async_trait]
impl PostProcessor for TagArtifact {
    async fn post_process(&self, cx: &BuildContext, artifact: Arc<dyn Artifact>) -> Result<PostProcessed, BuildError> {
        let Some(taggable) = artifact.as_taggable() else {
            return Err(BuildError::failed(format!(
                "the artifact \"{}\" of {} cannot be tagged: leave its build out with `except`",
                artifact.id(),
                artifact.builder_id()
            )));
        };
        let data = taggable.tag_data().with("BuildName", &*cx.build_name).with("BuilderType", &*cx.build_type);
        let tags = Tags {
            tags: rendered("tags", &self.0.tags, cx, &data)?,
            snapshot_tags: rendered("snapshot_tags", &self.0.snapshot_tags, cx, &data)?,
        };
        cx.cancel.run(taggable.tag(cx, &tags)).await??;
        // What goes on is the artifact that came in: to drop that would be to destroy it.
        Ok(PostProcessed { artifact: Some(artifact), keep_input: true, must_keep_input: true })
    }
}

/// The tags of an option, rendered, each key once. Only now is it known what keys there are.
fn rendered(
    option: &str,
    map: &DeferredMap,
    cx: &BuildContext,
    data: &RenderData,
) -> Result<Vec<(String, String)>, BuildError> {
    let tags = render_map(option, map, &*cx.renderer, data)?;
    let mut keys = BTreeSet::new();
    for (key, template) in tags.iter().map(|(key, _)| key).zip(map.keys()) {
        let written = &template.template;
        if key.is_empty() {
            return Err(BuildError::failed(format!("{option}: the key `{written}` is empty once it is rendered")));
        }
        if !keys.insert(key) {
            return Err(BuildError::failed(format!(
                "{option}: two tags have the key \"{key}\", one of them from `{written}`"
            )));
        }
    }
    Ok(tags)
}
