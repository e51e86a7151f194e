//! The shell provisioner: runs scripts on the machine, as Packer's `shell` does.
//!
//! `config` checks what the template says, `script` gets the bytes of a script, `environment` writes its variables,
//! `job` takes it to the machine and runs it, `exit` judges how it ended. Nothing here knows a protocol, a cloud or the
//! syntax of templates; pauses before, timeouts and retries of the whole provisioner are the engine's.

mod config;
mod environment;
mod exit;
mod job;
mod render;
mod script;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use builder_core::{
    BuildContext, BuildError, Deferred, GoDuration, Machine, PrepareContext, Problems, Provisioner, ProvisionerPlugin,
};

pub use config::Config;
use environment::Environment;
use exit::ValidExits;
use job::{Job, Remote};
use script::Scripts;

/// A prepared shell provisioner.
#[derive(Debug)]
pub struct Shell {
    scripts: Scripts,
    environment: Environment,
    /// Rendered with `Path`, `Vars` and `EnvVarFile`.
    execute_command: Deferred,
    remote_folder: String,
    /// Empty for a random name in `remote_folder`.
    remote_path: String,
    /// Where things go on the machine, chosen by the first try. A retry takes the same names, so that it overwrites and in
    /// the end removes what a try left that was cut off by its timeout.
    remote: OnceLock<Remote>,
    valid_exits: ValidExits,
    start_retry_timeout: Duration,
    use_env_var_file: bool,
    skip_clean: bool,
    pause_after: GoDuration,
}

builder_core::register_provisioner!(Shell);

impl ProvisionerPlugin for Shell {
    const TYPE: &'static str = "shell";
    const ABOUT: &'static str = "runs scripts on the machine";
    type Config = Config;

    fn prepare(config: Config, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        config.prepare()
    }
}

#[async_trait]
impl Provisioner for Shell {
    async fn preflight(&self) -> Result<(), Problems> {
        self.scripts.preflight().await
    }

    async fn provision(&self, cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
        Job::new(self, cx, machine)?.run().await?;
        if let Some(pause) = self.pause_after.positive() {
            cx.events.say(format!("Pausing {} after this provisioner...", self.pause_after));
            cx.cancel.sleep(pause).await?;
        }
        Ok(())
    }
}
