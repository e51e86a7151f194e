//! The `{{ }}` language: Go's text/template as Packer's legacy templates use it.
//!
//! [`parse`] makes a program of a text, [`render`] runs it. The whole of Go's language that can be reached from a template
//! is here, with Packer's functions; what it can see of a build is a [`Scope`]. It knows nothing of JSON or of plans.
//! Everything is bounded: nesting, calls, work and output.

mod ast;
mod builtins;
mod eval;
mod float;
mod format;
mod functions;
mod layout;
mod lexer;
mod number;
mod packer;
mod parser;
mod quote;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use builder_core::render::{Field, RenderError};

pub(crate) use packer::Scope;
pub use packer::Settings;

/// The longest text that a template may make, also on the way.
const MAX_TEXT: usize = 16 << 20;

/// Why a text could not be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Byte offset in the text.
    pub(crate) offset: usize,
    /// The user variable whose absence is the cause.
    pub(crate) missing: Option<String>,
}

impl Failure {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset, missing: None }
    }
}

impl From<Failure> for RenderError {
    fn from(failure: Failure) -> Self {
        Self { message: failure.message, offset: Some(failure.offset) }
    }
}

/// Appends formatted text.
fn append(out: &mut String, text: fmt::Arguments<'_>) {
    // A string takes everything.
    fmt::Write::write_fmt(out, text).unwrap_or_default();
}

/// Checks syntax and function names of a text that is no variable's value.
pub(crate) fn check(text: &str) -> Result<(), Failure> {
    if !text.contains("{{") {
        return Ok(());
    }
    match parser::parse(text)?.reads_environment {
        Some(at) => Err(Failure::new(at, "env vars are not allowed here: read it in `variables`, and use `user`")),
        None => Ok(()),
    }
}

/// Renders a text once; `fields` is what `.` holds.
pub(crate) fn render(text: &str, fields: &BTreeMap<String, Field>, scope: &Scope<'_>) -> Result<String, Failure> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let program = parser::parse(text)?;
    eval::run(&program, &value::dot(fields), scope)
}

#[cfg(test)]
mod tests;
