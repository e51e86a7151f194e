//! The artifact: AMIs by region.

use std::sync::Arc;

use async_trait::async_trait;
use builder_core::{Artifact, BuildContext, BuildError, RenderData, Taggable};

use crate::api_error::Named as _;
use crate::cloud::Cloud;

/// Packer's id of the builder, by which post-processors know its artifact.
pub(crate) const BUILDER_ID: &str = "mitchellh.amazonebs";

/// The AMIs of a build.
#[derive(Debug)]
pub(crate) struct Ami {
    /// By region, sorted.
    pub(crate) images: Vec<RegionalImage>,
    /// What templates of tags may name.
    pub(crate) data: RenderData,
    /// EC2.
    pub(crate) cloud: Arc<Cloud>,
}

/// An AMI in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegionalImage {
    /// The region.
    pub(crate) region: String,
    /// The AMI's id.
    pub(crate) id: String,
    /// Its snapshots, in the order of its devices.
    pub(crate) snapshots: Vec<String>,
}

impl Ami {
    fn list(&self, between: &str, after: &str) -> String {
        let lines: Vec<_> = self.images.iter().map(|i| format!("{}{between}{}", i.region, i.id)).collect();
        lines.join(after)
    }
}

#[async_trait]
impl Artifact for Ami {
    fn builder_id(&self) -> &'static str {
        BUILDER_ID
    }

    fn id(&self) -> String {
        self.list(":", ",")
    }

    fn describe(&self) -> String {
        format!("AMIs were created:\n{}\n", self.list(": ", "\n"))
    }

    async fn destroy(&self, cx: &BuildContext) -> Result<(), BuildError> {
        for image in &self.images {
            cx.events.say(format!("Deregistering image ID ({}) from region ({})", image.id, image.region));
            let client = &self.cloud.in_region(&image.region).client;
            match client.deregister_image().image_id(&image.id).send().await.named("DeregisterImage") {
                Err(e) if !e.is_not_found() => return Err(e.into()),
                _ => {}
            }
            for snapshot in &image.snapshots {
                match client.delete_snapshot().snapshot_id(snapshot).send().await.named("DeleteSnapshot") {
                    Err(e) if !e.is_not_found() && !e.is(&["InvalidSnapshot.InUse"]) => return Err(e.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn as_taggable(&self) -> Option<&dyn Taggable> {
        Some(self)
    }
}
