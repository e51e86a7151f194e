//! Rendering: from events to what a person or a program reads.
//!
//! A [`Narrator`] puts events into Packer's words, line by line; a [`Sink`] shows lines, as text for people ([`Human`]) or as
//! `-machine-readable` ([`Machine`]). Both show the same words.

mod human;
mod live;
mod machine;
mod narrator;
#[cfg(test)]
mod tests;

pub(crate) use human::{Human, HumanOptions};
pub(crate) use machine::Machine;
pub(crate) use narrator::{Narrator, NarratorOptions};

use std::io;

use jiff::Timestamp;

use crate::printer::Look;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `==> name: text`
    Step,
    /// `    name: text`
    Detail,
    /// The text alone.
    Bare,
    /// The text alone, and only where people look at it: which colour a build has.
    Header,
}

/// What kind of thing a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Say,
    Message,
    /// Goes to the stream for errors.
    Warning,
    /// Goes to the stream for errors.
    Error,
    /// What a script wrote to its standard error: part of the build's log.
    ScriptError,
}

/// A text of one or more lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: Timestamp,
    /// The build that it is about.
    pub(crate) build: Option<&'a str>,
    pub(crate) shape: Shape,
    pub(crate) level: Level,
    pub(crate) text: &'a str,
}

impl Line<'_> {
    /// The text with its prefix before each line and then no white space at its end, as in Packer.
    fn prefixed(&self) -> String {
        let arrow = match self.shape {
            Shape::Step => "==> ",
            Shape::Detail => "    ",
            Shape::Bare | Shape::Header => return self.text.to_owned(),
        };
        let mut prefixed = String::new();
        for (i, line) in self.text.split('\n').enumerate() {
            if i > 0 {
                prefixed.push('\n');
            }
            prefixed.push_str(arrow);
            if let Some(build) = self.build {
                prefixed.push_str(build);
                prefixed.push_str(": ");
            }
            prefixed.push_str(line);
        }
        prefixed.truncate(prefixed.trim_end().len());
        prefixed
    }
}

/// Shows lines. An error means that standard output is gone.
pub(crate) trait Sink: Send {
    /// Shows a line.
    fn line(&mut self, line: &Line<'_>) -> io::Result<()>;

    /// Shows a text as it is, on standard output or on the stream for errors: usage, a JSON schema, a diagnostic.
    fn text(&mut self, at: Timestamp, level: Level, text: &str) -> io::Result<()> {
        self.line(&Line { at, build: None, shape: Shape::Bare, level, text })
    }

    /// A fact for programs: `at,target,kind,args...`. People are told in lines.
    fn fact(&mut self, _at: Timestamp, _target: &str, _kind: &str, _args: &[&str]) -> io::Result<()> {
        Ok(())
    }

    /// A build waits for something, or does not any more.
    fn wait(&mut self, _at: Timestamp, _build: &str, _what: Option<&str>) {}

    /// Time has passed: the moment to bring the live line up to date.
    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// The run is over: nothing is written over any more.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// How diagnostics are to look.
    fn diagnostics_look(&self) -> Look {
        Look { colour: false, width: None }
    }
}

/// A sink with the time of what is said outside a run.
pub(crate) struct Ui {
    sink: Box<dyn Sink>,
    clock: builder_core::Clock,
    closed: bool,
}

impl Ui {
    pub(crate) fn new(sink: Box<dyn Sink>, clock: builder_core::Clock) -> Self {
        Self { sink, clock, closed: false }
    }

    /// Whether standard output is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Remembers whether standard output took what was written.
    fn keep(&mut self, written: &io::Result<()>) {
        self.closed |= written.is_err();
    }

    /// A line of a run.
    pub(crate) fn line(&mut self, line: &Line<'_>) {
        let written = self.sink.line(line);
        self.keep(&written);
    }

    /// A line without a build.
    pub(crate) fn say(&mut self, text: &str) {
        self.bare(Level::Say, text);
    }

    /// An error without a build.
    pub(crate) fn error(&mut self, text: &str) {
        self.bare(Level::Error, text);
    }

    /// A warning without a build.
    pub(crate) fn warning(&mut self, text: &str) {
        self.bare(Level::Warning, text);
    }

    fn bare(&mut self, level: Level, text: &str) {
        let at = self.clock.now();
        self.line(&Line { at, build: None, shape: Shape::Bare, level, text });
    }

    /// A text that is shown as it is, in no colour but its own.
    pub(crate) fn text(&mut self, level: Level, text: &str) {
        let written = self.sink.text(self.clock.now(), level, text);
        self.keep(&written);
    }

    /// A fact for programs.
    pub(crate) fn fact(&mut self, at: Option<Timestamp>, target: &str, kind: &str, args: &[&str]) {
        let written = self.sink.fact(at.unwrap_or_else(|| self.clock.now()), target, kind, args);
        self.keep(&written);
    }

    /// A build waits for something, or does not any more.
    pub(crate) fn wait(&mut self, at: Timestamp, build: &str, what: Option<&str>) {
        self.sink.wait(at, build, what);
    }

    /// Brings the live line up to date.
    pub(crate) fn tick(&mut self) {
        let written = self.sink.tick(self.clock.now());
        self.keep(&written);
    }

    /// Takes the live line away.
    pub(crate) fn end(&mut self) {
        let written = self.sink.end();
        self.keep(&written);
    }

    /// How diagnostics are to look.
    pub(crate) fn diagnostics_look(&self) -> Look {
        self.sink.diagnostics_look()
    }
}
