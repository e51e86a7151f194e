//! The commands, one module each.

pub(crate) mod build;
pub(crate) mod cleanup;
pub(crate) mod inspect;
mod leftovers;
mod plan;
pub(crate) mod plugins;
pub(crate) mod validate;
pub(crate) mod version;
