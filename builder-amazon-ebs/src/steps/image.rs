//! Making the AMI.
//!
//! The image carries the user's tags from the moment it is created and the build's mark in its description. The instance lives until the
//! image is available, so that an image that fails costs a second try and not the build.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Image, ResourceType};
use builder_core::BuildError;
use builder_core::ledger::{Created, Entry, Lifetime, NewResource, ReclaimContext, Reclaimer as _};

use super::{Stage, filter, once_visible, unsure};
use crate::api_error::{ApiError, Named as _};
use crate::config::BlockDevice;
use crate::poller::{Images, Poller, Step, Wait};
use crate::tagging::FinalTags;
use crate::{mark, reclaim};

/// How often an image is made that EC2 lets fail.
const TRIES: u32 = 3;

/// Makes an image of the instance and waits until it is available.
pub(crate) async fn create(
    stage: &Stage<'_>,
    instance: &str,
    (name, lifetime): (&str, Lifetime),
    tags: &FinalTags,
) -> Result<Image, BuildError> {
    let cx = stage.cx;
    cx.events.say(format!("Creating the AMI: {name}"));
    let mut tries = 1;
    loop {
        let id = Box::pin(ask(stage, instance, (name, lifetime), tags)).await?;
        cx.events.message(format!("AMI: {id}"));
        cx.events.say("Waiting for AMI to become ready...");
        match available(stage, &stage.home.images, &id, &stage.home.name).await? {
            Ok(image) => return Ok(image),
            Err(why) if tries == TRIES => return Err(BuildError::failed(format!("{why}; {TRIES} tries ended so"))),
            Err(why) => {
                cx.events.error(format!("{why}; the instance is still there: trying again"));
                forget(stage, &id).await?;
                tries += 1;
            }
        }
    }
}

