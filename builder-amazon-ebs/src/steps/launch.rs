//! Launching the instance.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, HttpTokensState, IamInstanceProfileSpecification, Instance,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceNetworkInterfaceSpecification, InstanceType, Placement, ResourceType, ShutdownBehavior, Tenancy,
};
use base64::Engine as _;
use builder_core::BuildError;
use builder_core::ledger::{Created, Lifetime, NewResource};

use super::find::Source;
use super::key_pair::Key;
use super::network::Network;
use super::{Stage, once_visible};
use crate::api_error::{ApiError, Named as _};
use crate::cloud::PROVIDER;
use crate::config::{BlockDevice, UserData};
use crate::poller::{Step, Wait};
use crate::{config, mark, reclaim, tagging};

/// What EC2 says for a moment after a key pair, a group or a profile was made.
const NOT_VISIBLE_YET: [&str; 4] = [
    "InvalidGroup.NotFound",
    "InvalidSecurityGroupID.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidInstanceProfile.NotFound",
];

/// What the instance is launched with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) source: &'a Source,
    pub(crate) network: &'a Network,
    pub(crate) key: &'a Key,
    pub(crate) groups: &'a [String],
}

/// Launches the instance and gives its id.
pub(crate) async fn launch(stage: &Stage<'_>, with: Launch<'_>) -> Result<String, BuildError> {
    let cx = stage.cx;
    cx.events.say("Launching a source AWS instance...");
    let data = with.source.data();
    let mut tags = stage.tags("run_tags", &stage.settings.run_tags, &data)?;
    if !tags.iter().any(|(key, _)| key == "Name") {
        tags.insert(0, ("Name".to_owned(), "Packer Builder".to_owned()));
    }
    let volume_tags = merged(&tags, stage.tags("run_volume_tags", &stage.settings.run_volume_tags, &data)?);
    tagging::check("run_volume_tags", &mark::marked(cx, &volume_tags))?;
    cx.events.say("Adding tags to source instance");
    for (key, value) in &tags {
        cx.events.message(format!("Adding tag: {key:?}: {value:?}"));
    }
    let token = reclaim::client_token(&cx.build_id, "instance", &stage.home.name);
    let user_data = user_data(&stage.settings.user_data).await?;
    let call = request(stage, &with, &tags, &volume_tags, user_data).client_token(&token);

    // The volumes come with the instance; their ids need no record, since they carry the build's mark.
    let region = stage.home.name.clone();
    let new = |kind, name: &str| NewResource {
        kind,
        name: name.to_owned(),
        region: region.clone(),
        lifetime: Lifetime::Temporary,
        details: BTreeMap::new(),
    };
    let volumes = new(reclaim::VOLUMES, &cx.build_id);
    cx.ledger.intend(volumes).await?;
    let call = async {
        let made = once_visible(cx, &NOT_VISIBLE_YET, || async {
            let profile_is_new =
                |e: &ApiError| e.is(&["InvalidParameterValue"]) && e.to_string().contains("iamInstanceProfile");
            match call.clone().send().await.named("RunInstances") {
                Err(e) if profile_is_new(&e) => Err(e.with_code("InvalidInstanceProfile.NotFound")),
                result => result,
            }
        });
        let made = made.await?;
        let instance = made.instances.unwrap_or_default().pop();
        let id =
            instance.and_then(|i| i.instance_id).ok_or_else(|| ApiError::incomplete("RunInstances", "instance id"))?;
        Ok(Created { id: id.clone(), value: (id, made.owner_id) })
    };
    let (id, account) = Box::pin(stage.create(new(reclaim::INSTANCE, &token), call)).await?;
    record_access(stage, account).await?;
    cx.events.message(format!("Instance ID: {id}"));
    Ok(id)
}

/// Records how to reach EC2 again, and the account, as soon as it is known: `gaia cleanup` must not take another for it.
pub(crate) async fn record_access(stage: &Stage<'_>, account: Option<String>) -> Result<(), BuildError> {
    let access = stage.cloud.recorded(&stage.cx.environment);
    let access = serde_json::json!({ "region": stage.home.name, "access": access, "account": account });
    Ok(stage.cx.ledger.set_access(PROVIDER, access).await?)
}

