//! What a running build has at hand: identity, events, ledger, clock, cancellation, templates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::event::Events;
use crate::ledger::Ledger;
use crate::render::Renderer;
use crate::secret::Redactor;

/// The context of one build. Cheap to clone; every clone speaks for the same build.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// The id that the build's resources carry: a ULID in lower case.
    pub build_id: Arc<str>,
    /// The name: the builder's `name`, else its type.
    pub build_name: Arc<str>,
    /// The type of the builder.
    pub build_type: Arc<str>,
    /// Where events go.
    pub events: Events,
    /// The record of what the build made.
    pub ledger: Ledger,
    /// The run's clock.
    pub clock: Clock,
    /// Tells when to stop.
    pub cancel: Cancel,
    /// The `{{ }}` language of this build.
    pub renderer: Arc<dyn Renderer>,
    /// The secrets of the process.
    pub redactor: Redactor,
    /// Random names.
    pub names: Names,
    /// The environment variables that the process was started with.
    pub environment: Arc<BTreeMap<String, String>>,
    /// `-force`.
    pub force: bool,
}

impl BuildContext {
    /// The same build under a clean-up's cancellation: a first Ctrl-C leaves it alone, a second hurries it.
    #[must_use]
    pub fn for_cleanup(&self) -> Self {
        Self { cancel: self.cancel.for_cleanup(), ..self.clone() }
    }

    /// The same build with other events: see [`Events::hold`].
    #[must_use]
    pub fn with_events(&self, events: Events) -> Self {
        Self { events, ..self.clone() }
    }
}

/// Random names, from one seed, so that a failing run can be repeated.
#[derive(Clone)]
pub struct Names {
    state: Arc<Mutex<u64>>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names(..)")
    }
}

impl Names {
    /// Names from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(seed)) }
    }

    /// Names that differ from run to run.
    pub fn random() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        // RandomState's keys come from the operating system.
        Self::seeded(RandomState::new().hash_one(std::process::id()))
    }

    /// The next 64 random bits (splitmix64).
    pub fn bits(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// A build id for this moment: a ULID in lower case, 26 characters, sortable by time.
    pub fn build_id(&self, clock: &Clock) -> String {
        let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or_default();
        let random = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        ulid::Ulid::from_parts(millis, random).to_string().to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_names_again() {
        let clock = Clock::fixed();
        let (one, two) = (Names::seeded(7), Names::seeded(7));
        assert_eq!(one.build_id(&clock), two.build_id(&clock));
        assert_ne!(one.build_id(&clock), one.build_id(&clock));
        assert_eq!(one.build_id(&clock).len(), 26);
    }
}
