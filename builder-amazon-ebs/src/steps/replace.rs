//! Taking the place of AMIs with the same name: the old ones go when everything else is done, not before.
//!
//! Two images of an account cannot have one name in a region, so the new images are first made under a name of the build's own. When the
//! snapshots of all of them are done, region by region the old image is deregistered and the new one registered from those
//! snapshots under its final name, which takes seconds. Should that fail, the old one is registered again. From the first
//! image that has its final name on, nothing of what has is taken away any more.

use aws_sdk_ec2::operation::register_image::builders::RegisterImageFluentBuilder;
use aws_sdk_ec2::types::{BlockDeviceMapping, Image, ResourceType, Snapshot};
use builder_core::BuildError;
use builder_core::ledger::{Created, Lifetime};

use super::{Stage, image, unsure};
use crate::api_error::{ApiError, Named as _};
use crate::poller::{Step, Wait};
use crate::tagging::FinalTags;
use crate::{mark, reclaim};

/// Gives the new images (by region) their final name, in the place of `old` (by region).
pub(crate) async fn replace(
    stage: &Stage<'_>,
    old: &[(String, Image)],
    new: Vec<(String, Image)>,
    tags: &FinalTags,
) -> Result<Vec<(String, Image)>, BuildError> {
    let waits = new.iter().map(|(region, image)| completed(stage, region, image));
    futures_util::future::try_join_all(waits).await?;
    // The last moment at which a cancellation changes nothing.
    stage.cx.cancel.check()?;

    let mut done: Vec<(String, Image)> = Vec::new();
    for (region, image) in new {
        let here: Vec<_> = old.iter().filter(|(r, _)| *r == region).map(|(_, image)| image).collect();
        match Box::pin(swap(stage, &region, &image, &here, tags)).await {
            Ok(image) => done.push((region, image)),
            Err(e) if done.is_empty() => return Err(e),
            Err(e) => {
                stage.cx.ledger.commit().await?;
                let replaced: Vec<_> =
                    done.iter().map(|(r, i)| format!("{r}: {}", i.image_id().unwrap_or_default())).collect();
                return Err(BuildError::failed(format!("{e}; replaced already, and kept: {}", replaced.join(", "))));
            }
        }
    }
    stage.cx.ledger.commit().await?;
    if stage.settings.replace_snapshots {
        for (region, image) in old {
            delete_snapshots(stage, region, image).await;
        }
    }
    Ok(done)
}

/// The final name goes from the old image of a region to the new one.
async fn swap(
    stage: &Stage<'_>,
    region: &str,
    made: &Image,
    old: &[&Image],
    tags: &FinalTags,
) -> Result<Image, BuildError> {
    let (cx, settings) = (stage.cx, stage.settings);
    let there = stage.cloud.in_region(region);
    for (n, image) in old.iter().enumerate() {
        if let Err(e) = deregister(stage, region, image).await {
            return Err(put_back(stage, region, &old[..n], e).await);
        }
    }
    let specification = mark::specification(ResourceType::Image, &tags.image);
    let call = describe(there.client.register_image(), made)
        .name(&settings.ami_name)
        .description(mark::description(&cx.build_id))
        .set_tag_specifications(specification.map(|s| vec![s]));
    let registered = async {
        let id = match call.send().await.named("RegisterImage") {
            Ok(made) => made.image_id.ok_or_else(|| ApiError::incomplete("RegisterImage", "image id"))?,
            // A lost answer, and the SDK asked again; or somebody was faster, which the mark tells.
            Err(e) if e.is(&["InvalidAMIName.Duplicate"]) => {
                let ours = reclaim::find_image(&there, &cx.build_id, &settings.ami_name).await.map_err(unsure)?;
                ours.and_then(|image| image.image_id).ok_or_else(|| unsure(e))?
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Created { id: id.clone(), value: id })
    };
    let new = image::new_image(stage, &settings.ami_name, region, Lifetime::Artifact);
    let id = match Box::pin(stage.create(new, registered)).await {
        Ok(id) => id,
        Err(e) => return Err(put_back(stage, region, old, e).await),
    };
    cx.events.message(format!("AMI: {id}"));
    // Registered from snapshots that are done: it is the user's, whatever a look at it says.
    match image::available(stage, &there.images, &id, region).await {
        Ok(Ok(image)) => image::with_snapshots(stage, region, image).await,
        Ok(Err(why)) => Err(BuildError::failed(why)),
        Err(_) => {
            Ok(Image::builder().image_id(&id).set_block_device_mappings(made.block_device_mappings.clone()).build())
        }
    }
}

/// Waits until every snapshot of an image is done: from then on nothing of it can fail.
async fn completed(stage: &Stage<'_>, region: &str, image: &Image) -> Result<(), BuildError> {
    let there = &stage.cloud.in_region(region);
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
        there.snapshots.wait(&id, wait, until).await
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

async fn delete_snapshots(stage: &Stage<'_>, region: &str, image: &Image) {
    let client = &stage.cloud.in_region(region).client;
    for snapshot in image::snapshots(image) {
        match client.delete_snapshot().snapshot_id(&snapshot).send().await.named("DeleteSnapshot") {
            Ok(_) => stage.cx.events.say(format!("Deleted snapshot: {snapshot}")),
            // Another image stands on it: it is not ours to delete.
            Err(e) if e.is(&["InvalidSnapshot.InUse"]) || e.is_not_found() => {}
            Err(e) => stage.cx.events.warning(format!("the old snapshot {snapshot} in {region} is still there: {e}")),
        }
    }
}

/// Registers the old images of a region again after the new one could not be; gives the error to end with.
async fn put_back(stage: &Stage<'_>, region: &str, old: &[&Image], error: BuildError) -> BuildError {
    let mut text = error.to_string();
    for image in old {
        let tags: Vec<_> =
            image.tags().iter().filter_map(|t| Some((t.key()?.to_owned(), t.value()?.to_owned()))).collect();
        let specification = mark::specification(ResourceType::Image, &tags);
        let call = describe(stage.cloud.in_region(region).client.register_image(), image)
            .set_name(image.name.clone())
            .set_description(image.description.clone())
            .set_tag_specifications(specification.map(|s| vec![s]));
        let was = image.image_id().unwrap_or_default();
        let fate = match call.send().await.named("RegisterImage") {
            Ok(made) => {
                let id = made.image_id.unwrap_or_default();
                format!("; the image it was to replace, {was}, is registered again as {id} in {region}")
            }
            Err(e) => {
                let snapshots = image::snapshots(image).join(", ");
                format!(
                    "; the image it was to replace, {was} in {region}, is deregistered, its snapshots are {snapshots}: {e}"
                )
            }
        };
        text.push_str(&fate);
    }
    BuildError::failed(text)
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