/// Waits until the instance runs, and lets go of volumes that the template wants to outlive it.
pub(crate) async fn running(stage: &Stage<'_>, id: &str) -> Result<Instance, BuildError> {
    let cx = stage.cx;
    cx.events.say(format!("Waiting for instance ({id}) to become ready..."));
    let wait = Wait {
        events: &cx.events,
        cancel: &cx.cancel,
        what: format!("instance {id} to become ready"),
        patience: stage.settings.polling.instance,
    };
    let instance = stage.home.instances.wait(id, wait, |seen| is_running(id, seen)).await?;
    keep_volumes(stage, &instance).await?;
    Ok(instance)
}

fn is_running(id: &str, seen: Option<&Instance>) -> Step<Instance> {
    let Some(instance) = seen else { return Step::Pending("not visible yet".to_owned()) };
    let state = instance.state().and_then(|s| s.name()).map_or("unknown", |s| s.as_str());
    match state {
        "running" => Step::Done(instance.clone()),
        "pending" => Step::Pending(state.to_owned()),
        _ => {
            let why = instance.state_reason().and_then(|r| r.message()).or(instance.state_transition_reason());
            Step::Failed(format!(
                "instance {id} is {state} instead of running: {}",
                why.filter(|w| !w.is_empty()).unwrap_or("EC2 gives no reason")
            ))
        }
    }
}

/// Takes the build's mark off volumes that say `"delete_on_termination": false`: they are the user's.
async fn keep_volumes(stage: &Stage<'_>, instance: &Instance) -> Result<(), BuildError> {
    let kept = |device: &&str| {
        let launch = &stage.settings.launch_devices;
        launch.iter().any(|d| d.device_name == **device && d.delete_on_termination == Some(false))
    };
    let mappings = instance.block_device_mappings().iter();
    let volumes: Vec<_> = mappings
        .filter(|m| m.device_name().as_ref().is_some_and(kept))
        .filter_map(|m| m.ebs()?.volume_id().map(str::to_owned))
        .collect();
    if volumes.is_empty() {
        return Ok(());
    }
    let released = mark::tag(&(mark::BUILD_TAG.to_owned(), "kept".to_owned()));
    let call = stage.home.client.create_tags().set_resources(Some(volumes)).tags(released).send();
    stage.cx.cancel.run(call).await?.named("CreateTags")?;
    Ok(())
}

fn request(
    stage: &Stage<'_>,
    with: &Launch<'_>,
    tags: &[(String, String)],
    volume_tags: &[(String, String)],
    user_data: Option<String>,
) -> RunInstancesFluentBuilder {
    let settings = stage.settings;
    let specifications = [
        mark::specification(ResourceType::Instance, &mark::marked(stage.cx, tags)),
        mark::specification(ResourceType::Volume, &mark::marked(stage.cx, volume_tags)),
        mark::specification(ResourceType::NetworkInterface, &mark::marked(stage.cx, tags)),
    ];
    let mut call = stage
        .home
        .client
        .run_instances()
        .image_id(&with.source.id)
        .instance_type(InstanceType::from(settings.instance_type.as_str()))
        .min_count(1)
        .max_count(1)
        .set_user_data(user_data)
        .set_key_name(with.key.name.clone())
        .set_block_device_mappings(devices(stage, with.source))
        .set_tag_specifications(Some(specifications.into_iter().flatten().collect()));
    call = match (settings.public_ip, &with.network.subnet) {
        (Some(public), Some(subnet)) => call.network_interfaces(
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .associate_public_ip_address(public)
                .subnet_id(subnet)
                .set_groups(Some(with.groups.to_vec()))
                .delete_on_termination(true)
                .build(),
        ),
        (_, subnet) => call.set_subnet_id(subnet.clone()).set_security_group_ids(Some(with.groups.to_vec())),
    };
    if settings.ebs_optimized {
        call = call.ebs_optimized(true);
    }
    if settings.shutdown_terminates {
        call = call.instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate);
    }
    if let Some(name) = &settings.instance_profile {
        let profile = IamInstanceProfileSpecification::builder();
        let profile = if name.starts_with("arn:") { profile.arn(name) } else { profile.name(name) };
        call = call.iam_instance_profile(profile.build());
    }
    if settings.availability_zone.is_some() || settings.tenancy.is_some() {
        let placement = Placement::builder()
            .set_availability_zone(settings.availability_zone.clone())
            .set_tenancy(settings.tenancy.as_deref().map(Tenancy::from));
        call = call.placement(placement.build());
    }
    if settings.unlimited_credits {
        call = call.credit_specification(CreditSpecificationRequest::builder().cpu_credits("unlimited").build());
    }
    call.set_metadata_options(metadata(&settings.metadata))
}

