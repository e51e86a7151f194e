//! Looking before anything is made: region names, the AMI's name, the source image.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{DeviceType, Image};
use builder_core::render::Field;
use builder_core::source::nearest;
use builder_core::{BuildError, RenderData};

use super::{Stage, filter, filters, in_words};
use crate::api_error::Named as _;
use crate::config::{AmiFilter, ImageSource};

/// The image that a build starts from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its id.
    pub(crate) id: String,
    /// The rest of what EC2 says.
    pub(crate) image: Image,
    region: String,
}

impl Source {
    /// The fields that tags and descriptions may name.
    pub(crate) fn data(&self) -> RenderData {
        let image = &self.image;
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let tags = image.tags().iter().map(|t| (text(t.key()), text(t.value()))).collect();
        let mut data = RenderData::default()
            .with("BuildRegion", &self.region)
            .with("SourceAMI", &self.id)
            .with("SourceAMIName", text(image.name()))
            .with("SourceAMICreationDate", text(image.creation_date()))
            .with("SourceAMIOwner", text(image.owner_id()))
            .with("SourceAMIOwnerName", text(image.image_owner_alias()));
        data.fields.insert("SourceAMITags".to_owned(), Field::Map(tags));
        data
    }

    /// The same for the template's `build` function, but for the tags.
    pub(crate) fn build_vars(&self) -> BTreeMap<String, String> {
        let text = |(name, field)| match field {
            Field::Text(text) => Some((name, text)),
            Field::Map(_) => None,
        };
        self.data().fields.into_iter().filter_map(text).collect()
    }
}

/// Checks that every region exists.
pub(crate) async fn regions(stage: &Stage<'_>) -> Result<(), BuildError> {
    // The build region needs no check: every other call goes there.
    let elsewhere = stage.settings.copy_to.iter().any(|region| *region != stage.home.name);
    if !stage.settings.check_regions || !elsewhere {
        return Ok(());
    }
    let call = stage.home.client.describe_regions().send();
    let known = stage.cx.cancel.run(call).await?.named("DescribeRegions")?;
    let known: Vec<&str> = known.regions().iter().filter_map(|r| r.region_name()).collect();
    let unknown: Vec<_> = stage.settings.copy_to.iter().filter(|r| !known.contains(&r.as_str())).collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let near = nearest(first, known.iter().copied()).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
    let unknown = unknown.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ");
    Err(BuildError::failed(format!(
        "error validating regions: Invalid region(s): {unknown}, available regions: {}{near}",
        known.join(", ")
    )))
}

/// Checks that no image of the account has the AMI's name, in the build region and wherever it will be copied to. Where it is to
/// be replaced, gives those that have it, by region.
pub(crate) async fn name(stage: &Stage<'_>) -> Result<Vec<(String, Image)>, BuildError> {
    let settings = stage.settings;
    if settings.skip_image {
        stage.cx.events.say("skip_create_ami was set; not prevalidating AMI name");
        return Ok(Vec::new());
    }
    if settings.replace {
        stage.cx.events.say("Force Deregister flag found, skipping prevalidating AMI Name");
    } else {
        stage.cx.events.say(format!("Prevalidating AMI Name: {}", settings.ami_name));
    }
    let mut regions = vec![&stage.cloud.region];
    regions.extend(settings.copy_to.iter().filter(|r| **r != stage.cloud.region));
    let looks = regions.iter().map(|region| async move {
        let regional = stage.cloud.in_region(region);
        let call = regional.client.describe_images().owners("self").filters(filter("name", &settings.ami_name)).send();
        let images = stage.cx.cancel.run(call).await?.named("DescribeImages")?.images.unwrap_or_default();
        // A filter's value may hold wildcards, which a name may hold too.
        let same = images.into_iter().filter(|i| i.name() == Some(&settings.ami_name));
        Ok::<_, BuildError>(same.map(|image| ((*region).clone(), image)).collect::<Vec<_>>())
    });
    let existing: Vec<_> = futures_util::future::try_join_all(looks).await?.into_iter().flatten().collect();
    match existing.first() {
        Some((region, image)) if !settings.replace => Err(BuildError::failed(format!(
            "Error: AMI Name: '{}' is used by an existing AMI: {} (in {region}); choose another name, deregister it, or build with \
             -force to replace it",
            settings.ami_name,
            image.image_id().unwrap_or_default()
        ))),
        _ => Ok(existing),
    }
}

