//! Stopping the instance, and what can only be changed on a stopped one.

use aws_sdk_ec2::types::{AttributeBooleanValue, AttributeValue, Instance};
use builder_core::BuildError;

use super::{Stage, once_visible};
use crate::api_error::Named as _;
use crate::poller::{Step, Wait};

/// Stops the instance and waits until it has stopped.
pub(crate) async fn stop(stage: &Stage<'_>, id: &str) -> Result<(), BuildError> {
    let cx = stage.cx;
    if stage.settings.stop {
        cx.events.say("Stopping the source instance...");
        cx.events.message("Stopping instance, attempt 1");
        let client = &stage.home.client;
        let call = || async { client.stop_instances().instance_ids(id).send().await.named("StopInstances") };
        cx.cancel.run(once_visible(cx, &["InvalidInstanceID.NotFound"], call)).await??;
    } else {
        cx.events.say("Automatic instance stop disabled. Please stop instance manually.");
    }
    cx.events.say("Waiting for the instance to stop...");
    let wait = Wait {
        events: &cx.events,
        cancel: &cx.cancel,
        what: format!("instance {id} to stop"),
        patience: stage.settings.polling.instance,
    };
    stage.home.instances.wait(id, wait, |seen| has_stopped(id, seen)).await?;
    networking(stage, id).await
}

fn has_stopped(id: &str, seen: Option<&Instance>) -> Step<()> {
    let state = seen.and_then(|i| i.state()?.name()).map_or("not visible", |s| s.as_str());
    match state {
        "stopped" => Step::Done(()),
        "terminated" | "shutting-down" => Step::Failed(format!(
            "instance {id} is {state} instead of stopped: nothing is left to make an image of; was it terminated from outside, or by \
             `shutdown_behavior`?"
        )),
        _ => Step::Pending(state.to_owned()),
    }
}

/// Enhanced networking, as far as the template has a word on it.
async fn networking(stage: &Stage<'_>, id: &str) -> Result<(), BuildError> {
    let cx = stage.cx;
    let modify = || stage.home.client.modify_instance_attribute().instance_id(id);
    if stage.settings.sriov_support {
        cx.events.say("Enabling Enhanced Networking (SR-IOV)...");
        let simple = AttributeValue::builder().value("simple").build();
        cx.cancel.run(modify().sriov_net_support(simple).send()).await?.named("ModifyInstanceAttribute")?;
    }
    if let Some(on) = stage.settings.ena_support {
        cx.events.say(format!("{}abling Enhanced Networking (ENA)...", if on { "En" } else { "Dis" }));
        let ena = AttributeBooleanValue::builder().value(on).build();
        cx.cancel.run(modify().ena_support(ena).send()).await?.named("ModifyInstanceAttribute")?;
    }
    Ok(())
}