fn metadata(options: &config::MetadataOptions) -> Option<InstanceMetadataOptionsRequest> {
    (*options != config::MetadataOptions::default()).then(|| {
        InstanceMetadataOptionsRequest::builder()
            .set_http_endpoint(options.http_endpoint.as_deref().map(InstanceMetadataEndpointState::from))
            .set_http_tokens(options.http_tokens.as_deref().map(HttpTokensState::from))
            .set_http_put_response_hop_limit(options.http_put_response_hop_limit)
            .set_instance_metadata_tags(options.instance_metadata_tags.as_deref().map(InstanceMetadataTagsState::from))
            .build()
    })
}

/// The block device mappings of the launch. Encryption starts here, so that the image comes out encrypted without a copy.
fn devices(stage: &Stage<'_>, source: &Source) -> Option<Vec<BlockDeviceMapping>> {
    let settings = stage.settings;
    let mut devices = settings.launch_devices.clone();
    if settings.encrypt == Some(true) {
        for mapping in source.image.block_device_mappings().iter().filter(|m| m.ebs().is_some()) {
            let name = mapping.device_name().unwrap_or_default();
            if !devices.iter().any(|d| d.device_name == name) {
                devices.push(BlockDevice { device_name: name.to_owned(), ..BlockDevice::default() });
            }
        }
        for device in devices.iter_mut().filter(|d| !d.no_device && d.virtual_name.is_none()) {
            device.encrypted = Some(true);
            device.kms_key_id = device.kms_key_id.take().or_else(|| settings.kms_key.clone());
        }
    }
    let mut mappings: Vec<_> = devices.iter().map(|d| d.mapping(false)).collect();
    if settings.no_ephemeral {
        let letters = 'a'..='z';
        let names = letters.map(|letter| format!("xvdc{letter}"));
        mappings.extend(names.map(|name| BlockDeviceMapping::builder().device_name(name).no_device("").build()));
    }
    (!mappings.is_empty()).then_some(mappings)
}

/// User data as the call takes it: base64, unless it is base64 already.
async fn user_data(user_data: &UserData) -> Result<Option<String>, BuildError> {
    let bytes = match user_data {
        UserData::None => return Ok(None),
        UserData::Text(text) => text.clone().into_bytes(),
        UserData::File(path) => tokio::fs::read(path)
            .await
            .map_err(|e| BuildError::failed(format!("cannot read user_data_file {path}: {e}")))?,
    };
    Ok(Some(match config::decoded(&bytes) {
        Some(_) => String::from_utf8_lossy(&bytes).split_ascii_whitespace().collect(),
        None => base64::engine::general_purpose::STANDARD.encode(bytes),
    }))
}

/// The tags of `base`, those of `more` winning.
pub(crate) fn merged(base: &[(String, String)], more: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut tags: Vec<_> = base.iter().filter(|(key, _)| !more.iter().any(|(k, _)| k == key)).cloned().collect();
    tags.extend(more);
    tags
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{InstanceState, InstanceStateName, StateReason};

    use super::*;

    #[test]
    fn an_instance_that_dies_says_why() {
        let instance = |state, reason: Option<&str>| {
            Instance::builder()
                .state(InstanceState::builder().name(InstanceStateName::from(state)).build())
                .set_state_reason(reason.map(|r| StateReason::builder().message(r).build()))
                .build()
        };
        let rows = [
            (Some(instance("running", None)), "done"),
            (Some(instance("pending", None)), "pending"),
            (None, "not visible yet"),
            (
                Some(instance("terminated", Some("Client.VolumeLimitExceeded: Volume limit exceeded"))),
                "instance i-1 is terminated instead of running: Client.VolumeLimitExceeded: Volume limit exceeded",
            ),
            (Some(instance("stopped", None)), "instance i-1 is stopped instead of running: EC2 gives no reason"),
        ];
        for (seen, expected) in rows {
            let text = match is_running("i-1", seen.as_ref()) {
                Step::Done(_) => "done".to_owned(),
                Step::Pending(text) | Step::Failed(text) => text,
            };
            assert_eq!(text, expected);
        }
    }

    #[tokio::test]
    async fn user_data_is_encoded_once() {
        let text = |t: &str| UserData::Text(t.to_owned());
        let rows = [
            (UserData::None, None),
            (text("#!/bin/sh\n"), Some("IyEvYmluL3NoCg==")),
            (text("IyEvYmluL3NoCg==\n"), Some("IyEvYmluL3NoCg==")),
        ];
        for (data, expected) in rows {
            assert_eq!(user_data(&data).await.unwrap().as_deref(), expected);
        }
    }
}
