//! One clock for a run: `timestamp` and `isotime` are the run's start everywhere, and a test owns time.
//!
//! Elapsed time and sleeps come from tokio's clock, which a test can pause.

use jiff::{SignedDuration, Timestamp};

/// The wall clock of a run: its start, plus what tokio's clock has counted since.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    origin: Option<tokio::time::Instant>,
}

impl Clock {
    /// A clock that starts now. Call it once per process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn start_now() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that starts at a given time and runs with tokio's.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, origin: Some(tokio::time::Instant::now()) }
    }

    /// A clock that stands still at 2026-01-01T00:00:00Z: for tests, and usable outside a runtime.
    pub fn fixed() -> Self {
        Self { start: Timestamp::constant(1_767_225_600, 0), origin: None }
    }

    /// The start of the run.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.origin.map_or(std::time::Duration::ZERO, |origin| origin.elapsed());
        SignedDuration::try_from(elapsed).ok().and_then(|d| self.start.checked_add(d).ok()).unwrap_or(self.start)
    }
}
