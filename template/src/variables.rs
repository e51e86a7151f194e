//! User variables: where their values come from, and how they are made of each other.
//!
//! A default is overruled by the variables files in order, and they by `-var` in order. Every value is a template that may
//! use the environment and other variables. Nothing is read from disk here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use builder_core::node::{Node, Value};
use builder_core::secret::SecretString;
use builder_core::source::{Diagnostic, Diagnostics, Source, Span, nearest};

use crate::json::{self, RepeatedKeys};
use crate::lang::{self, Scope, Settings};
use crate::parse::did_you_mean;
use crate::template::Template;

/// How often values are rendered before gaia gives up on a value that keeps making new templates.
const MAX_PASSES: usize = 100;

/// A value that the user gives to a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// The value, which may be a template.
    pub value: String,
    /// Where it stands; `None` on the command line.
    pub span: Option<Span>,
}

/// Reads a variables file: a flat object of strings.
pub fn parse_file(source: Source) -> Result<(Vec<Assignment>, Diagnostics), Diagnostics> {
    let source = Arc::new(source);
    let (root, mut found) = json::parse(&source, RepeatedKeys::LastWins)?;
    let Some(members) = root.members() else {
        let message =
            format!("Error reading variables in '{}': expected an object, found {}", source.name, root.kind());
        return Err(Diagnostic::error(message).at(root.span).into());
    };
    let mut assignments = Vec::with_capacity(members.len());
    for member in members {
        let value = match &member.value.value {
            Value::String(text) => text.clone(),
            // As Go reads a null into a string.
            Value::Null => String::new(),
            Value::Number(_) | Value::Bool(_) => {
                let written = member.value.span.as_ref().map(Span::text).unwrap_or_default();
                found.push(
                    not_a_string(&source, &member.key, &member.value)
                        .help(format!("write it as a string: \"{written}\"")),
                );
                continue;
            }
            Value::Array(_) | Value::Object(_) => {
                let help = "a variables file is one flat object of strings";
                found.push(not_a_string(&source, &member.key, &member.value).help(help));
                continue;
            }
        };
        assignments.push(Assignment { name: member.key.clone(), value, span: member.value.span.clone() });
    }
    if found.has_errors() { Err(found) } else { Ok((assignments, found)) }
}

fn not_a_string(source: &Source, key: &str, node: &Node) -> Diagnostic {
    let message =
        format!("Error reading variables in '{}': `{key}` must be a string, found {}", source.name, node.kind());
    Diagnostic::error(message).at(node.span.clone())
}

/// Reads the argument of `-var`: `name=value`.
pub fn parse_argument(argument: &str) -> Result<Assignment, Diagnostic> {
    match argument.split_once('=') {
        Some((name, value)) => Ok(Assignment { name: name.to_owned(), value: value.to_owned(), span: None }),
        None => Err(Diagnostic::error(format!("No '=' value in arg: {argument}")).help("write -var 'name=value'")),
    }
}

/// The values of all variables.
pub(crate) struct Variables {
    pub(crate) values: BTreeMap<String, String>,
    /// Those that must not be shown.
    pub(crate) secrets: Vec<SecretString>,
}

/// A value on its way.
struct Pending {
    text: String,
    span: Option<Span>,
    /// The variable that it waits for.
    missing: Option<String>,
}

/// Gives every variable its value; what a template never declared is a variable too.
pub(crate) fn resolve(
    template: &Template,
    given: &[Assignment],
    settings: &Settings,
    environment: &BTreeMap<String, String>,
) -> Result<Variables, Diagnostics> {
    let mut found = Diagnostics::default();
    let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
    for variable in &template.variables {
        if let Some(default) = &variable.default {
            let value = Pending { text: default.clone(), span: variable.span.clone(), missing: None };
            pending.insert(variable.name.clone(), value);
        }
    }
    for assignment in given {
        let value = Pending { text: assignment.value.clone(), span: assignment.span.clone(), missing: None };
        pending.insert(assignment.name.clone(), value);
    }
    // Those that are known to be wrong; what waits for them is not reported again.
    let mut broken: BTreeSet<String> = BTreeSet::new();
    for variable in template.variables.iter().filter(|v| !pending.contains_key(&v.name)) {
        let name = &variable.name;
        found.push(
            Diagnostic::error(format!("required variable not set: {name}"))
                .at(variable.name_span.clone())
                .help(format!("give it with -var '{name}=…' or in a -var-file")),
        );
        broken.insert(name.clone());
    }

    let mut values = BTreeMap::new();
    for _ in 0..MAX_PASSES {
        let mut changed = false;
        for name in pending.keys().cloned().collect::<Vec<_>>() {
            let Some(mut value) = pending.remove(&name) else { continue };
            let scope = Scope {
                settings,
                variables: &values,
                environment: Some(environment),
                build_name: None,
                build_type: None,
                build: &BTreeMap::new(),
            };
            match render(&value.text, &scope) {
                Ok(text) if refers_to_a_variable(&text) => {
                    changed |= text != value.text;
                    value = Pending { text, missing: None, ..value };
                    pending.insert(name, value);
                }
                Ok(text) => {
                    changed = true;
                    values.insert(name, text);
                }
                Err(failure) if failure.missing.is_some() => {
                    value.missing = failure.missing;
                    pending.insert(name, value);
                }
                Err(failure) => {
                    changed = true;
                    let span = value.span.map(|span| span.inside(&value.text, failure.offset));
                    found.push(Diagnostic::error(format!("variable {name}: {}", failure.message)).at(span));
                    broken.insert(name);
                }
            }
        }
        if !changed {
            break;
        }
    }
    found.extend(unresolved(&pending, &broken, template));
    if found.has_errors() {
        return Err(found);
    }
    let sensitive = template.variables.iter().filter(|v| v.sensitive);
    let secrets =
        sensitive.filter_map(|v| values.get(&v.name)).filter(|v| !v.is_empty()).cloned().map(SecretString::from);
    Ok(Variables { secrets: secrets.collect(), values })
}

