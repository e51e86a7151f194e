//! The security group that lets the communicator in.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, ResourceType};
use builder_core::BuildError;
use builder_core::ledger::{Created, Lifetime, NewResource};

use super::network::Network;
use super::{Stage, filter, filters, in_words, once_visible, unsure};
use crate::api_error::{ApiError, Named as _};
use crate::config::SecurityGroups;
use crate::{mark, reclaim};

/// The ids of the instance's security groups; makes a temporary one if the template names none.
pub(crate) async fn security_groups(
    stage: &Stage<'_>,
    network: &Network,
    port: Option<u16>,
    tags: &[(String, String)],
) -> Result<Vec<String>, BuildError> {
    match &stage.settings.security_groups {
        SecurityGroups::Ids(ids) => {
            let call = stage.home.client.describe_security_groups().set_group_ids(Some(ids.clone())).send();
            stage
                .cx
                .cancel
                .run(call)
                .await?
                .named("DescribeSecurityGroups")
                .map_err(|e| BuildError::failed(format!("Couldn't find specified security group: {e}")))?;
            Ok(ids.clone())
        }
        SecurityGroups::Filter(wanted) => {
            let mut all = filters(wanted);
            all.extend(network.vpc.as_deref().map(|vpc| filter("vpc-id", vpc)));
            let call = stage.home.client.describe_security_groups().set_filters(Some(all)).send();
            let found = stage.cx.cancel.run(call).await?.named("DescribeSecurityGroups")?;
            let ids: Vec<_> =
                found.security_groups.unwrap_or_default().into_iter().filter_map(|g| g.group_id).collect();
            if ids.is_empty() {
                return Err(BuildError::failed(format!(
                    "Couldn't find security groups for filter: {}",
                    in_words(wanted)
                )));
            }
            stage.cx.events.message(format!("Found Security Group(s): {}", ids.join(", ")));
            Ok(ids)
        }
        SecurityGroups::Temporary { cidrs } => {
            let id = Box::pin(temporary(stage, network, tags)).await?;
            if let Some(port) = port {
                authorize(stage, &id, port, cidrs).await?;
            }
            Ok(vec![id])
        }
    }
}

async fn temporary(stage: &Stage<'_>, network: &Network, tags: &[(String, String)]) -> Result<String, BuildError> {
    let cx = stage.cx;
    let name = reclaim::temporary_name(&cx.build_id);
    cx.events.say(format!("Creating temporary security group for this instance: {name}"));
    let new = NewResource {
        kind: reclaim::SECURITY_GROUP,
        name: name.clone(),
        region: stage.home.name.clone(),
        lifetime: Lifetime::Temporary,
        details: BTreeMap::new(),
    };
    let call = async {
        let call = stage
            .home
            .client
            .create_security_group()
            .group_name(&name)
            .description("Temporary group for Gaia")
            .set_vpc_id(network.vpc.clone())
            .set_tag_specifications(mark::specification(ResourceType::SecurityGroup, tags).map(|s| vec![s]));
        let id = match call.send().await.named("CreateSecurityGroup") {
            Ok(made) => made.group_id.ok_or_else(|| ApiError::incomplete("CreateSecurityGroup", "group id"))?,
            // A lost answer, and the SDK asked again: nobody else has this name.
            Err(e) if e.is(&["InvalidGroup.Duplicate"]) => {
                let found = reclaim::find_security_group(stage.home, &cx.build_id, &name).await.map_err(unsure)?;
                found.ok_or_else(|| unsure(e))?
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Created { id: id.clone(), value: id })
    };
    Box::pin(stage.create(new, call)).await
}

async fn authorize(stage: &Stage<'_>, group: &str, port: u16, cidrs: &[String]) -> Result<(), BuildError> {
    stage
        .cx
        .events
        .say(format!("Authorizing access to port {port} from {} in the temporary security group...", cidrs.join(", ")));
    let (v6, v4): (Vec<_>, Vec<_>) = cidrs.iter().partition(|cidr| cidr.contains(':'));
    let permission = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port.into())
        .to_port(port.into())
        .set_ip_ranges(some(v4.iter().map(|cidr| IpRange::builder().cidr_ip(*cidr).build()).collect()))
        .set_ipv6_ranges(some(v6.iter().map(|cidr| Ipv6Range::builder().cidr_ipv6(*cidr).build()).collect()))
        .build();
    let client = &stage.home.client;
    let call = || async {
        let call = client.authorize_security_group_ingress().group_id(group).ip_permissions(permission.clone());
        match call.send().await.named("AuthorizeSecurityGroupIngress") {
            // A lost answer, and the SDK asked again.
            Err(e) if e.is(&["InvalidPermission.Duplicate"]) => Ok(()),
            result => result.map(drop),
        }
    };
    Ok(once_visible(stage.cx, &["InvalidGroup.NotFound", "InvalidGroupId.NotFound"], call).await?)
}

/// A list for the SDK, which sends an empty one as something.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
