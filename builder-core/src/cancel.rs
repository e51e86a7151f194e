//! Cancellation: one ordered stage for a run, passed down to every wait.
//!
//! Ctrl-C once asks builds to stop and clean up, twice makes the clean-up hurry, a third time gives up.
//! Knows nothing of signals: gaia-cli raises the stage.

use std::sync::Arc;

use tokio::sync::watch;

/// How far a run has been cancelled. Ordered: a stage never falls back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody has asked for an end.
    #[default]
    Running,
    /// Stop building and clean up.
    Cancelled,
    /// Stop waiting during the clean-up: ask for what can be asked for and leave the rest to `gaia cleanup`.
    Hurried,
    /// Leave at once.
    Abandoned,
}

/// Returned by whatever was waiting when the run was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// The stage of a run: cheap to clone, every clone sees the same stage.
#[derive(Clone, Debug)]
pub struct Cancel {
    stage: Arc<watch::Sender<Stage>>,
    /// The stage from which on this handle counts as cancelled.
    threshold: Stage,
}

impl Default for Cancel {
    fn default() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Running)), threshold: Stage::Cancelled }
    }
}

impl Cancel {
    /// Raises the stage; a lower one than the present is ignored.
    pub fn raise(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let rises = to > *stage;
            *stage = (*stage).max(to);
            rises
        });
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// The handle for clean-up, which a first Ctrl-C leaves alone and a second one hurries.
    #[must_use]
    pub fn for_cleanup(&self) -> Self {
        Self { stage: self.stage.clone(), threshold: Stage::Hurried }
    }

    /// Whether work under this handle should end.
    pub fn is_cancelled(&self) -> bool {
        self.stage() >= self.threshold
    }

    /// Completes when work under this handle should end.
    pub async fn cancelled(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        if stage.wait_for(|s| *s >= self.threshold).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// An error if work under this handle should end.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Runs `work` until it is done or the run is cancelled, whichever comes first. The work is dropped where it stands.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        tokio::select! {
            biased;
            () = self.cancelled() => Err(Cancelled),
            value = work => Ok(value),
        }
    }

    /// Sleeps, but not through a cancellation.
    pub async fn sleep(&self, duration: std::time::Duration) -> Result<(), Cancelled> {
        self.run(tokio::time::sleep(duration)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cleanup_is_cut_short_only_by_the_second_request() {
        let cancel = Cancel::default();
        let cleanup = cancel.for_cleanup();
        cancel.raise(Stage::Cancelled);
        assert_eq!(cancel.sleep(std::time::Duration::from_secs(9)).await, Err(Cancelled));
        assert_eq!(cleanup.sleep(std::time::Duration::from_secs(9)).await, Ok(()));
        cancel.raise(Stage::Hurried);
        cancel.raise(Stage::Cancelled);
        assert_eq!(cancel.stage(), Stage::Hurried);
        assert_eq!(cleanup.sleep(std::time::Duration::from_secs(9)).await, Err(Cancelled));
    }
}
