//! Acceptance tests across the crates: moto, a real sshd, real peers
