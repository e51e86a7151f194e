//! Giving back what a build made on EC2, from the ledger's word alone: after an error, on Ctrl-C and by `gaia cleanup`.
//!
//! Nothing is touched that was not made by the build: it goes by ids that the ledger holds, by names that hold the build's id, and by
//! the build's mark. What is gone already is a success.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Image, Instance, InstanceStateName};
use builder_core::BuildError;
use builder_core::ledger::{Entry, Lifetime, ReclaimContext, Reclaimer};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::time::Instant;

use crate::api_error::{ApiError, Named as _};
use crate::cloud::{Access, Cloud, CloudHandle, Regional};
use crate::mark;
use crate::poller::{Patience, Step, Wait, WaitError};
use crate::steps::{filter, image};

/// Kinds of resources, in the ledger's words.
pub(crate) const KEY_PAIR: &str = "key-pair";
pub(crate) const SECURITY_GROUP: &str = "security-group";
pub(crate) const INSTANCE: &str = "instance";
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const IMAGE: &str = "image";

/// A detail of an image: snapshots that the template names, which are the user's.
pub(crate) const USERS_SNAPSHOTS: &str = "users_snapshots";

/// How long EC2 may go without showing what it has made.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// The time between two looks for something that EC2 may show late.
const PAUSE: Duration = Duration::from_secs(3);

/// The name of a build's temporary resources.
pub(crate) fn temporary_name(build_id: &str) -> String {
    format!("gaia_{build_id}")
}

/// The client token of a build's call: at most 64 characters, the same whenever it is made from the same.
pub(crate) fn client_token(build_id: &str, call: &str, region: &str) -> String {
    format!("{build_id}-{call}-{region}").chars().take(64).collect()
}

/// Gives EC2 resources back.
#[derive(Debug)]
pub(crate) struct Ec2Reclaimer {
    cloud: Arc<Cloud>,
}

#[derive(Deserialize)]
struct Recorded {
    region: String,
    access: Access,
    /// The account that the build was in, once it had an instance.
    #[serde(default)]
    account: Option<String>,
}

/// Opens a reclaimer for `gaia cleanup`. Credentials are those of the profile that the build used, else of the environment.
pub(crate) fn open(
    recorded: serde_json::Value,
    _environment: BTreeMap<String, String>,
) -> BoxFuture<'static, Result<Arc<dyn Reclaimer>, BuildError>> {
    Box::pin(async move {
        let recorded: Recorded = serde_json::from_value(recorded)
            .map_err(|e| BuildError::failed(format!("the ledger does not say how to reach EC2: {e}")))?;
        let access = Access { region: Some(recorded.region), ..recorded.access };
        let cloud = CloudHandle::new(&access, None).open(&access, None).await?;
        if let Some(account) = &recorded.account {
            same_account(&cloud, account).await?;
        }
        Ok(Arc::new(Ec2Reclaimer::new(&cloud)) as Arc<dyn Reclaimer>)
    })
}

/// In another account nothing is found, which must not pass for everything being gone.
async fn same_account(cloud: &Cloud, account: &str) -> Result<(), BuildError> {
    // Security groups tell their owner, every account has some, and the build's policy allows a look at them.
    let call = cloud.home().client.describe_security_groups().max_results(5).send();
    let found = call.await.named("DescribeSecurityGroups")?.security_groups.unwrap_or_default();
    let owners: Vec<_> = found.iter().filter_map(|group| group.owner_id()).collect();
    if owners.is_empty() || owners.contains(&account) {
        return Ok(());
    }
    Err(BuildError::failed(format!(
        "the build was made in account {account}, and these credentials are of account {}: set AWS_PROFILE, or the credentials of the build",
        owners.join(", ")
    )))
}

impl Ec2Reclaimer {
    pub(crate) fn new(cloud: &Arc<Cloud>) -> Self {
        Self { cloud: cloud.clone() }
    }
}

