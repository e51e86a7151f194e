//! Copying the AMI to other regions, all at once.

use aws_sdk_ec2::types::{Image, ResourceType};
use builder_core::BuildError;
use builder_core::ledger::{Created, Lifetime};

use super::{Stage, image};
use crate::api_error::{ApiError, Named as _};
use crate::tagging::FinalTags;
use crate::{mark, reclaim};

/// Copies the image to every region of the template but its own; gives the copies by region. One that fails ends the build.
pub(crate) async fn copy(
    stage: &Stage<'_>,
    home: &str,
    (name, lifetime): (&str, Lifetime),
    tags: &FinalTags,
) -> Result<Vec<(String, Image)>, BuildError> {
    let cx = stage.cx;
    let regions: Vec<_> = stage.settings.copy_to.iter().filter(|r| **r != stage.home.name).collect();
    if regions.is_empty() {
        return Ok(Vec::new());
    }
    cx.events.say(format!("Copying/Encrypting AMI ({home}) to other regions..."));
    for region in &regions {
        cx.events.message(format!("Copying to: {region}"));
    }
    cx.events.message("Waiting for all copies to complete...");
    let copies = regions.into_iter().map(|region| async move {
        let copied = Box::pin(one(stage, home, region, (name, lifetime), tags)).await;
        copied.map(|image| (region.clone(), image)).map_err(|e| match e {
            BuildError::Failed(text) => {
                BuildError::failed(format!("Error Copying AMI ({home}) to region ({region}): {text}"))
            }
            other => other,
        })
    });
    // To the end, all of them: a copy that is dropped on its way may still take effect.
    futures_util::future::join_all(copies).await.into_iter().collect()
}

async fn one(
    stage: &Stage<'_>,
    home: &str,
    region: &str,
    (name, lifetime): (&str, Lifetime),
    tags: &FinalTags,
) -> Result<Image, BuildError> {
    let (cx, settings) = (stage.cx, stage.settings);
    let there = stage.cloud.in_region(region);
    let specifications = [
        mark::specification(ResourceType::Image, &tags.image),
        mark::specification(ResourceType::Snapshot, &tags.snapshots),
    ];
    let specifications: Vec<_> = specifications.into_iter().flatten().collect();
    let key = settings.region_kms_keys.get(region).filter(|key| !key.is_empty());
    let call = there
        .client
        .copy_image()
        .source_region(&stage.home.name)
        .source_image_id(home)
        .name(name)
        .description(mark::description(&cx.build_id))
        .client_token(reclaim::client_token(&cx.build_id, "copy", region))
        .set_encrypted(settings.encrypt)
        .set_kms_key_id(key.cloned())
        .set_tag_specifications((!specifications.is_empty()).then_some(specifications));
    let created = async {
        let made = call.send().await.named("CopyImage")?;
        let id = made.image_id.ok_or_else(|| ApiError::incomplete("CopyImage", "image id"))?;
        Ok(Created { id: id.clone(), value: id })
    };
    let new = image::new_image(stage, name, region, lifetime);
    let id = Box::pin(stage.create(new, created)).await?;
    let copied = image::available(stage, &there.images, &id, region).await?.map_err(BuildError::failed)?;
    image::with_snapshots(stage, region, copied).await
}
