//! The errors of a running build.

use crate::cancel::Cancelled;

/// Why a build ended without what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Somebody cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The user's world failed: a call was refused, a script exited with 3, a file is missing. The text says what
    /// happened, to what, and what to do next.
    #[error("{0}")]
    Failed(String),
    /// The ledger could not be written: nothing that cannot be recorded is created.
    #[error("{0}")]
    Ledger(#[from] crate::ledger::LedgerError),
}

impl BuildError {
    /// A failure with its text.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// Whether it is a cancellation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

impl From<Cancelled> for BuildError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<crate::render::RenderError> for BuildError {
    fn from(error: crate::render::RenderError) -> Self {
        Self::Failed(error.message)
    }
}
