//! The command line, as it was typed: commands and flags. What it means is decided by the commands.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use builder_core::engine::OnError;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::argv;

/// Builds machine images from Packer templates
#[derive(Debug, Parser)]
#[command(name = "gaia", disable_version_flag = true, args_override_self = true)]
#[command(
    after_help = "Flags are written with one or two dashes, and values after `=` or a space: -var-file=x, --var-file x."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Colour; on a terminal only, and never with NO_COLOR or PACKER_NO_COLOR
    #[arg(long, global = true, value_name = "BOOL", default_value = "true", value_parser = boolean)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) color: bool,
    /// Lines for programs: UNIX-SECONDS,TARGET,TYPE,DATA...
    #[arg(long, global = true, value_name = "BOOL", default_value = "false", value_parser = boolean)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) machine_readable: bool,
    /// Starts each line of a build with the time
    #[arg(long, global = true, value_name = "BOOL", default_value = "false", value_parser = boolean)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) timestamp_ui: bool,
    /// Writes errors to standard output, as Packer does
    #[arg(long, global = true)]
    pub(crate) errors_to_stdout: bool,
    /// Where the records of builds are kept [env: GAIA_STATE_DIR] [default: $XDG_STATE_HOME/gaia or ~/.local/state/gaia]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds images from a template
    Build(BuildArgs),
    /// Checks a template and the files it names, and builds nothing
    Validate(ValidateArgs),
    /// Shows what is in a template
    Inspect(TemplateArgs),
    /// Takes away what builds that are not running any more have left
    Cleanup(CleanupArgs),
    /// Lists the builders, provisioners, post-processors and communicators in this binary
    Plugins(PluginsArgs),
    /// Shows the version
    Version,
}

/// A template and its variables.
#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    /// The template; `-` reads it from standard input
    pub(crate) template: PathBuf,
    /// Gives a variable a value; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(crate) vars: Vec<String>,
    /// Reads variables from a JSON file; may be repeated
    #[arg(long = "var-file", value_name = "FILE")]
    pub(crate) var_files: Vec<PathBuf>,
    /// Only these builds
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// All but these builds and post-processors
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) except: Vec<String>,
    #[command(flatten)]
    _without_effect: WithoutEffect,
}

/// Packer's flags about what legacy JSON templates and linked-in plugins do not have. Scripts may give them.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Packer's")]
struct WithoutEffect {
    #[arg(long, hide = true)]
    warn_on_undeclared_var: bool,
    #[arg(long, hide = true)]
    no_warn_undeclared_var: bool,
    #[arg(long, hide = true)]
    evaluate_datasources: bool,
    #[arg(long, hide = true)]
    ignore_prerelease_plugins: bool,
    #[arg(long, hide = true)]
    use_sequential_evaluation: bool,
    #[arg(long, hide = true)]
    skip_enforcement: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
    /// Builds even if an artifact of the same name exists, which is replaced
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = boolean)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) force: bool,
    /// What happens after an error
    #[arg(long, value_name = "WHAT", default_value = "cleanup")]
    pub(crate) on_error: OnErrorArg,
    /// How many builds run at once; 0 is no limit
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    pub(crate) parallel_builds: i64,
}

/// `-on-error`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnErrorArg {
    /// Takes everything away that the build made
    Cleanup,
    /// Leaves everything, for you to look at and for `gaia cleanup`
    Abort,
    /// Asks; without a terminal, cleans up
    Ask,
    /// Runs the error-cleanup-provisioner and leaves everything
    RunCleanupProvisioner,
}

impl From<OnErrorArg> for OnError {
    fn from(arg: OnErrorArg) -> Self {
        match arg {
            OnErrorArg::Cleanup => Self::Cleanup,
            OnErrorArg::Abort => Self::Abort,
            OnErrorArg::Ask => Self::Ask,
            OnErrorArg::RunCleanupProvisioner => Self::RunCleanupProvisioner,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
    /// Checks the syntax of the template only, without variables or configurations
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = boolean)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) syntax_only: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which"))]
pub(crate) struct CleanupArgs {
    /// What this build has left
    #[arg(long, value_name = "ID", group = "which")]
    pub(crate) build: Option<String>,
    /// What builds have left that began more than 24 hours ago
    #[arg(long, group = "which")]
    pub(crate) expired: bool,
    /// What any build has left (the default)
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// Shows what would be taken away, and touches nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PluginsArgs {
    /// Prints the JSON schema of a plugin's configuration; KIND/TYPE where two kinds have the same type
    #[arg(long, value_name = "TYPE")]
    pub(crate) schema: Option<String>,
}

/// A boolean as Go's flags read it.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The flags that take the next argument as their value, of any command.
fn flags_with_value() -> BTreeSet<String> {
    let mut cli = Cli::command();
    cli.build();
    let commands = std::iter::once(&cli).chain(cli.get_subcommands());
    commands
        .flat_map(clap::Command::get_arguments)
        .filter(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let flags = flags_with_value();
    let rewritten = argv::rewrite(arguments, |name| flags.contains(name));
    Cli::try_parse_from(std::iter::once(OsString::from("gaia")).chain(rewritten))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(arguments: &[&str]) -> (BuildArgs, Common) {
        let cli = parse(["build"].iter().chain(arguments).map(OsString::from)).unwrap_or_else(|e| panic!("{e}"));
        match cli.command {
            Command::Build(build) => (build, cli.common),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
        let expected =
            ["build", "except", "on-error", "only", "parallel-builds", "schema", "state-dir", "var", "var-file"];
        assert!(flags_with_value().iter().eq(expected), "{:?}", flags_with_value());
    }

    #[test]
    fn packers_flags_are_read_before_and_after_the_template() {
        let (build, common) = build(&[
            "-var-file=a.json",
            "-only=x,y",
            "t.json",
            "--var-file",
            "b.json",
            "-var",
            "k=a=b,c",
            "-only",
            "z",
            "-color=false",
            "-force",
            "-on-error=run-cleanup-provisioner",
            "-parallel-builds",
            "-1",
            "-timestamp-ui=1",
            "-machine-readable",
        ]);
        assert_eq!(build.template.template, PathBuf::from("t.json"));
        assert_eq!(build.template.var_files, [PathBuf::from("a.json"), PathBuf::from("b.json")]);
        assert_eq!(build.template.vars, ["k=a=b,c"]);
        assert_eq!(build.template.only, ["x", "y", "z"]);
        assert!(build.force && common.timestamp_ui && common.machine_readable && !common.color);
        assert_eq!(OnError::from(build.on_error), OnError::RunCleanupProvisioner);
        assert_eq!(build.parallel_builds, -1);
    }

    #[test]
    fn what_is_not_said_is_packers_default() {
        let (build, common) = build(&["-"]);
        assert_eq!(build.template.template, PathBuf::from("-"));
        assert!(!build.force && common.color && !common.machine_readable && !common.timestamp_ui);
        assert_eq!(OnError::from(build.on_error), OnError::Cleanup);
        assert_eq!(build.parallel_builds, 0);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let rows: [&[&str]; 7] = [
            &["build"],
            &["build", "a", "b"],
            &["build", "-nonsense", "t"],
            &["build", "-on-error=explode", "t"],
            &["build", "-color=maybe", "t"],
            &["cleanup", "-build=1", "-all"],
            &["build", "t", "-var"],
        ];
        for arguments in rows {
            assert!(parse(arguments.iter().map(OsString::from)).is_err(), "{arguments:?}");
        }
    }
}
