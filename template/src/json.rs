//! Reads JSON text into [`Node`]s that know where they stand.
//!
//! Strict JSON as Packer takes it: no comments, no trailing commas, no repeated keys in a template. Knows nothing of
//! what the keys mean.

use std::collections::HashMap;
use std::sync::Arc;

use builder_core::node::{Member, Node, Value};
use builder_core::source::{Diagnostic, Diagnostics, Severity, Source, Span};
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ast};

/// The longest text that is read; a real template has some kilobytes.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// What a key that stands twice in one object means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepeatedKeys {
    /// Every repetition is an error, as in a template.
    Refuse,
    /// The last one wins with a warning, as in a variables file.
    LastWins,
}

/// Reads a text. The warnings come with the value; every repeated key is reported.
pub(crate) fn parse(source: &Arc<Source>, repeated: RepeatedKeys) -> Result<(Node, Diagnostics), Diagnostics> {
    let value = parse_strictly(source)?;
    let mut tree = Tree { source, repeated, found: Diagnostics::default() };
    let node = tree.node(value);
    if tree.found.has_errors() { Err(tree.found) } else { Ok((node, tree.found)) }
}

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn parse_strictly(source: &Arc<Source>) -> Result<ast::Value<'_>, Diagnostic> {
    let text = source.text.as_str();
    let at = |start: usize, end: usize| Span { source: source.clone(), start, end };
    if text.len() > MAX_BYTES {
        let message = format!("{} is {} bytes long: at most {MAX_BYTES} are read", source.name, text.len());
        return Err(Diagnostic::error(message));
    }
    if text.starts_with('\u{feff}') {
        return Err(Diagnostic::error(
            "error parsing JSON: the text starts with a byte order mark, which JSON does not allow",
        )
        .at(at(0, '\u{feff}'.len_utf8()))
        .help("save the file as UTF-8 without a byte order mark"));
    }
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|e| {
        let range = e.range();
        let message = match e.kind() {
            ParseErrorKind::NestingDepthExceeded => "the values are nested too deeply".to_owned(),
            kind => uncapitalised(&kind.to_string()),
        };
        let error = Diagnostic::error(format!("error parsing JSON: {message}"));
        // A text that ends too early is shown where it ends, not where it began.
        let early = matches!(e.kind(), ParseErrorKind::UnterminatedObject | ParseErrorKind::UnterminatedArray);
        error.at(if early { at(text.trim_end().len(), text.len()) } else { at(range.start, range.end) })
    })?;
    // The parser lets through what JSON's grammar does not: control characters in strings, Unicode spaces.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| {
        let message = e.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let line_start = text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let start = text.floor_char_boundary((line_start + e.column().saturating_sub(1)).min(text.len()));
        let end = text.ceil_char_boundary((start + 1).min(text.len()));
        Diagnostic::error(format!("error parsing JSON: {}", uncapitalised(message))).at(at(start, end))
    })?;
    parsed
        .value
        .ok_or_else(|| Diagnostic::error("error parsing JSON: unexpected end of JSON input").at(at(0, text.len())))
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // `EOF` stays as it is.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

struct Tree<'a> {
    source: &'a Arc<Source>,
    repeated: RepeatedKeys,
    found: Diagnostics,
}

impl Tree<'_> {
    fn span(&self, range: jsonc_parser::common::Range) -> Span {
        Span { source: self.source.clone(), start: range.start, end: range.end }
    }

    /// Recurses as deep as the parser let the text be.
    fn node(&mut self, value: ast::Value<'_>) -> Node {
        let span = Some(self.span(jsonc_parser::common::Ranged::range(&value)));
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(yes) => Value::Bool(yes.value),
            ast::Value::NumberLit(number) => Value::Number(number.value.to_owned()),
            ast::Value::StringLit(text) => Value::String(text.value.into_owned()),
            ast::Value::Array(array) => Value::Array(array.elements.into_iter().map(|item| self.node(item)).collect()),
            ast::Value::Object(object) => Value::Object(self.members(object)),
        };
        Node { value, span }
    }

    fn members(&mut self, object: ast::Object<'_>) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::with_capacity(object.properties.len());
        let mut places: HashMap<String, usize> = HashMap::with_capacity(object.properties.len());
        for property in object.properties {
            let key_span = Some(self.span(jsonc_parser::common::Ranged::range(&property.name)));
            let key = match property.name {
                ast::ObjectPropName::String(name) => name.value.into_owned(),
                ast::ObjectPropName::Word(name) => name.value.to_owned(),
            };
            let value = self.node(property.value);
            let member = Member { key, key_span, value };
            match places.get(&member.key) {
                None => {
                    places.insert(member.key.clone(), members.len());
                    members.push(member);
                }
                Some(&first) => {
                    self.repetition(&members[first], &member);
                    members[first] = member;
                }
            }
        }
        members
    }

    fn repetition(&mut self, first: &Member, again: &Member) {
        let key = &again.key;
        let diagnostic = match self.repeated {
            RepeatedKeys::Refuse => Diagnostic::error(format!("template has duplicate field: {key}"))
                .label(first.key_span.clone(), "first here")
                .help("keep one of the two"),
            RepeatedKeys::LastWins => {
                let lines = [&first.key_span, &again.key_span].map(|s| s.as_ref().map_or(0, |s| s.line_column().0));
                Diagnostic::warning(format!(
                    "`{key}` stands on line {} and again on line {}: the last one wins",
                    lines[0], lines[1]
                ))
                .label(first.key_span.clone(), "this value is not used")
            }
        };
        self.found.push(Diagnostic { severity: severity(self.repeated), ..diagnostic.at(again.key_span.clone()) });
    }
}

