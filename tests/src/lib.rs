//! What acceptance tests stand on: the rig (moto and a real sshd), the gaia binary, and a look at what exists.
//!
//! `scripts/setup` installs what the rig needs; a test that misses something fails and says so.

mod gaia;
mod rig;
mod sample;

pub use gaia::{Gaia, Ran, gaia_binary};
pub use rig::{Call, Rig, State};
pub use sample::{masked, sample};

use std::path::PathBuf;

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