/// Finds the source image.
pub(crate) async fn source(stage: &Stage<'_>) -> Result<Source, BuildError> {
    let client = &stage.home.client;
    let mut call = client.describe_images();
    let by_id;
    let wanted = match &stage.settings.source {
        ImageSource::Id(id) => {
            by_id = AmiFilter::default();
            call = call.image_ids(id).include_deprecated(true);
            &by_id
        }
        ImageSource::Filter(wanted) => {
            call = call.set_filters(Some(filters(&wanted.filters))).include_deprecated(wanted.include_deprecated);
            if !wanted.owners.is_empty() {
                call = call.set_owners(Some(wanted.owners.clone()));
            }
            wanted
        }
    };
    let mut pages = call.into_paginator().send();
    let mut images = Vec::new();
    while let Some(page) = stage.cx.cancel.run(pages.next()).await? {
        images.extend(page.named("DescribeImages")?.images.unwrap_or_default());
    }
    let image = choose(images, wanted, &stage.settings.source, &stage.home.name)?;
    let Some(id) = image.image_id().map(str::to_owned) else {
        return Err(BuildError::failed("ec2:DescribeImages gave an image without an id"));
    };
    stage.cx.events.message(format!("Found Image ID: {id}"));
    check(stage, &id, &image)?;
    Ok(Source { id, image, region: stage.home.name.clone() })
}

fn choose(mut images: Vec<Image>, wanted: &AmiFilter, source: &ImageSource, region: &str) -> Result<Image, BuildError> {
    let looked_for = match source {
        ImageSource::Id(id) => format!("id {id}"),
        ImageSource::Filter(f) => format!("filters: {}, owners: {}", in_words(&f.filters), f.owners.join(",")),
    };
    // ISO 8601 sorts by time.
    images.sort_by(|a, b| a.creation_date().cmp(&b.creation_date()));
    match images.len() {
        0 => Err(BuildError::failed(format!(
            "No AMI was found matching {looked_for} in {region}; check the name, the owner and the region"
        ))),
        n if n > 1 && !wanted.most_recent => {
            let newest = images.iter().rev().take(3).filter_map(|i| Some(format!("{} ({})", i.image_id()?, i.name()?)));
            Err(BuildError::failed(format!(
                "Your query returned more than one result. Please try a more specific search, or set most_recent to true. \
                 {n} images match {looked_for}, the newest being {}",
                newest.collect::<Vec<_>>().join(", ")
            )))
        }
        _ => images.pop().ok_or_else(|| BuildError::failed("no image")),
    }
}

fn check(stage: &Stage<'_>, id: &str, image: &Image) -> Result<(), BuildError> {
    if let Some(kind) = image.root_device_type().filter(|kind| **kind != DeviceType::Ebs) {
        return Err(BuildError::failed(format!(
            "The provided source AMI has an invalid root device type.\nExpected 'ebs', got '{kind}'. ({id})"
        )));
    }
    let virtualization = image.virtualization_type().map_or("hvm", |v| v.as_str());
    let enhanced = stage.settings.ena_support == Some(true) || stage.settings.sriov_support;
    if enhanced && stage.settings.virtualization_type.as_deref().is_some_and(|v| v != "hvm") {
        let wanted = stage.settings.virtualization_type.as_deref().unwrap_or_default();
        return Err(BuildError::failed(format!(
            "Cannot enable enhanced networking, AMIVirtType '{wanted}' is not HVM"
        )));
    }
    if enhanced && virtualization != "hvm" {
        return Err(BuildError::failed(format!("Cannot enable enhanced networking, source AMI '{id}' is not HVM")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, created: &str) -> Image {
        Image::builder().image_id(id).name(format!("name of {id}")).creation_date(created).build()
    }

    #[test]
    fn one_image_is_chosen_or_the_error_says_what_was_looked_for() {
        let wanted = |most_recent| AmiFilter {
            filters: [("name".to_owned(), "x*".to_owned())].into(),
            owners: vec!["123".into()],
            most_recent,
            include_deprecated: false,
        };
        let two = || vec![image("ami-new", "2026-02-01"), image("ami-old", "2026-01-01")];
        let rows = [
            (
                vec![],
                true,
                Err(
                    "No AMI was found matching filters: name=x*, owners: 123 in r1; check the name, the owner and the region",
                ),
            ),
            (two(), true, Ok("ami-new")),
            (
                two(),
                false,
                Err(
                    "Your query returned more than one result. Please try a more specific search, or set most_recent to true. \
              2 images match filters: name=x*, owners: 123, the newest being ami-new (name of ami-new), ami-old (name of ami-old)",
                ),
            ),
            (vec![image("ami-1", "")], false, Ok("ami-1")),
        ];
        for (images, most_recent, expected) in rows {
            let filter = wanted(most_recent);
            let got = choose(images, &filter, &ImageSource::Filter(filter.clone()), "r1");
            let got = got.map(|i| i.image_id.unwrap()).map_err(|e| e.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        }
    }
}
