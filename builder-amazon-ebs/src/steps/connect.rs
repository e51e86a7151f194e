//! The way in: where the instance can be reached, and what provisioners may know of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Instance, InstanceNetworkInterface};
use builder_core::{AddressSource, BuildError, Cancel, Communicator, Connector, Machine, Target};

use super::Stage;
use super::find::Source;
use super::key_pair::Key;
use crate::cloud::Regional;
use crate::config::Interface;
use crate::poller::{Instances, Watched as _};

/// An instance's address, asked for anew until there is one: a public address may come after the instance runs.
#[derive(Debug)]
struct InstanceAddress {
    region: Arc<Regional>,
    id: String,
    interface: Option<Interface>,
    /// Whether to wait for a public address, for a few looks.
    public: bool,
    looks: AtomicU32,
    /// The last answer.
    last: Mutex<Option<String>>,
    cancel: Cancel,
}

/// A public address may come a moment after the instance runs; after this many looks the private one will do, as in Packer.
const LOOKS_FOR_PUBLIC: u32 = 3;

#[async_trait]
impl AddressSource for InstanceAddress {
    async fn address(&self) -> Result<Option<String>, BuildError> {
        let seen = self.cancel.run(Instances::look(&self.region.client, vec![self.id.clone()])).await??;
        let Some((_, instance)) = seen.first() else { return Ok(None) };
        let looks = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let address = match self.interface {
            None if self.public && looks < LOOKS_FOR_PUBLIC => address(instance, Some(Interface::PublicIp)),
            interface => address(instance, interface),
        };
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&address);
        Ok(address)
    }
}

/// The address of an interface; unasked, the public one if there is one.
fn address(instance: &Instance, interface: Option<Interface>) -> Option<String> {
    let chosen = match interface {
        None => instance.public_ip_address().or(instance.private_ip_address()),
        Some(Interface::PublicIp) => instance.public_ip_address(),
        Some(Interface::PrivateIp) => instance.private_ip_address(),
        Some(Interface::PublicDns) => instance.public_dns_name(),
        Some(Interface::PrivateDns) => instance.private_dns_name(),
        Some(Interface::Ipv6) => {
            let on_card =
                || instance.network_interfaces().iter().flat_map(InstanceNetworkInterface::ipv6_addresses).next();
            instance.ipv6_address().or_else(|| on_card()?.ipv6_address())
        }
    };
    chosen.filter(|address| !address.is_empty()).map(str::to_owned)
}

/// Connects to the instance.
pub(crate) async fn connect(
    stage: &Stage<'_>,
    connector: &dyn Connector,
    instance: &Instance,
    source: &Source,
    key: &Key,
) -> Result<Machine, BuildError> {
    let id = instance.instance_id().unwrap_or_default().to_owned();
    let found = InstanceAddress {
        region: stage.home.clone(),
        id: id.clone(),
        interface: stage.settings.interface,
        public: stage.settings.public_ip != Some(false),
        looks: AtomicU32::new(0),
        last: Mutex::default(),
        cancel: stage.cx.cancel.clone(),
    };
    let given = connector.host().map(str::to_owned);
    let address: &dyn AddressSource = match &given {
        Some(host) => host,
        None => &found,
    };
    let communicator: Arc<dyn Communicator> =
        connector.connect(stage.cx, Target { address, private_key: key.private.clone() }).await?;

    let last = || found.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let host = given.clone().or_else(last).unwrap_or_default();
    Ok(Machine::new(stage.cx, communicator, connector, (&id, &host), source.build_vars()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_of_the_interface() {
        let instance = Instance::builder()
            .public_ip_address("203.0.113.1")
            .private_ip_address("10.0.0.1")
            .public_dns_name("")
            .private_dns_name("ip-10-0-0-1.internal")
            .ipv6_address("2001:db8::1")
            .build();
        let private = Instance::builder().private_ip_address("10.0.0.1").build();
        let rows = [
            (&instance, None, Some("203.0.113.1")),
            (&private, None, Some("10.0.0.1")),
            (&private, Some(Interface::PublicIp), None),
            (&instance, Some(Interface::PrivateIp), Some("10.0.0.1")),
            (&instance, Some(Interface::PublicDns), None),
            (&instance, Some(Interface::PrivateDns), Some("ip-10-0-0-1.internal")),
            (&instance, Some(Interface::Ipv6), Some("2001:db8::1")),
        ];
        for (instance, interface, expected) in rows {
            assert_eq!(address(instance, interface).as_deref(), expected, "{interface:?}");
        }
    }
}