/// Why values are left over: circles, and variables that do not exist. Each cause is told once.
fn unresolved(pending: &BTreeMap<String, Pending>, broken: &BTreeSet<String>, template: &Template) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (name, value) in pending {
        let mut chain = vec![name.as_str()];
        let diagnostic = loop {
            let last = chain.last().and_then(|name| pending.get(*name));
            let Some(missing) = last.and_then(|value| value.missing.as_deref()) else {
                let message = format!("variable {name}: its value still refers to variables after {MAX_PASSES} passes");
                break Some(Diagnostic::error(message));
            };
            if told.contains(missing) || broken.contains(missing) {
                break None;
            }
            if let Some(start) = chain.iter().position(|name| *name == missing) {
                let circle = chain[start..].iter().chain([&missing]).copied().collect::<Vec<_>>().join(" -> ");
                break Some(
                    Diagnostic::error(format!("variable {missing} is made of itself: {circle}"))
                        .at(pending.get(missing).and_then(|value| value.span.clone()))
                        .help("give one of them a value of its own"),
                );
            }
            if !pending.contains_key(missing) {
                let near = nearest(missing, template.variables.iter().map(|v| v.name.as_str()).filter(|v| v != name));
                let help = did_you_mean(near).unwrap_or_else(|| {
                    format!("declare `{missing}` in `variables`, or give it with -var '{missing}=…'")
                });
                let (name, value) = chain.last().and_then(|name| pending.get_key_value(*name)).unwrap_or((name, value));
                let message =
                    format!("Failed to interpolate \"{name}\": \"{}\"; variable not set: {missing}", value.text);
                break Some(Diagnostic::error(message).at(value.span.clone()).help(help));
            }
            chain.push(missing);
        };
        if let Some(diagnostic) = diagnostic {
            let span = diagnostic.span.clone().or_else(|| value.span.clone());
            found.push(diagnostic.at(span));
        }
        told.extend(chain);
    }
    found
}

/// Renders a value, leaving alone what starts with a field, `{{ .Name }}`: it is for the component that the value goes to.
fn render(text: &str, scope: &Scope<'_>) -> Result<String, lang::Failure> {
    let fields = fields(text);
    if fields.is_empty() {
        return lang::render(text, &BTreeMap::new(), scope);
    }
    let mut hidden = String::with_capacity(text.len());
    let mut end = 0;
    for (n, (from, to)) in fields.iter().enumerate() {
        hidden.push_str(&text[end..*from]);
        hidden.push_str(&placeholder(n, to - from));
        end = *to;
    }
    hidden.push_str(&text[end..]);
    let rendered = lang::render(&hidden, &BTreeMap::new(), scope)?;
    Ok(restored(&rendered, text, &fields))
}

/// Marks the ends of a placeholder.
const MARK: char = '\u{1}';

/// A text that stands for a field: as long as the field, so that offsets stay true.
fn placeholder(n: usize, length: usize) -> String {
    format!("{MARK}{n:0width$}{MARK}", width = length - 2)
}

/// Puts the fields of a text back in the place of what stood for them.
fn restored(rendered: &str, text: &str, fields: &[(usize, usize)]) -> String {
    let mut out = String::with_capacity(rendered.len());
    let mut rest = rendered;
    while let Some(start) = rest.find(MARK) {
        let (before, marked) = rest.split_at(start);
        out.push_str(before);
        let held =
            marked[1..].split_once(MARK).and_then(|(n, after)| Some((fields.get(n.parse::<usize>().ok()?)?, after)));
        if let Some((&(from, to), after)) = held {
            out.push_str(&text[from..to]);
            rest = after;
        } else {
            out.push(MARK);
            rest = &marked[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Where `{{ .Name }}` stands in a text.
fn fields(text: &str) -> Vec<(usize, usize)> {
    let mut fields = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").map(|at| from + at) {
        let inner = &text[open + 2..];
        let blanks = inner.len() - inner.trim_start().len();
        if !inner[blanks..].starts_with('.') {
            from = open + 2;
            continue;
        }
        let Some(length) = inner.find("}}") else { break };
        // A field stands on one line. If it does not, nothing before that line's end can be closed.
        let line = inner[blanks..length].trim_end().find('\n');
        from = open + 2 + line.map_or(length + 2, |end| blanks + end);
        if line.is_none() {
            fields.push((open, from));
        }
    }
    fields
}

/// Whether a value came out as a template again, as when the environment holds one.
fn refers_to_a_variable(text: &str) -> bool {
    text.split("{{").skip(1).any(|action| {
        let name = action.trim_start().strip_prefix("user").map(str::trim_start);
        let closed = name.and_then(|name| name.strip_prefix('`')).and_then(|name| name.split_once('`'));
        closed.is_some_and(|(_, rest)| rest.trim_start().starts_with("}}"))
    })
}