async fn ask(
    stage: &Stage<'_>,
    instance: &str,
    (name, lifetime): (&str, Lifetime),
    tags: &FinalTags,
) -> Result<String, BuildError> {
    let devices: Vec<_> = stage.settings.image_devices.iter().map(|d| d.mapping(true)).collect();
    let specifications = [
        mark::specification(ResourceType::Image, &tags.image),
        mark::specification(ResourceType::Snapshot, &tags.snapshots),
    ];
    let specifications: Vec<_> = specifications.into_iter().flatten().collect();
    let call = stage
        .home
        .client
        .create_image()
        .instance_id(instance)
        .name(name)
        .description(mark::description(&stage.cx.build_id))
        .set_block_device_mappings((!devices.is_empty()).then_some(devices))
        .set_tag_specifications((!specifications.is_empty()).then_some(specifications));
    let created = async {
        // Right after a stop EC2 may not yet take the instance for stopped.
        let answer = once_visible(stage.cx, &["IncorrectState", "InvalidInstanceID.NotFound"], || async {
            call.clone().send().await.named("CreateImage").map_err(|e| match e.to_string() {
                text if e.is(&["InvalidParameterValue"]) && text.contains("Instance is not in state") => {
                    e.with_code("IncorrectState")
                }
                _ => e,
            })
        });
        let id = match answer.await {
            Ok(made) => made.image_id.ok_or_else(|| ApiError::incomplete("CreateImage", "image id"))?,
            // A lost answer, and the SDK asked again; or somebody was faster, which the mark tells.
            Err(e) if e.is(&["InvalidAMIName.Duplicate"]) => {
                let ours = reclaim::find_image(stage.home, &stage.cx.build_id, name).await.map_err(unsure)?;
                ours.and_then(|image| image.image_id).ok_or_else(|| unsure(e))?
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Created { id: id.clone(), value: id })
    };
    Box::pin(stage.create(new_image(stage, name, &stage.home.name, lifetime), created)).await
}

/// The ledger's word for an image; snapshots that the template names are the user's and are never deleted with it.
pub(crate) fn new_image(stage: &Stage<'_>, name: &str, region: &str, lifetime: Lifetime) -> NewResource {
    let users: Vec<_> = stage.settings.users_snapshots().collect();
    let mut details = BTreeMap::new();
    if !users.is_empty() {
        details.insert(reclaim::USERS_SNAPSHOTS.to_owned(), users.join(","));
    }
    NewResource { kind: reclaim::IMAGE, name: name.to_owned(), region: region.to_owned(), lifetime, details }
}

/// Waits until an image is available. The inner error is EC2's: the image failed.
pub(crate) async fn available(
    stage: &Stage<'_>,
    images: &Poller<Images>,
    id: &str,
    region: &str,
) -> Result<Result<Image, String>, BuildError> {
    let wait = Wait {
        events: &stage.cx.events,
        cancel: &stage.cx.cancel,
        what: format!("AMI {id} in {region} to become available"),
        patience: stage.settings.polling.image,
    };
    Ok(images.wait(id, wait, |seen| is_available(id, region, seen)).await?)
}

fn is_available(id: &str, region: &str, seen: Option<&Image>) -> Step<Result<Image, String>> {
    let Some(image) = seen else { return Step::Pending("not visible yet".to_owned()) };
    match image.state().map_or("unknown", |s| s.as_str()) {
        "available" => Step::Done(Ok(image.clone())),
        state @ ("failed" | "invalid" | "error" | "deregistered") => {
            let why = image.state_reason().and_then(|r| r.message()).unwrap_or("EC2 gives no reason");
            Step::Done(Err(format!("AMI {id} in {region} is in state `{state}`: {why}")))
        }
        state => Step::Pending(state.to_owned()),
    }
}

/// Gives back an image that failed, so that its name is free again.
async fn forget(stage: &Stage<'_>, id: &str) -> Result<(), BuildError> {
    let replay = stage.cx.ledger.replay();
    let Some(entry) = replay.entries.iter().rev().find(|e: &&Entry| e.id() == Some(id)) else { return Ok(()) };
    let cx = ReclaimContext {
        build_id: stage.cx.build_id.clone(),
        events: stage.cx.events.clone(),
        cancel: stage.cx.cancel.clone(),
        recent: true,
    };
    reclaim::Ec2Reclaimer::new(stage.cloud).reclaim(&cx, entry).await?;
    Ok(stage.cx.ledger.reclaimed(entry.n).await?)
}

/// The snapshots behind an image, in the order of its devices.
pub(crate) fn snapshots(image: &Image) -> Vec<String> {
    image.block_device_mappings().iter().filter_map(|m| m.ebs()?.snapshot_id().map(str::to_owned)).collect()
}

/// The image with its snapshots: EC2 may call an image available a moment before it shows them. An image is not lost for it.
pub(crate) async fn with_snapshots(stage: &Stage<'_>, region: &str, image: Image) -> Result<Image, BuildError> {
    // A device that only the image has, with a size, is an empty volume: it never has a snapshot.
    let settings = stage.settings;
    let empty = |name: Option<&str>| {
        let named = |d: &&BlockDevice| Some(d.device_name.as_str()) == name;
        settings.image_devices.iter().any(|d| named(&d) && d.volume_size.is_some() && d.snapshot_id.is_none())
            && !settings.launch_devices.iter().any(|d| named(&d))
    };
    let complete = |i: &Image| {
        let mut disks = i.block_device_mappings().iter().filter_map(|m| Some((m.device_name(), m.ebs()?)));
        disks.all(|(name, ebs)| ebs.snapshot_id().is_some() || empty(name))
    };
    if complete(&image) {
        return Ok(image);
    }
    let id = image.image_id().unwrap_or_default().to_owned();
    let client = stage.cloud.in_region(region).client.clone();
    let look = || async {
        let found = client.describe_images().filters(filter("image-id", &id)).send().await.named("DescribeImages")?;
        let image = found.images.unwrap_or_default().pop().filter(complete);
        image.ok_or_else(|| {
            ApiError::incomplete("DescribeImages", "snapshot of the image").with_code("InvalidSnapshot.NotFound")
        })
    };
    match stage.cx.cancel.run(once_visible(stage.cx, &["InvalidSnapshot.NotFound"], look)).await? {
        Ok(image) => Ok(image),
        Err(e) => {
            stage
                .cx
                .events
                .warning(format!("not every snapshot of {id} is shown, and those that are not get no tags: {e}"));
            Ok(image)
        }
    }
}
