//! Where the instance is launched: VPC, subnet, zone.

use aws_sdk_ec2::types::Subnet as Ec2Subnet;
use builder_core::BuildError;

use super::{Stage, filter, filters, in_words};
use crate::api_error::Named as _;
use crate::config::{SecurityGroups, Subnet, SubnetFilter, Vpc};

/// The network of a build; what is `None` EC2 chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// The VPC of the temporary security group.
    pub(crate) vpc: Option<String>,
    /// The subnet of the instance.
    pub(crate) subnet: Option<String>,
}

/// Finds the network. Asks EC2 only for what the template does not say.
pub(crate) async fn network(stage: &Stage<'_>) -> Result<Network, BuildError> {
    let settings = stage.settings;
    let mut vpc = match &settings.vpc {
        Vpc::Default => None,
        Vpc::Id(id) => Some(id.clone()),
        Vpc::Filter(filters) => Some(find_vpc(stage, filters).await?),
    };
    let subnet = match &settings.subnet {
        Subnet::Id(id) => Some(id.clone()),
        Subnet::Filter(wanted) => Some(find_subnet(stage, wanted, vpc.as_deref()).await?),
        Subnet::Default if settings.public_ip.is_some() || vpc.is_some() => {
            default_subnet(stage, vpc.as_deref()).await?
        }
        Subnet::Default => None,
    };
    if vpc.is_some() && subnet.is_none() {
        let vpc = vpc.unwrap_or_default();
        return Err(BuildError::failed(format!(
            "Error: subnet_id or subnet_filter must be provided for non-default VPCs ({vpc})"
        )));
    }
    let groups_need_it = !matches!(settings.security_groups, SecurityGroups::Ids(_));
    if let (None, Some(subnet), true) = (&vpc, &subnet, groups_need_it) {
        let found = describe(stage, stage.home.client.describe_subnets().subnet_ids(subnet)).await?;
        vpc = found.first().and_then(|s| s.vpc_id.clone());
    }
    Ok(Network { vpc, subnet })
}

async fn find_vpc(stage: &Stage<'_>, wanted: &indexmap::IndexMap<String, String>) -> Result<String, BuildError> {
    let call = stage.home.client.describe_vpcs().set_filters(Some(filters(wanted))).send();
    let found = stage.cx.cancel.run(call).await?.named("DescribeVpcs")?.vpcs.unwrap_or_default();
    let ids: Vec<_> = found.into_iter().filter_map(|v| v.vpc_id).collect();
    let [id] = ids.as_slice() else {
        return Err(BuildError::failed(format!(
            "Exactly one VPC should match the filter, but {} VPC's was found matching filters: {}",
            ids.len(),
            in_words(wanted)
        )));
    };
    stage.cx.events.message(format!("Found VPC ID: {id}"));
    Ok(id.clone())
}

async fn find_subnet(stage: &Stage<'_>, wanted: &SubnetFilter, vpc: Option<&str>) -> Result<String, BuildError> {
    let mut all = filters(&wanted.filters);
    all.push(filter("state", "available"));
    all.extend(vpc.map(|vpc| filter("vpc-id", vpc)));
    all.extend(stage.settings.availability_zone.as_deref().map(|zone| filter("availabilityZone", zone)));
    let mut found = describe(stage, stage.home.client.describe_subnets().set_filters(Some(all))).await?;
    if found.is_empty() {
        return Err(BuildError::failed(format!(
            "No Subnets was found matching filters: {}",
            in_words(&wanted.filters)
        )));
    }
    if found.len() > 1 && !wanted.most_free && !wanted.random {
        return Err(BuildError::failed(format!(
            "Your filter matched {} Subnets. Please try a more specific search, or set random or most_free to true.",
            found.len()
        )));
    }
    let chosen = if wanted.most_free {
        most_free(found)
    } else {
        let n = usize::try_from(stage.cx.names.below(found.len() as u64)).unwrap_or_default();
        Some(found.swap_remove(n))
    };
    let id = chosen.and_then(|s| s.subnet_id).ok_or_else(|| BuildError::failed("a subnet without an id was found"))?;
    stage.cx.events.message(format!("Found Subnet ID: {id}"));
    Ok(id)
}

/// A subnet for a public address when the template names none: a default subnet with room. Not finding one is not an error: the
/// address is then as the VPC gives it.
async fn default_subnet(stage: &Stage<'_>, vpc: Option<&str>) -> Result<Option<String>, BuildError> {
    // The subnets of a VPC of the user's own are not default ones; with a public address any of them will do.
    let mut all = vec![filter("state", "available")];
    all.extend(vpc.map(|vpc| filter("vpc-id", vpc)));
    if vpc.is_none() || stage.settings.public_ip.is_none() {
        all.push(filter("default-for-az", "true"));
    }
    all.extend(stage.settings.availability_zone.as_deref().map(|zone| filter("availabilityZone", zone)));
    let found = describe(stage, stage.home.client.describe_subnets().set_filters(Some(all))).await?;
    let id = most_free(found).and_then(|s| s.subnet_id);
    match &id {
        Some(id) => stage.cx.events.message(format!("Set subnet as {id:?}")),
        None if vpc.is_some() => {}
        None => stage.cx.events.warning(
            "associate_public_ip_address is set without a subnet_id, and there is no default subnet: the instance gets a public \
             address only if its subnet gives one",
        ),
    }
    Ok(id)
}

fn most_free(subnets: Vec<Ec2Subnet>) -> Option<Ec2Subnet> {
    subnets.into_iter().max_by_key(|s| s.available_ip_address_count().unwrap_or_default())
}

async fn describe(
    stage: &Stage<'_>,
    call: aws_sdk_ec2::operation::describe_subnets::builders::DescribeSubnetsFluentBuilder,
) -> Result<Vec<Ec2Subnet>, BuildError> {
    let mut pages = call.into_paginator().send();
    let mut subnets = Vec::new();
    while let Some(page) = stage.cx.cancel.run(pages.next()).await? {
        subnets.extend(page.named("DescribeSubnets")?.subnets.unwrap_or_default());
    }
    Ok(subnets)
}
