//! The provisioners of a build: pauses, timeouts, retries, and the one that runs after an error.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::build::caught;
use super::{Answer, OnError, PlannedBuild, PlannedProvisioner, Run};
use crate::communicator::Machine;
use crate::context::BuildContext;
use crate::decode::GoDuration;
use crate::error::BuildError;
use crate::event::EventKind;
use crate::plugin::Provision;

/// What a builder calls when its machine can be reached.
pub(super) struct Hook<'a> {
    planned: &'a PlannedBuild,
    run: &'a Run,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The machine, once there is one: the error-cleanup-provisioner runs on it.
    machine: Option<Machine>,
    /// What somebody said who was asked already.
    answer: Option<Answer>,
}

impl<'a> Hook<'a> {
    pub(super) fn new(planned: &'a PlannedBuild, run: &'a Run) -> Self {
        Self { planned, run, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.state().answer
    }

    /// Runs the error-cleanup-provisioner, if there is one and a machine to run it on. Its own failure is told, no more.
    pub(super) async fn run_error_cleanup(&self, cx: &BuildContext) {
        let (Some(provisioner), Some(machine)) = (&self.planned.error_cleanup, self.state().machine.clone()) else {
            return;
        };
        cx.events.say("Provisioning step had errors: Running the cleanup provisioner, if present...");
        if let Err(e) = one(provisioner, cx, &machine).await {
            cx.events.error(format!("the error-cleanup-provisioner failed: {e}"));
        }
    }

    async fn all(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
        for provisioner in &self.planned.provisioners {
            cx.cancel.check()?;
            one(provisioner, cx, machine).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Provision for Hook<'_> {
    async fn provision(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
        self.state().machine = Some(machine.clone());
        loop {
            let Err(error) = self.all(cx, machine).await else { return Ok(()) };
            if error.is_cancelled() || self.run.on_error != OnError::Ask {
                return Err(error);
            }
            match self.run.ask.ask(&self.planned.name, &error.to_string(), true).await {
                Some(Answer::Retry) => {}
                answer => {
                    // Ctrl-C may have been the answer.
                    cx.cancel.check()?;
                    self.state().answer = Some(answer.unwrap_or(Answer::Cleanup));
                    return Err(error);
                }
            }
        }
    }
}

/// One provisioner with what the template says around it. Pause and timeout hold for each try.
async fn one(planned: &PlannedProvisioner, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
    let mut tries_left = planned.max_retries;
    loop {
        let Err(error) = attempt(planned, cx, machine).await else { return Ok(()) };
        if error.is_cancelled() || planned.max_retries == 0 {
            return Err(error);
        }
        if tries_left == 0 {
            // The last error, not the first as in Packer: it is the one that the user can act on.
            return Err(BuildError::failed(format!("retry limit reached: {error}")));
        }
        cx.events.say(format!("Provisioner failed with \"{error}\", retrying with {tries_left} trie(s) left"));
        tries_left -= 1;
    }
}

async fn attempt(planned: &PlannedProvisioner, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
    if let Some(pause) = planned.pause_before {
        cx.events.say(format!("Pausing {} before the next provisioner...", go(pause)));
        cx.events.waiting(format!("the pause of {}", go(pause)));
        let slept = cx.cancel.sleep(pause).await;
        cx.events.emit(EventKind::WaitEnded);
        slept?;
    }
    let work = caught(planned.provisioner.it.provision(cx, machine));
    let Some(timeout) = planned.timeout else { return work.await };
    cx.events.say(format!("Setting a {} timeout for the next provisioner...", go(timeout)));
    // Dropping the work ends it: a communicator ends its remote command when its future is dropped.
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        cx.events.error("Cancelling provisioner after a timeout...");
        Err(BuildError::failed(format!(
            "provisioner `{}` was still running after its timeout of {}",
            planned.kind,
            go(timeout)
        )))
    })
}

fn go(duration: std::time::Duration) -> GoDuration {
    GoDuration(jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX))
}