fn severity(repeated: RepeatedKeys) -> Severity {
    match repeated {
        RepeatedKeys::Refuse => Severity::Error,
        RepeatedKeys::LastWins => Severity::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "t.json".into(), text: text.into() })
    }

    #[test]
    fn values_keep_their_places() {
        let source = source("{\n  \"é\": [1.50, true, null, \"a\\nb\"]\n}");
        let (node, warnings) = parse(&source, RepeatedKeys::Refuse).expect("it is JSON");
        assert_eq!(warnings, Diagnostics::default());
        let member = node.member("é").expect("it is there");
        assert_eq!(member.key_span.as_ref().expect("it has a place").to_string(), "t.json:2:3");
        let items = member.value.items().expect("it is a list");
        let rows = [
            (Value::Number("1.50".into()), "t.json:2:9"),
            (Value::Bool(true), "t.json:2:15"),
            (Value::Null, "t.json:2:21"),
            (Value::String("a\nb".into()), "t.json:2:27"),
        ];
        for (item, (value, place)) in items.iter().zip(rows) {
            assert_eq!(item.value, value);
            assert_eq!(item.span.as_ref().expect("it has a place").to_string(), place);
        }
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_stands() {
        let rows = [
            ("", "t.json:1:1: error parsing JSON: EOF while parsing a value"),
            ("{", "t.json:1:2: error parsing JSON: unterminated object"),
            ("{\"a\": 1,}", "t.json:1:8: error parsing JSON: trailing commas are not allowed"),
            ("[1 2]", "t.json:1:3: error parsing JSON: expected comma"),
            ("{\"a\": 1 \"b\": 2}", "t.json:1:8: error parsing JSON: expected comma"),
            ("{} // no", "t.json:1:4: error parsing JSON: comments are not allowed"),
            ("{'a': 1}", "t.json:1:2: error parsing JSON: single-quoted strings are not allowed"),
            ("{a: 1}", "t.json:1:2: error parsing JSON: expected string for object property"),
            ("{} {}", "t.json:1:4: error parsing JSON: text cannot contain more than one JSON value"),
            ("[\"\\x41\"]", "t.json:1:3: error parsing JSON: invalid escape"),
            ("[0x1]", "t.json:1:2: error parsing JSON: hexadecimal numbers are not allowed"),
            ("[+1]", "t.json:1:2: error parsing JSON: unary plus on numbers is not allowed"),
            ("[1.]", "t.json:1:2: error parsing JSON: leading or trailing decimal points on numbers are not allowed"),
            ("[NaN]", "t.json:1:2: error parsing JSON: unexpected token"),
            ("[\"a\tb\"]", "control character"),
            ("[\u{a0}1]", "t.json:1:2: error parsing JSON: expected value"),
            ("[01]", "error parsing JSON"),
            ("\u{feff}{}", "t.json:1:1: error parsing JSON: the text starts with a byte order mark"),
        ];
        for (text, expected) in rows {
            let errors = parse(&source(text), RepeatedKeys::Refuse).expect_err(text);
            assert!(errors.to_string().contains(expected), "{text:?}: {errors}");
        }
    }

    #[test]
    fn depth_and_size_have_limits() {
        for text in
            ["[".repeat(1_000_000), "{\"a\":".repeat(1_000_000), format!("{}{}", "[".repeat(600), "]".repeat(600))]
        {
            let errors = parse(&source(&text), RepeatedKeys::Refuse).expect_err("it is too deep");
            assert!(errors.to_string().contains("nested too deeply"), "{errors}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(parse(&source(&deep), RepeatedKeys::Refuse).is_ok());
        let long = format!("\"{}\"", "x".repeat(MAX_BYTES));
        let errors = parse(&source(&long), RepeatedKeys::Refuse).expect_err("it is too long");
        assert!(errors.to_string().contains("at most 16777216 are read"), "{errors}");
    }

    #[test]
    fn every_repeated_key_of_a_template_is_an_error() {
        let text = "{\"a\": 1,\n\"b\": {\"c\": 1, \"c\": 2},\n\"a\": 3, \"\\u0061\": 4}";
        let errors = parse(&source(text), RepeatedKeys::Refuse).expect_err("keys repeat");
        let lines: Vec<_> = errors.0.iter().map(|d| format!("{d} <- {}", d.labels[0].0)).collect();
        let expected = [
            "error: t.json:2:15: template has duplicate field: c <- t.json:2:7",
            "error: t.json:3:1: template has duplicate field: a <- t.json:1:2",
            "error: t.json:3:9: template has duplicate field: a <- t.json:3:1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn in_a_variables_file_the_last_key_wins_with_a_warning() {
        let text = "{\"a\": \"1\",\n\"a\": \"2\"}";
        let (node, warnings) = parse(&source(text), RepeatedKeys::LastWins).expect("a warning is no error");
        assert_eq!(node.get("a").and_then(Node::as_str), Some("2"));
        assert_eq!(
            warnings.to_string(),
            "warning: t.json:2:1: `a` stands on line 1 and again on line 2: the last one wins"
        );
        assert_eq!(warnings.0[0].labels[0].0.to_string(), "t.json:1:2");
    }
}
