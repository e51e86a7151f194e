//! What every command has at hand: where to speak, what to read, and what is linked in.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use builder_core::registry::{DuplicateKey, Registry};
use builder_core::source::Diagnostics;
use builder_core::{Clock, Redactor};

use crate::args::Common;
use crate::dispatcher::Runtimes;
use crate::env::{self, Environment};
use crate::exit_code::Exit;
use crate::printer::Input;
use crate::render::{Level, NarratorOptions, Ui};
use crate::signals::Signals;
use crate::{diagnostics, printer};

/// One run of the command.
pub(crate) struct Session {
    pub(crate) ui: Ui,
    pub(crate) environment: Arc<Environment>,
    pub(crate) stdin: Input,
    pub(crate) signals: Signals,
    pub(crate) registry: fn() -> Result<Registry, DuplicateKey>,
    pub(crate) clock: Clock,
    /// What must not be shown.
    pub(crate) redactor: Redactor,
    pub(crate) common: Common,
    /// Set while a person is asked something.
    pub(crate) asking: Arc<AtomicBool>,
}

impl Session {
    /// Shows diagnostics, without secrets. Gives whether there is an error among them.
    pub(crate) fn tell(&mut self, found: &Diagnostics) -> bool {
        let errors = found.has_errors();
        if !found.0.is_empty() {
            let text = diagnostics::render(found, self.ui.diagnostics_look());
            self.ui.text(if errors { Level::Error } else { Level::Warning }, &self.redactor.redact(&text));
        }
        errors
    }

    /// What is linked in; says why, if that cannot be used.
    pub(crate) fn registry(&mut self) -> Option<Arc<Registry>> {
        (self.registry)().map(Arc::new).map_err(|e| self.ui.error(&format!("Error: {e}"))).ok()
    }

    /// Where the ledgers are; says why, if there is no place for them.
    pub(crate) fn ledgers(&mut self) -> Option<PathBuf> {
        let state = env::state_dir(self.common.state_dir.clone(), &self.environment);
        state.map(|dir| dir.join("ledger")).map_err(|e| self.ui.error(&format!("Error: {e}"))).ok()
    }

    /// Where a run takes place; says why, if there is no such place.
    pub(crate) fn runtimes(&mut self) -> Option<Runtimes> {
        Runtimes::start().map_err(|e| self.ui.error(&format!("Error: cannot start: {e}"))).ok()
    }

    /// How a run is told of.
    pub(crate) fn narration(&self, names_reclaimed: bool) -> NarratorOptions {
        let mut cleanup = "gaia cleanup".to_owned();
        if let Some(dir) = &self.common.state_dir {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            cleanup.push_str(" --state-dir ");
            cleanup.push_str(&printer::quoted(&dir.display().to_string()));
        }
        NarratorOptions { cleanup, names_reclaimed }
    }

    /// The exit code, unless what was said did not reach anybody.
    pub(crate) fn exit(&self, exit: Exit) -> Exit {
        if exit == Exit::Success && self.ui.is_closed() { Exit::Failure } else { exit }
    }
}
