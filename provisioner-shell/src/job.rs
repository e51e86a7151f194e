//! One run of the provisioner on a machine: each script is taken there, run, judged and removed.
//!
//! Packer's steps in fewer round trips: the mode goes with the upload, and one `rm` takes away all that was brought.

use std::time::Duration;

use builder_core::communicator::{exec_capture, exec_with_events};
use builder_core::{
    BuildContext, BuildError, CommunicatorError, EventKind, ExitStatus, GoDuration, Machine, RenderData, Upload,
};
use tokio::time::{Instant, timeout};

use crate::Shell;
use crate::render::until_stable;
use crate::script::Script;

/// How often in a row a machine that answers may refuse.
const REFUSED_TRIES: u32 = 5;

/// How long to wait before the next try.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// How long one try of a small thing may take: a new connection, an `rm`.
const TRY: Duration = Duration::from_secs(30);

/// How long an `rm` may hold up the end of a build that has failed or was cancelled.
const LAST_RM: Duration = Duration::from_secs(5);

/// How much of what `rm` says is shown.
const RM_OUTPUT: usize = 4096;

/// Names on the machine.
#[derive(Debug)]
pub(crate) struct Remote {
    script: String,
    /// The file of variables.
    variables: String,
}

impl Remote {
    fn choose(shell: &Shell, cx: &BuildContext) -> Self {
        let folder = &shell.remote_folder;
        let script = if shell.remote_path.is_empty() {
            format!("{folder}/script_{}.sh", cx.names.below(9999))
        } else {
            shell.remote_path.clone()
        };
        Self { script, variables: format!("{folder}/varfile_{}.sh", cx.names.below(9999)) }
    }
}

/// A run with everything rendered.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    shell: &'a Shell,
    cx: &'a BuildContext,
    machine: &'a Machine,
    remote: &'a Remote,
    scripts: Vec<Script<'a>>,
    /// The variables, as the config wants them written.
    variables: String,
    /// The command that runs a script.
    command: String,
}

impl<'a> Job<'a> {
    /// Renders all that is a template, so that an error in one comes before anything has changed on the machine.
    pub(crate) fn new(shell: &'a Shell, cx: &'a BuildContext, machine: &'a Machine) -> Result<Self, BuildError> {
        let data = RenderData::default().with_build(&machine.build_vars);
        let scripts = shell.scripts.render(cx, &data)?;
        let variables = shell.environment.render(cx, machine, &data)?;
        let remote = shell.remote.get_or_init(|| Remote::choose(shell, cx));
        let data = RenderData::default()
            .with("Path", &remote.script)
            .with("Vars", &variables)
            .with("EnvVarFile", if shell.use_env_var_file { &remote.variables } else { "" })
            .with_build(&machine.build_vars);
        let command = until_stable(&shell.execute_command, cx, &data)?;
        Ok(Self { shell, cx, machine, remote, scripts, variables, command })
    }

    /// Runs the scripts. After an error nothing that was brought stays, as far as the machine can still be reached.
    pub(crate) async fn run(&self) -> Result<(), BuildError> {
        for script in &self.scripts {
            self.cx.events.say(format!("Provisioning with shell script: {}", script.name()));
            let upload = script.load().await?;
            let ran = self.run_one(&script.name(), &upload).await;
            if ran.is_err() && !self.shell.skip_clean {
                self.remove_in_passing().await;
            }
            ran?;
        }
        Ok(())
    }

    async fn run_one(&self, name: &str, upload: &Upload) -> Result<(), BuildError> {
        // Both in one try: a restart in between may have emptied the folder.
        let start = || async {
            self.upload(upload).await?;
            exec_with_events(&*self.machine.communicator, &self.command, &self.cx.events).await
        };
        let status = self.retry(&format!("cannot start the script {name}"), false, start).await?;
        self.shell.valid_exits.check(&status)?;
        if self.shell.skip_clean {
            return Ok(());
        }
        self.remove(status == ExitStatus::Missing).await
    }

    async fn upload(&self, script: &Upload) -> Result<(), CommunicatorError> {
        let communicator = &self.machine.communicator;
        if self.shell.use_env_var_file {
            let variables = Upload::Bytes(self.variables.clone().into_bytes());
            communicator.upload(variables, &self.remote.variables, 0o600).await?;
        }
        communicator.upload(script.clone(), &self.remote.script, 0o755).await
    }