#[async_trait]
impl Reclaimer for Ec2Reclaimer {
    fn after(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            VOLUMES | SECURITY_GROUP => &[INSTANCE],
            _ => &[],
        }
    }

    async fn reclaim(&self, cx: &ReclaimContext, entry: &Entry) -> Result<(), BuildError> {
        let region = self.cloud.in_region(&entry.resource.region);
        match entry.resource.kind.as_str() {
            KEY_PAIR => key_pair(cx, &region, entry).await,
            SECURITY_GROUP => security_group(cx, &region, entry).await,
            INSTANCE => instance(cx, &region, entry).await,
            VOLUMES => volumes(cx, &region).await,
            IMAGE => ami(cx, &region, entry).await,
            other => Err(BuildError::failed(format!(
                "this gaia does not know how to remove a {other}: use the version that made it, or remove it by hand"
            ))),
        }
    }
}

async fn key_pair(cx: &ReclaimContext, region: &Regional, entry: &Entry) -> Result<(), BuildError> {
    cx.events.say("Deleting temporary keypair...");
    let name = &entry.resource.name;
    let call = region.client.delete_key_pair();
    // Deleting a key pair that is not there is a success for EC2 itself.
    let call = match entry.id() {
        Some(id) if id.starts_with("key-") && *name != temporary_name(&cx.build_id) => call.key_pair_id(id),
        None if *name != temporary_name(&cx.build_id) => {
            return Err(BuildError::failed(format!(
                "nobody knows whether the build made the key pair {name}, whose name is the template's: if it is not needed, delete it by hand"
            )));
        }
        _ => call.key_name(name),
    };
    end(cx, || async { call.clone().send().await.named("DeleteKeyPair") }).await
}

async fn security_group(cx: &ReclaimContext, region: &Regional, entry: &Entry) -> Result<(), BuildError> {
    cx.events.say("Deleting temporary security group...");
    let id = match entry.id() {
        Some(id) => id.to_owned(),
        None => match look_for(cx, || find_security_group(region, &cx.build_id, &entry.resource.name)).await? {
            Some(id) => id,
            None => return Ok(()),
        },
    };
    // Interfaces of a terminated instance go a moment after it.
    let mut tries = 0;
    let delete =
        || async { region.client.delete_security_group().group_id(&id).send().await.named("DeleteSecurityGroup") };
    loop {
        match delete().await {
            Err(e) if e.is(&["DependencyViolation", "InvalidGroup.InUse"]) && tries < 36 => {
                tries += 1;
                if cx.cancel.sleep(Duration::from_secs(5)).await.is_err() {
                    return Err(e.into());
                }
            }
            Err(e) if e.is_not_found() => return end(cx, delete).await,
            result => return Ok(result.map(drop)?),
        }
    }
}

/// A security group by the build's name for it; it must carry the build's mark.
pub(crate) async fn find_security_group(
    region: &Regional,
    build_id: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let marked = filter(&format!("tag:{}", mark::BUILD_TAG), build_id);
    let call = region.client.describe_security_groups().filters(filter("group-name", name)).filters(marked);
    let found = call.send().await.named("DescribeSecurityGroups")?;
    Ok(found.security_groups.unwrap_or_default().into_iter().find_map(|g| g.group_id))
}

async fn instance(cx: &ReclaimContext, region: &Regional, entry: &Entry) -> Result<(), BuildError> {
    cx.events.say("Terminating the source AWS instance...");
    let id = match entry.id() {
        Some(id) => id.to_owned(),
        None => match look_for(cx, || find_instance(region, &entry.resource.name)).await? {
            Some(id) => id,
            None => return Ok(()),
        },
    };
    let terminate =
        || async { region.client.terminate_instances().instance_ids(&id).send().await.named("TerminateInstances") };
    end(cx, terminate).await?;
    let wait = Wait {
        events: &cx.events,
        cancel: &cx.cancel,
        what: format!("instance {id} to terminate"),
        patience: Patience { interval: None, limit: Duration::from_secs(900) },
    };
    let (until, mut shown) = (patience(cx), false);
    let is_gone = |seen: Option<&Instance>| match seen.and_then(|i| i.state()?.name()).map(InstanceStateName::as_str) {
        // Not shown any more, or not shown yet.
        None if !shown && Instant::now() < until => Step::Pending("not visible".to_owned()),
        None | Some("terminated") => Step::Done(()),
        Some(state) => {
            shown = true;
            Step::Pending(state.to_owned())
        }
    };
    match region.instances.wait(&id, wait, is_gone).await {
        // Hurried: EC2 has taken the order, and nobody waits for it.
        Err(WaitError::Cancelled(_)) => Ok(()),
        Err(WaitError::Api(e)) if e.is_denied() => {
            cx.events.warning(format!("instance {id} is terminating, but nobody may see it end: {e}"));
            Ok(())
        }
        result => Ok(result?),
    }
}

