//! The config of the shell provisioner, and what may not be said in it.

use std::sync::OnceLock;
use std::time::Duration;

use builder_core::{Deferred, DeferredMap, GoDuration, Problems};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Shell;
use crate::environment::{Environment, Format};
use crate::exit::ValidExits;
use crate::script::{File, Scripts};

/// The options of Packer's `shell`. An empty value is an unset one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Packer's")]
pub struct Config {
    /// Lines that make one script; rendered when it runs, with the answers of `build`.
    pub inline: Vec<Deferred>,
    /// A script of this host.
    pub script: String,
    /// Scripts of this host, run in order.
    pub scripts: Vec<String>,
    /// Variables as `name=value`; rendered when the script runs.
    pub environment_vars: Vec<Deferred>,
    /// Variables; they win over `environment_vars`.
    pub env: DeferredMap,
    /// How a variable is written, the first `%s` for its name and the second for its value. Default `%s='%s' `, in a file of
    /// variables `export %s='%s'\n`.
    pub env_var_format: String,
    /// The command that runs a script; knows `{{.Path}}`, `{{.Vars}}` and `{{.EnvVarFile}}`. Default
    /// `chmod +x {{.Path}}; {{.Vars}} {{.Path}}`, with a file of variables
    /// `chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}`.
    pub execute_command: Deferred,
    /// What runs an inline script, without the `#!`. Default `/bin/sh -e`.
    pub inline_shebang: String,
    /// The folder on the machine that scripts go to. Default `/tmp`.
    pub remote_folder: String,
    /// The name of the script there. Default `script_<number>.sh`.
    pub remote_file: String,
    /// Folder and name at once; wins over both.
    pub remote_path: String,
    /// Exit codes that are a success; 2300218 stands for a lost connection. Default 0.
    pub valid_exit_codes: Vec<i64>,
    /// How long to try to get a script onto the machine and started, and to remove it. Default 5 minutes.
    pub start_retry_timeout: GoDuration,
    /// A script may end the connection, as a restart does.
    pub expect_disconnect: bool,
    /// Leaves the script on the machine.
    pub skip_clean: bool,
    /// Takes the variables to the machine in a file that only the user can read, not on the command line.
    pub use_env_var_file: bool,
    /// Waits this long when every script has run.
    pub pause_after: GoDuration,
    /// Takes the script as it is; else CR LF becomes LF.
    pub binary: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            inline: Vec::new(),
            script: String::new(),
            scripts: Vec::new(),
            environment_vars: Vec::new(),
            env: DeferredMap::new(),
            env_var_format: String::new(),
            execute_command: Deferred::new(""),
            inline_shebang: String::new(),
            remote_folder: String::new(),
            remote_file: String::new(),
            remote_path: String::new(),
            valid_exit_codes: Vec::new(),
            start_retry_timeout: GoDuration::default(),
            expect_disconnect: false,
            skip_clean: false,
            use_env_var_file: false,
            pause_after: GoDuration::default(),
            binary: false,
        }
    }
}

const START_RETRY_TIMEOUT: Duration = Duration::from_mins(5);

impl Config {
    /// Checks everything and fills in the defaults.
    pub(crate) fn prepare(self) -> Result<Shell, Problems> {
        let mut problems = Problems::default();
        self.check_scripts(&mut problems);
        for (option, duration) in [("start_retry_timeout", self.start_retry_timeout), ("pause_after", self.pause_after)]
        {
            if duration.0.is_negative() {
                problems.add(option, format!("{option} cannot be negative, as {duration} is"));
            }
        }
        let (default_format, default_command) = if self.use_env_var_file {
            ("export %s='%s'\n", "chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}")
        } else {
            ("%s='%s' ", "chmod +x {{.Path}}; {{.Vars}} {{.Path}}")
        };
        let format = Format::parse(or(&self.env_var_format, default_format)).unwrap_or_else(|why| {
            problems.add("env_var_format", why);
            Format::default()
        });
        let environment = Environment { vars: self.environment_vars, map: self.env, format };
        environment.check(&mut problems);

        let remote_folder = or(&self.remote_folder, "/tmp").to_owned();
        let remote_path = if self.remote_path.is_empty() && !self.remote_file.is_empty() {
            format!("{remote_folder}/{}", self.remote_file)
        } else {
            self.remote_path
        };
        let execute_command =
            if self.execute_command.template.is_empty() { default_command.into() } else { self.execute_command };
        let scripts = if self.inline.is_empty() {
            let one = (!self.script.is_empty()).then(|| ("script".to_owned(), self.script));
            let many = self.scripts.into_iter().enumerate().map(|(i, path)| (format!("scripts[{i}]"), path));
            let file = |(option, path): (String, String)| File { option, path: path.into(), binary: self.binary };
            Scripts::Files(one.into_iter().chain(many).map(file).collect())
        } else {
            Scripts::Inline { lines: self.inline, shebang: self.inline_shebang, binary: self.binary }
        };
        problems.ok(Shell {
            scripts,
            environment,
            execute_command,
            remote_folder,
            remote_path,
            remote: OnceLock::new(),
            valid_exits: ValidExits::new(self.valid_exit_codes, self.expect_disconnect),
            start_retry_timeout: self.start_retry_timeout.positive().unwrap_or(START_RETRY_TIMEOUT),
            use_env_var_file: self.use_env_var_file,
            skip_clean: self.skip_clean,
            pause_after: self.pause_after,
        })
    }

    /// Packer's rules, in its words.
    fn check_scripts(&self, problems: &mut Problems) {
        let files = !self.script.is_empty() || !self.scripts.is_empty();
        if !self.script.is_empty() && !self.scripts.is_empty() {
            problems.add("scripts", "Only one of script or scripts can be specified.");
        }
        match (files, !self.inline.is_empty()) {
            (false, false) => {
                problems.add("", "Either a script file or inline script must be specified.");
            }
            (true, true) => {
                problems.add("inline", "Only a script file or an inline script can be specified, not both.");
            }
            _ => {}
        }
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
