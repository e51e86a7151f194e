//! The `gaia` command: flags, files, signals, rendering, exit codes. The plugins are crates of their own.
//!
//! A third party's binary with builders of its own is this, in full:
//!
//! ```no_run
//! // use their_builder as _;
//! fn main() -> std::process::ExitCode {
//!     gaia_cli::main()
//! }
//! ```
//!
//! Nothing here knows a cloud: what a template names is looked up in the registry of what is linked in.

// The linker drops a crate that nobody names, and its registration with it.
use builder_amazon_ebs as _;
use builder_null as _;
use communicator_ssh as _;
use postprocessor_tags as _;
use provisioner_shell as _;

mod args;
mod argv;
mod ask;
mod commands;
mod diagnostics;
mod dispatcher;
pub mod env;
mod exit_code;
mod input;
mod printer;
mod render;
mod session;
mod signals;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use exit_code::Exit;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use builder_core::registry::{DuplicateKey, Registry};
use builder_core::{Clock, Redactor};
use clap::error::ErrorKind;

use crate::args::{Cli, Command, Common};
use crate::env::Environment;
use crate::printer::{Io, Printer};
use crate::render::{Human, HumanOptions, Level, Machine, Sink, Ui};
use crate::session::Session;
use crate::signals::Signals;

/// Runs the command that this process was started with, with every plugin that is linked in.
pub fn main() -> ExitCode {
    let invocation = Invocation {
        arguments: std::env::args_os().skip(1).collect(),
        environment: env::of_process(),
        io: Io::of_process(),
        signals: Signals::OfProcess,
        registry: Registry::linked,
        clock: Clock::start_now(),
    };
    run(invocation).into()
}

/// Everything that a command gets from outside.
struct Invocation {
    /// Without the program's name.
    arguments: Vec<OsString>,
    environment: Environment,
    io: Io,
    signals: Signals,
    /// Called by the commands that need it: `gaia version` does not.
    registry: fn() -> Result<Registry, DuplicateKey>,
    clock: Clock,
}

fn run(invocation: Invocation) -> Exit {
    let Invocation { arguments, environment, io, signals, registry, clock } = invocation;
    let typed = |flag: &str| arguments.iter().any(|a| a.to_string_lossy().trim_start_matches('-') == flag);
    let parsed = args::parse(arguments.clone());
    // A command line that is wrong is told of as it asks for, as far as it can be read.
    let common = match &parsed {
        Ok(cli) => cli.common.clone(),
        Err(_) => Common {
            color: !typed("color=false"),
            machine_readable: typed("machine-readable"),
            timestamp_ui: false,
            errors_to_stdout: typed("errors-to-stdout"),
            state_dir: None,
        },
    };
    let asking = Arc::new(AtomicBool::new(false));
    let colour = common.color && env::allows_colour(&environment);
    let printer = Printer::new(io.stdout, io.stderr, colour, common.errors_to_stdout);
    let sink: Box<dyn Sink> = if common.machine_readable {
        Box::new(Machine::new(printer))
    } else {
        let options = HumanOptions {
            headers: common.color,
            timestamps: common.timestamp_ui,
            live: !env::is_dumb(&environment),
            asking: asking.clone(),
        };
        Box::new(Human::new(printer, options))
    };
    let mut ui = Ui::new(sink, clock);
    let Cli { command, .. } = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&mut ui, &error),
    };
    let session = Session {
        ui,
        environment: Arc::new(environment),
        stdin: io.stdin,
        signals,
        registry,
        clock,
        redactor: Redactor::default(),
        common,
        asking,
    };
    match command {
        Command::Build(args) => commands::build::run(session, &args),
        Command::Validate(args) => commands::validate::run(session, &args),
        Command::Inspect(args) => commands::inspect::run(session, &args),
        Command::Cleanup(args) => commands::cleanup::run(session, &args),
        Command::Plugins(args) => commands::plugins::run(session, &args),
        Command::Version => commands::version::run(session),
    }
}

/// Shows usage, because it was asked for or because the command line is wrong.
fn usage(ui: &mut Ui, error: &clap::Error) -> Exit {
    let exit = match error.kind() {
        ErrorKind::DisplayHelp => Exit::Success,
        ErrorKind::InvalidSubcommand
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Exit::UnknownCommand,
        _ => Exit::Failure,
    };
    let level = if exit == Exit::Success { Level::Say } else { Level::Error };
    let text = error.render();
    let text = if ui.diagnostics_look().colour { text.ansi().to_string() } else { text.to_string() };
    ui.text(level, &text);
    if ui.is_closed() { Exit::Failure } else { exit }
}