async fn find_instance(region: &Regional, token: &str) -> Result<Option<String>, ApiError> {
    let call = region.client.describe_instances().filters(filter("client-token", token)).send();
    let found = call.await.named("DescribeInstances")?.reservations.unwrap_or_default();
    Ok(found.into_iter().flat_map(|r| r.instances.unwrap_or_default()).find_map(|i| i.instance_id))
}

/// Deletes volumes that outlived the instance and carry the build's mark. Those that the template keeps do not.
async fn volumes(cx: &ReclaimContext, region: &Regional) -> Result<(), BuildError> {
    cx.events.say("Cleaning up any extra volumes...");
    let marked = filter(&format!("tag:{}", mark::BUILD_TAG), &cx.build_id);
    let mut tries = 0;
    loop {
        let mut pages = region.client.describe_volumes().filters(marked.clone()).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            found.extend(page.named("DescribeVolumes")?.volumes.unwrap_or_default());
        }
        let state = |v: &aws_sdk_ec2::types::Volume| v.state().map_or("", |s| s.as_str()).to_owned();
        found.retain(|v| !["deleting", "deleted"].contains(&state(v).as_str()));
        if found.is_empty() {
            if tries == 0 {
                cx.events.say("No volumes to clean up, skipping");
            }
            return Ok(());
        }
        for volume in found.iter().filter(|v| state(v) == "available") {
            let id = volume.volume_id().unwrap_or_default();
            cx.events.say(format!("Destroying volume ({id})..."));
            end(cx, || async { region.client.delete_volume().volume_id(id).send().await.named("DeleteVolume") })
                .await?;
        }
        // A volume on its way off the instance is looked at again.
        let busy: Vec<_> = found.iter().filter(|v| state(v) != "available").filter_map(|v| v.volume_id()).collect();
        if busy.is_empty() {
            return Ok(());
        }
        tries += 1;
        if tries > 24 || cx.cancel.sleep(Duration::from_secs(5)).await.is_err() {
            return Err(BuildError::failed(format!("still attached: {}", busy.join(", "))));
        }
    }
}

async fn ami(cx: &ReclaimContext, region: &Regional, entry: &Entry) -> Result<(), BuildError> {
    // An image under a temporary name hands its snapshots on to the one under the final name.
    let interim = entry.resource.lifetime == Lifetime::Temporary;
    cx.events.say(if interim {
        "Deregistering the AMI under its temporary name..."
    } else {
        "Deregistering the AMI and deleting associated snapshots because of cancellation, or error..."
    });
    let name = &entry.resource.name;
    let found = match entry.id() {
        Some(id) => {
            let call = region.client.describe_images().filters(filter("image-id", id)).send();
            call.await.named("DescribeImages")?.images.unwrap_or_default().pop()
        }
        None => look_for(cx, || find_image(region, &cx.build_id, name)).await?,
    };
    let Some(id) = entry.id().map(str::to_owned).or_else(|| found.as_ref()?.image_id.clone()) else { return Ok(()) };
    let mut snapshots = found.as_ref().map(image::snapshots).unwrap_or_default();
    for more in snapshots_made_for(region, &id).await? {
        if !snapshots.contains(&more) {
            snapshots.push(more);
        }
    }
    let pending = found.as_ref().is_some_and(|i| i.state().is_some_and(|s| s.as_str() == "pending"));
    end(cx, || async { region.client.deregister_image().image_id(&id).send().await.named("DeregisterImage") }).await?;
    cx.events.say(format!("Deregistered AMI id: {id}"));
    if pending {
        // Snapshots of an image that was being made may show only now.
        cx.cancel.sleep(PAUSE).await?;
        snapshots.extend(snapshots_made_for(region, &id).await?);
        snapshots.sort();
        snapshots.dedup();
    }

    let users = entry.resource.details.get(USERS_SNAPSHOTS).map(String::as_str).unwrap_or_default();
    for snapshot in snapshots.iter().filter(|s| !users.split(',').any(|u| u == *s)) {
        delete_snapshot(cx, region, snapshot, interim).await?;
    }
    Ok(())
}

