//! Diagnostics as text: what is wrong, where, the line with a caret under it, and what to do.
//!
//! Knows how to draw, not what any diagnostic means.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use builder_core::source::{Diagnostic, Diagnostics, Severity, Source, Span};

use crate::printer::Look;

/// More than this tells nothing new.
const MOST: usize = 50;

/// Narrower than this nothing can be drawn.
const NARROWEST: usize = 40;

/// As wide as a line of source is shown without a terminal.
const WIDEST: usize = 140;

/// Renders diagnostics, each with an empty line after it but for the last.
pub(crate) fn render(diagnostics: &Diagnostics, look: Look) -> String {
    let renderer = if look.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(look.width.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST));
    let mut texts: Vec<_> = diagnostics.0.iter().take(MOST).map(|d| renderer.render(&[group(d)])).collect();
    match diagnostics.0.len().saturating_sub(MOST) {
        0 => {}
        more => texts.push(format!("… and {more} more")),
    }
    texts.join("\n\n")
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(visible(&diagnostic.message));
    let mut group = Group::with_title(title);
    for (source, spans) in by_source(diagnostic) {
        let mut snippet = Snippet::source(source.text.as_str()).path(visible(&source.name));
        for (span, label) in spans {
            let kind = if label.is_none() { AnnotationKind::Primary } else { AnnotationKind::Context };
            snippet = snippet.annotation(kind.span(range(span)).label(label.map(visible)));
        }
        group = group.element(snippet);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(visible(help)));
    }
    group
}

/// A place, and what it is if it is not the main one.
type Place<'a> = (&'a Span, Option<&'a str>);

/// The places of a diagnostic, file by file, the main one (without a label) first.
fn by_source(diagnostic: &Diagnostic) -> Vec<(&Source, Vec<Place<'_>>)> {
    let main = diagnostic.span.iter().map(|span| (span, None));
    let others = diagnostic.labels.iter().map(|(span, label)| (span, Some(label.as_str())));
    let mut sources: Vec<(&Arc<Source>, Vec<_>)> = Vec::new();
    for place in main.chain(others) {
        match sources.iter_mut().find(|(source, _)| Arc::ptr_eq(source, &place.0.source)) {
            Some((_, places)) => places.push(place),
            None => sources.push((&place.0.source, vec![place])),
        }
    }
    sources.into_iter().map(|(source, places)| (&**source, places)).collect()
}

/// The range of a span that is certainly inside of its text. Only the first line of it is marked: an object may be long.
fn range(span: &Span) -> std::ops::Range<usize> {
    let text = &span.source.text;
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let line = text[start..end].find('\n').map_or(end, |n| start + n);
    start..line
}

/// The text without control characters, which could move a terminal's cursor.
fn visible(text: &str) -> String {
    text.split('\n').map(normalize_untrusted_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
