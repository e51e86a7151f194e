//! The `ssh` communicator: connect, exec, upload and download over russh.
//!
//! It knows neither clouds nor templates: a builder says where the machine is and which key it made, and gets a
//! [`Communicator`](builder_core::Communicator) back. No type of russh appears in what this crate shows.

mod auth;
mod communicator;
mod config;
mod connect;
mod connector;
mod ending;
mod exec;
mod keys;
mod session;
mod settings;
mod transfer;

pub use config::Config;
pub use connector::SshConnector;

builder_core::register_communicator!(SshConnector);
