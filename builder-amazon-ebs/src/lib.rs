//! The amazon-ebs builder: launch, provision, image, copy, tag and reclaim on EC2.
//!
//! `builder` reads as the build goes, top to bottom; each step is a function in `steps`. Nothing here cleans up after itself:
//! every create goes through the ledger, and `reclaim` gives back what the ledger names. `aws-sdk-ec2` is named in this crate only
//! and none of its types leave it.

mod api_error;
mod artifact;
mod builder;
mod cloud;
mod config;
mod mark;
mod poller;
mod reclaim;
mod steps;
mod tagging;

pub use builder::AmazonEbs;
pub use config::Config;

builder_core::register_builder!(AmazonEbs);
builder_core::register_reclaimer!(cloud::PROVIDER, reclaim::open);
