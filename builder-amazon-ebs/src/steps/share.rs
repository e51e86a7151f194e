//! Attributes of the finished images: description, IMDSv2, deprecation, and last of all who may use them.

use aws_sdk_ec2::operation::modify_image_attribute::builders::ModifyImageAttributeFluentBuilder;
use aws_sdk_ec2::types::{AttributeValue, OperationType, SnapshotAttributeName};
use builder_core::{BuildError, RenderData};

use super::Stage;
use crate::api_error::Named as _;
use crate::artifact::RegionalImage;

/// Sets the attributes in every region. Sharing comes last, when nothing else can fail any more.
pub(crate) async fn share(stage: &Stage<'_>, images: &[RegionalImage], data: &RenderData) -> Result<(), BuildError> {
    let description = match &stage.settings.description {
        Some(text) => Some(stage.text(text, data)?).filter(|text| !text.is_empty()),
        None => None,
    };
    for image in images {
        attributes(stage, image, description.as_deref()).await?;
    }
    for image in images {
        permissions(stage, image).await?;
    }
    Ok(())
}

async fn attributes(stage: &Stage<'_>, image: &RegionalImage, description: Option<&str>) -> Result<(), BuildError> {
    let (cx, settings) = (stage.cx, stage.settings);
    let client = &stage.cloud.in_region(&image.region).client;
    let value = |text: &str| AttributeValue::builder().value(text).build();
    if let Some(description) = description {
        modify(stage, image, "description", |call| call.description(value(description))).await?;
    }
    if settings.imds_v2 {
        modify(stage, image, "imds_support", |call| call.imds_support(value("v2.0"))).await?;
    }
    if let Some(at) = settings.deprecate_at {
        cx.events.say(format!("Enabling deprecation on AMI ({}) in region {:?} ...", image.id, image.region));
        let at = aws_sdk_ec2::primitives::DateTime::from_secs(at.as_second());
        let call = client.enable_image_deprecation().image_id(&image.id).deprecate_at(at).send();
        cx.cancel.run(call).await?.named("EnableImageDeprecation")?;
    }
    Ok(())
}

/// Puts a list into a call.
type Set = fn(ModifyImageAttributeFluentBuilder, Vec<String>) -> ModifyImageAttributeFluentBuilder;

async fn permissions(stage: &Stage<'_>, image: &RegionalImage) -> Result<(), BuildError> {
    let sharing = &stage.settings.sharing;
    let kinds: [(&str, &Vec<String>, &str, Set); 5] = [
        ("product codes", &sharing.product_codes, "productCodes", |call, list| call.set_product_codes(Some(list))),
        ("users", &sharing.users, "launchPermission", |call, list| call.set_user_ids(Some(list))),
        ("ami org arns", &sharing.organizations, "launchPermission", |call, list| {
            call.set_organization_arns(Some(list))
        }),
        ("ami ou arns", &sharing.organizational_units, "launchPermission", |call, list| {
            call.set_organizational_unit_arns(Some(list))
        }),
        ("groups", &sharing.groups, "launchPermission", |call, list| call.set_user_groups(Some(list))),
    ];
    for (what, list, attribute, set) in kinds.into_iter().filter(|(_, list, ..)| !list.is_empty()) {
        modify(stage, image, what, |call| {
            set(call.attribute(attribute).operation_type(OperationType::Add), list.clone())
        })
        .await?;
    }
    if sharing.snapshot_users.is_empty() && sharing.snapshot_groups.is_empty() {
        return Ok(());
    }
    let client = &stage.cloud.in_region(&image.region).client;
    for snapshot in &image.snapshots {
        stage.cx.events.say(format!("Modifying attributes on snapshot ({snapshot})..."));
        for (users, groups) in [(&sharing.snapshot_users, &Vec::new()), (&Vec::new(), &sharing.snapshot_groups)] {
            if users.is_empty() && groups.is_empty() {
                continue;
            }
            let call = client
                .modify_snapshot_attribute()
                .snapshot_id(snapshot)
                .attribute(SnapshotAttributeName::CreateVolumePermission)
                .operation_type(OperationType::Add)
                .set_user_ids((!users.is_empty()).then(|| users.clone()))
                .set_group_names((!groups.is_empty()).then(|| groups.clone()));
            stage.cx.cancel.run(call.send()).await?.named("ModifySnapshotAttribute")?;
        }
    }
    Ok(())
}

async fn modify(
    stage: &Stage<'_>,
    image: &RegionalImage,
    what: &str,
    set: impl FnOnce(ModifyImageAttributeFluentBuilder) -> ModifyImageAttributeFluentBuilder,
) -> Result<(), BuildError> {
    stage.cx.events.say(format!("Modifying attributes on AMI ({})...", image.id));
    stage.cx.events.message(format!("Modifying: {what}"));
    let call = set(stage.cloud.in_region(&image.region).client.modify_image_attribute().image_id(&image.id));
    stage.cx.cancel.run(call.send()).await?.named("ModifyImageAttribute").map_err(|e| {
        BuildError::failed(format!("Error modify AMI attributes: {e} ({what} of {} in {})", image.id, image.region))
    })?;
    Ok(())
}
