//! Taking the place of an AMI with the same name: the old one goes when the new one is ready, not before.
//!
//! Two images of an account cannot have one name, so the new image is first made under a name of the build's own. When its snapshots are
//! done, the old image is deregistered and the new one registered from those snapshots under its final name, which takes
//! seconds; should that fail, the old image is registered again.

use aws_sdk_ec2::operation::register_image::builders::RegisterImageFluentBuilder;
use aws_sdk_ec2::types::{BlockDeviceMapping, Image, ResourceType, Snapshot};
use builder_core::BuildError;
use builder_core::ledger::{Created, Lifetime};

use super::{Stage, image};
use crate::api_error::{ApiError, Named as _};
use crate::poller::{Step, Wait};
use crate::tagging::FinalTags;
use crate::{mark, reclaim};

/// Makes the image of the instance in the place of `old` (by region).
pub(crate) async fn replace(
    stage: &Stage<'_>,
    instance: &str,
    old: &[(String, Image)],
    tags: &FinalTags,
) -> Result<Image, BuildError> {
    let (cx, settings) = (stage.cx, stage.settings);
    let interim = reclaim::temporary_name(&cx.build_id);
    let made = Box::pin(image::create(stage, instance, &interim, Lifetime::Temporary, tags)).await?;
    let made = image::with_snapshots(stage, &stage.home.name, made).await?;

    completed(stage, &made).await?;

    // Copies are made later, under the same name: the old ones in other regions go now too.
    for (region, image) in old {
        deregister(stage, region, image).await?;
    }
    let specification = mark::specification(ResourceType::Image, &tags.image);
    let call = register(stage, &made)
        .name(&settings.ami_name)
        .description(mark::description(&cx.build_id))
        .set_tag_specifications(specification.map(|s| vec![s]));
    let registered = async {
        let made = call.send().await.named("RegisterImage")?;
        let id = made.image_id.ok_or_else(|| ApiError::incomplete("RegisterImage", "image id"))?;
        Ok(Created { id: id.clone(), value: id })
    };
    let new = image::new_image(stage, &settings.ami_name, &stage.home.name, Lifetime::Artifact);
    let id = match Box::pin(stage.create(new, registered)).await {
        Ok(id) => id,
        Err(e) => return Err(put_back(stage, old, e).await),
    };
    cx.events.message(format!("AMI: {id}"));
    let registered =
        image::available(stage, &stage.home.images, &id, &stage.home.name).await?.map_err(BuildError::failed)?;
    if settings.replace_snapshots {
        for (region, image) in old {
            delete_snapshots(stage, region, image).await?;
        }
    }
    image::with_snapshots(stage, &stage.home.name, registered).await
}

/// Waits until every snapshot of an image is done: from then on nothing of it can fail.
async fn completed(stage: &Stage<'_>, image: &Image) -> Result<(), BuildError> {
    let waits = image::snapshots(image).into_iter().map(|id| async move {
        let wait = Wait {
            events: &stage.cx.events,
            cancel: &stage.cx.cancel,
            what: format!("snapshot {id} to complete"),
            patience: stage.settings.polling.image,
        };
        let until =
            |seen: Option<&Snapshot>| match seen.and_then(|s| s.state()).map_or("not visible yet", |s| s.as_str()) {
                "completed" => Step::Done(()),
                "error" => Step::Failed(format!(
                    "snapshot {id} failed: {}",
                    seen.and_then(|s| s.state_message()).unwrap_or("EC2 gives no reason")
                )),
                state => Step::Pending(format!("{state} {}", seen.and_then(|s| s.progress()).unwrap_or_default())),
            };
        stage.home.snapshots.wait(&id, wait, until).await
    });
    Ok(futures_util::future::try_join_all(waits).await.map(drop)?)
}

async fn deregister(stage: &Stage<'_>, region: &str, image: &Image) -> Result<(), BuildError> {
    let id = image.image_id().unwrap_or_default();
    let call = stage.cloud.in_region(region).client.deregister_image().image_id(id).send();
    match call.await.named("DeregisterImage") {
        Err(e) if !e.is_not_found() => {
            return Err(BuildError::failed(format!("Error deregistering existing AMI: {e} ({id} in {region})")));
        }
        _ => stage.cx.events.say(format!("Deregistered AMI {}, id: {id}", stage.settings.ami_name)),
    }
    Ok(())
}

async fn delete_snapshots(stage: &Stage<'_>, region: &str, image: &Image) -> Result<(), BuildError> {
    let client = &stage.cloud.in_region(region).client;
    for snapshot in image::snapshots(image) {
        match client.delete_snapshot().snapshot_id(&snapshot).send().await.named("DeleteSnapshot") {
            // Another image stands on it: it is not ours to delete.
            Err(e) if e.is(&["InvalidSnapshot.InUse"]) || e.is_not_found() => {}
            Err(e) => {
                return Err(BuildError::failed(format!(
                    "Error deleting existing snapshot: {e} ({snapshot} in {region})"
                )));
            }
            Ok(_) => stage.cx.events.say(format!("Deleted snapshot: {snapshot}")),
        }
    }
    Ok(())
}

/// Registers the old images again after the new one could not be; gives the error to end with.
async fn put_back(stage: &Stage<'_>, old: &[(String, Image)], error: BuildError) -> BuildError {
    let mut text = error.to_string();
    for (region, image) in old {
        let tags: Vec<_> =
            image.tags().iter().filter_map(|t| Some((t.key()?.to_owned(), t.value()?.to_owned()))).collect();
        let specification = mark::specification(ResourceType::Image, &tags);
        let there = stage.cloud.in_region(region);
        let call = describe(there.client.register_image(), image)
            .set_name(image.name.clone())
            .set_description(image.description.clone())
            .set_tag_specifications(specification.map(|s| vec![s]));
        let was = image.image_id().unwrap_or_default();
        let fate = match call.send().await.named("RegisterImage") {
            Ok(made) => format!(
                "; the image it was to replace, {was}, is registered again as {} in {region}",
                made.image_id.unwrap_or_default()
            ),
            Err(e) => format!(
                "; the image it was to replace, {was} in {region}, is deregistered, its snapshots are {}: {e}",
                image::snapshots(image).join(", ")
            ),
        };
        text.push_str(&fate);
    }
    BuildError::failed(text)
}

fn register(stage: &Stage<'_>, like: &Image) -> RegisterImageFluentBuilder {
    describe(stage.home.client.register_image(), like)
}

/// A registration with everything that an image says of itself.
fn describe(call: RegisterImageFluentBuilder, like: &Image) -> RegisterImageFluentBuilder {
    let devices: Vec<BlockDeviceMapping> = like.block_device_mappings().iter().cloned().map(registrable).collect();
    call.set_architecture(like.architecture.clone())
        .set_root_device_name(like.root_device_name.clone())
        .set_virtualization_type(like.virtualization_type().map(|v| v.as_str().to_owned()))
        .set_ena_support(like.ena_support)
        .set_sriov_net_support(like.sriov_net_support.clone())
        .set_boot_mode(like.boot_mode.clone())
        .set_tpm_support(like.tpm_support.clone())
        .set_imds_support(like.imds_support.clone())
        .set_block_device_mappings(Some(devices))
}

/// A device as RegisterImage takes it: encryption follows from the snapshot and must not be repeated.
fn registrable(mut device: BlockDeviceMapping) -> BlockDeviceMapping {
    if let Some(ebs) = device.ebs.as_mut().filter(|ebs| ebs.snapshot_id.is_some()) {
        ebs.encrypted = None;
        ebs.kms_key_id = None;
    }
    device
}