    /// A script that was `disconnected` may have restarted the machine: then this waits until the machine is back.
    async fn remove(&self, disconnected: bool) -> Result<(), BuildError> {
        let path = &self.remote.script;
        let rm = || async {
            match within(TRY, exec_capture(&*self.machine.communicator, &self.rm(), RM_OUTPUT)).await? {
                (ExitStatus::Missing, _) => Err(CommunicatorError::lost(ExitStatus::Missing.to_string())),
                ended => Ok(ended),
            }
        };
        match self.retry(&format!("Error removing temporary script at {path}"), disconnected, rm).await? {
            (ExitStatus::Code(0), _) => Ok(()),
            (status, output) => {
                let output = output.trim();
                let why = if output.is_empty() { status.to_string() } else { output.replace("\r\n", "\n") };
                Err(BuildError::failed(format!(
                    "Error removing temporary script at {path}: {why}; set \"skip_clean\": true to leave it there"
                )))
            }
        }
    }

    /// Removes what was brought if that is quick, under the clean-up's cancellation.
    async fn remove_in_passing(&self) {
        let rm = self.rm();
        let work = within(LAST_RM, exec_capture(&*self.machine.communicator, &rm, RM_OUTPUT));
        if !matches!(self.cx.for_cleanup().cancel.run(work).await, Ok(Ok((ExitStatus::Code(0), _)))) {
            self.cx.events.warning(format!("the script may still be on the machine, at {}", self.remote.script));
        }
    }

    fn rm(&self) -> String {
        let script = quoted(&self.remote.script);
        if self.shell.use_env_var_file {
            format!("rm -f {script} {}", quoted(&self.remote.variables))
        } else {
            format!("rm -f {script}")
        }
    }

    /// Tries until it works, for `start_retry_timeout`, and connects anew if the connection is `lost`. A machine that answers and
    /// refuses is believed after a few tries. A try is not cut off when the time is up, since it may be a script that runs
    /// for hours; the communicator ends one that hangs.
    async fn retry<T, F>(&self, doing: &str, mut lost: bool, attempt: impl Fn() -> F) -> Result<T, BuildError>
    where
        F: Future<Output = Result<T, CommunicatorError>>,
    {
        let started = Instant::now();
        let mut refused = 0;
        loop {
            let tried = async {
                if lost {
                    within(TRY, self.machine.communicator.reconnect()).await?;
                }
                attempt().await
            };
            let error = match self.cx.cancel.run(tried).await? {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            refused = if error.lost { 0 } else { refused + 1 };
            if refused == REFUSED_TRIES {
                return Err(BuildError::failed(format!("{doing}: {error}")));
            }
            if started.elapsed() + RETRY_EVERY > self.shell.start_retry_timeout {
                let tried_for = GoDuration::from_secs(started.elapsed().as_secs().try_into().unwrap_or(i64::MAX));
                return Err(BuildError::failed(format!(
                    "{doing}: {error} (tried for {tried_for}; raise `start_retry_timeout` if the machine needs longer)"
                )));
            }
            lost = error.lost;
            self.cx.events.waiting(format!("the machine: {error}"));
            let slept = self.cx.cancel.sleep(RETRY_EVERY).await;
            self.cx.events.emit(EventKind::WaitEnded);
            slept?;
        }
    }
}

/// The result of a remote call, if it comes in time.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, CommunicatorError>>,
) -> Result<T, CommunicatorError> {
    let late = |_| Err(CommunicatorError::lost(format!("no answer within {} seconds", limit.as_secs())));
    timeout(limit, call).await.unwrap_or_else(late)
}

/// A path as one word of a POSIX shell; a `~` at its start keeps its meaning.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,~".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r#"'"'"'"#)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        let rows = [
            ("/tmp/script_1.sh", "/tmp/script_1.sh"),
            ("~/x", "~/x"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("/tmp/$(x)", "'/tmp/$(x)'"),
            ("/tmp/it's", r#"'/tmp/it'"'"'s'"#),
        ];
        for (path, expected) in rows {
            assert_eq!(quoted(path), expected);
        }
    }
}
