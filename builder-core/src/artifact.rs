//! What a build hands back.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::context::BuildContext;
use crate::error::BuildError;
use crate::event::ArtifactSummary;

/// The result of a builder or of a post-processor.
#[async_trait]
pub trait Artifact: Send + Sync + Debug {
    /// Packer's builder id, by which a post-processor knows what it has: `mitchellh.amazonebs`.
    fn builder_id(&self) -> &str;

    /// The id: `us-west-2:ami-1,eu-west-1:ami-2`. Empty if it has none.
    fn id(&self) -> String;

    /// The text for people: `AMIs were created:\nus-west-2: ami-1`.
    fn describe(&self) -> String;

    /// Files on this host that belong to it.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes the artifact away for good.
    async fn destroy(&self, cx: &BuildContext) -> Result<(), BuildError>;

    /// The way to tag it, if it can be tagged.
    fn as_taggable(&self) -> Option<&dyn Taggable> {
        None
    }

    /// What an event says of it.
    fn summary(&self) -> ArtifactSummary {
        ArtifactSummary {
            builder_id: self.builder_id().to_owned(),
            id: self.id(),
            text: self.describe(),
            files: self.files(),
        }
    }
}

/// Tags for an artifact, rendered and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// For the image and, unless overridden, its snapshots.
    pub tags: Vec<(String, String)>,
    /// For its snapshots alone; they win over `tags`.
    pub snapshot_tags: Vec<(String, String)>,
}

/// An artifact that can be tagged in its cloud, wherever it lies.
#[async_trait]
pub trait Taggable: Send + Sync {
    /// Fields for the templates of tags: `SourceAMI`, `BuildRegion`.
    fn tag_data(&self) -> crate::render::RenderData;

    /// Sets the tags everywhere the artifact is. Safe to repeat.
    async fn tag(&self, cx: &BuildContext, tags: &Tags) -> Result<(), BuildError>;
}
