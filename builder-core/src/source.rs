//! Source text, positions in it, and the diagnostics that point there.
//!
//! Knows nothing of JSON, of templates or of how a terminal shows a caret.

use std::fmt;
use std::sync::Arc;

/// A text that a user wrote: a template or a variables file.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The name to show, as the user gave it: `gaia-hub.json`, `-` for standard input.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A range of bytes in a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The text that the range is in.
    pub source: Arc<Source>,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset after the last byte.
    pub end: usize,
}

impl Span {
    /// Line and column of the first byte, both counted from 1; the column counts characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.start).unwrap_or(&self.source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// The place of an offset inside the string literal that the range holds, whose value is `text`; the whole literal if
    /// an escape before the offset makes the two differ.
    #[must_use]
    pub fn inside(&self, text: &str, offset: usize) -> Self {
        let start = self.start + 1;
        match (self.source.text.get(start..start + offset), text.get(..offset)) {
            (Some(raw), Some(seen)) if raw == seen => Self { start: start + offset, ..self.clone() },
            _ => self.clone(),
        }
    }

    /// The text of the range.
    pub fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({self})")
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build does not start.
    Error,
}

/// One thing that is wrong with what the user wrote, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where, if it has a place.
    pub span: Option<Span>,
    /// Other places that matter, each with what it is: the first of two repeated keys.
    pub labels: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: None, labels: Vec::new(), help: None }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Span>>) -> Self {
        self.span = span.into();
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with a second place.
    #[must_use]
    pub fn label(mut self, span: impl Into<Option<Span>>, text: impl Into<String>) -> Self {
        if let Some(span) = span.into() {
            self.labels.push((span, text.into()));
        }
        self
    }
}

/// One line: `error: gaia-hub.json:3:5: …`. The terminal shows more: see gaia-cli.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        if let Some(span) = &self.span {
            write!(f, "{span}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Every diagnostic of a piece of work, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Keeps the value of `result`, or its diagnostics.
    pub fn take<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(diagnostics) => {
                self.extend(diagnostics);
                None
            }
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.0.iter().enumerate() {
            write!(f, "{}{diagnostic}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The candidate nearest to what was typed, if one is near enough to be meant.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&typed, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1 + c.len().max(typed.len()) / 4)
        .min()
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Arc::new(Source { name: "t.json".into(), text: "a\nüb".into() });
        for (start, expected) in [(0, "t.json:1:1"), (2, "t.json:2:1"), (4, "t.json:2:2"), (99, "t.json:2:3")] {
            assert_eq!(Span { source: source.clone(), start, end: start }.to_string(), expected);
        }
    }

    #[test]
    fn an_offset_in_a_string_is_found_unless_an_escape_comes_before_it() {
        // The literal, its value, an offset in the value; the place.
        let rows = [
            (r#""ab{{x}}""#, "ab{{x}}", 4, "t:1:6"),
            (r#""\n{{x}}""#, "\n{{x}}", 3, "t:1:1"),
            (r#""ab""#, "ab", 9, "t:1:1"),
        ];
        for (literal, text, offset, expected) in rows {
            let source = Arc::new(Source { name: "t".into(), text: literal.into() });
            let span = Span { source, start: 0, end: literal.len() };
            assert_eq!(span.inside(text, offset).to_string(), expected, "{literal}");
        }
    }

    #[test]
    fn nearest_offers_only_what_may_be_meant() {
        let rows = [
            ("amazon-ebss", Some("amazon-ebs")),
            ("Amazon-EBS", Some("amazon-ebs")),
            ("nul", Some("null")),
            ("qemu", None),
            ("", None),
        ];
        for (typed, expected) in rows {
            assert_eq!(nearest(typed, ["amazon-ebs", "null", "file-thing"]), expected, "{typed}");
        }
    }
}