async fn delete_snapshot(cx: &ReclaimContext, region: &Regional, id: &str, handed_on: bool) -> Result<(), BuildError> {
    let mut tries = 0;
    loop {
        match region.client.delete_snapshot().snapshot_id(id).send().await.named("DeleteSnapshot") {
            // For a moment the image that was deregistered still counts; after that another image stands on the snapshot, which is
            // how an image of this build under its final name comes to keep it.
            Err(e) if e.is(&["InvalidSnapshot.InUse"]) => {
                tries += 1;
                if handed_on || tries > 3 || cx.cancel.sleep(Duration::from_secs(2)).await.is_err() {
                    return Ok(());
                }
            }
            Err(e) if !e.is_not_found() => return Err(e.into()),
            _ => {
                cx.events.say(format!("Deleted snapshot: {id}"));
                return Ok(());
            }
        }
    }
}

/// An image of the account by name; it must carry the build's mark, since anybody in the account may have made one of that name.
pub(crate) async fn find_image(region: &Regional, build_id: &str, name: &str) -> Result<Option<Image>, ApiError> {
    let call = region.client.describe_images().owners("self").filters(filter("name", name)).send();
    let found = call.await.named("DescribeImages")?.images.unwrap_or_default();
    let mark = mark::description(build_id);
    Ok(found.into_iter().find(|i| i.name() == Some(name) && i.description().is_some_and(|d| d.contains(&mark))))
}

/// The snapshots that EC2 made for an image, by the description it gives them: an image that is deregistered already does not name
/// them any more, and one that is being made does not name them yet.
async fn snapshots_made_for(region: &Regional, image: &str) -> Result<Vec<String>, BuildError> {
    let descriptions = aws_sdk_ec2::types::Filter::builder()
        .name("description")
        .values(format!("Created by CreateImage(*) for {image}*"))
        .values(format!("Copied for DestinationAmi {image} *"))
        .build();
    let mut pages = region.client.describe_snapshots().owner_ids("self").filters(descriptions).into_paginator().send();
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await {
        let snapshots = page.named("DescribeSnapshots")?.snapshots.unwrap_or_default();
        ids.extend(snapshots.into_iter().filter_map(|s| s.snapshot_id));
    }
    Ok(ids)
}

/// Looks for something whose creation nobody confirmed, for as long as EC2 may hide it. A look that is cut short says nothing:
/// the resource stays in the ledger.
async fn look_for<T, F: Future<Output = Result<Option<T>, ApiError>>>(
    cx: &ReclaimContext,
    mut look: impl FnMut() -> F,
) -> Result<Option<T>, BuildError> {
    let until = patience(cx);
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        cx.cancel.sleep(PAUSE).await?;
    }
}

/// Asks for the end of something by its id. What is gone already is a success; but for a moment after it was made EC2 may
/// say "not found" of what exists.
async fn end<T, F: Future<Output = Result<T, ApiError>>>(
    cx: &ReclaimContext,
    mut call: impl FnMut() -> F,
) -> Result<(), BuildError> {
    let until = patience(cx);
    loop {
        match call().await {
            Err(e) if e.is_not_found() && Instant::now() < until => cx.cancel.sleep(PAUSE).await?,
            Err(e) if !e.is_not_found() => return Err(e.into()),
            _ => return Ok(()),
        }
    }
}

/// Until when "not found" is not believed.
fn patience(cx: &ReclaimContext) -> Instant {
    Instant::now() + if cx.recent { SHOWN_WITHIN } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_token_fits_and_tells_calls_apart() {
        let id = "01j0000000000000000000000x";
        let token = client_token(id, "instance", "us-west-2");
        assert_eq!(token, "01j0000000000000000000000x-instance-us-west-2");
        assert!(client_token(id, "instance", &"x".repeat(99)).len() == 64);
        assert_ne!(client_token(id, "copy", "eu-west-1"), client_token(id, "copy", "eu-west-2"));
    }
}
