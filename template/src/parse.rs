//! Reads a [`Template`] and checks its rules, all of them: what a template may hold, not what its components mean.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use builder_core::decode::parse_go_duration;
use builder_core::node::{Member, Node, Value};
use builder_core::source::{Diagnostic, Diagnostics, Source, Span, nearest};

use crate::json::{self, RepeatedKeys};
use crate::template::{Builder, Filter, PostProcessor, Provisioner, Template, Variable};
use crate::{PACKER_VERSION, version};

const ROOT_KEYS: [&str; 10] = [
    "builders",
    "comments",
    "description",
    "error-cleanup-provisioner",
    "min_packer_version",
    "post-processors",
    "provisioners",
    "push",
    "sensitive-variables",
    "variables",
];

const PROVISIONER_KEYS: [&str; 7] = ["type", "only", "except", "override", "pause_before", "timeout", "max_retries"];

const POST_PROCESSOR_KEYS: [&str; 5] = ["type", "name", "only", "except", "keep_input_artifact"];

/// Reads a template. Gives it with its warnings, or everything that is wrong with it.
pub fn load(source: Source) -> Result<(Template, Diagnostics), Diagnostics> {
    match read(source) {
        (Some(template), found) if !found.has_errors() => Ok((template, found)),
        (_, found) => Err(found),
    }
}

/// Reads what can be read of a template, and tells everything that is wrong with it. With errors it is good for finding more
/// of them, by planning it, and for nothing else.
pub fn read(source: Source) -> (Option<Template>, Diagnostics) {
    let source = Arc::new(source);
    match json::parse(&source, RepeatedKeys::Refuse) {
        Ok((root, warnings)) => {
            let mut reader = Reader { found: warnings };
            let template = reader.template(source, &root);
            (Some(template), reader.found)
        }
        Err(found) => (None, found),
    }
}

struct Reader {
    found: Diagnostics,
}

impl Reader {
    fn error(&mut self, span: Option<&Span>, message: impl Into<String>) {
        self.found.push(Diagnostic::error(message).at(span.cloned()));
    }

    fn helped(&mut self, span: Option<&Span>, message: impl Into<String>, help: Option<String>) {
        let diagnostic = Diagnostic::error(message).at(span.cloned());
        self.found.push(Diagnostic { help, ..diagnostic });
    }

    fn template(&mut self, source: Arc<Source>, root: &Node) -> Template {
        let mut template = Template {
            source,
            description: None,
            variables: Vec::new(),
            builders: Vec::new(),
            provisioners: Vec::new(),
            error_cleanup: None,
            post_processors: Vec::new(),
            comments: Vec::new(),
        };
        let Some(members) = root.members() else {
            self.error(root.span.as_ref(), format!("a template must be an object, found {}", root.kind()));
            return template;
        };
        let keys = self.root_keys(members, &mut template.comments);
        let get = |key: &str| keys.get(key).copied();
        if let Some(node) = get("min_packer_version") {
            self.min_packer_version(node);
        }
        template.description = get("description").and_then(|node| self.string("description", node));
        self.ignored(get("push"), get("comments"));
        self.variables(&mut template, get("variables"), get("sensitive-variables"));

        let before = self.found.0.len();
        self.builders(&mut template, get("builders"), root);
        // The names of builders that could not be read are not known to be wrong.
        let names = (self.found.0.len() == before).then(|| Names::of(&template.builders));
        let provisioners = self.list("provisioners", get("provisioners"));
        for (n, node) in provisioners.iter().enumerate() {
            let label = format!("provisioner {}", n + 1);
            template.provisioners.extend(self.provisioner(&label, node, names.as_ref()));
        }
        if let Some(node) = get("error-cleanup-provisioner") {
            template.error_cleanup = self.provisioner("error-cleanup-provisioner", node, None);
        }
        let chains = self.list("post-processors", get("post-processors"));
        for (n, node) in chains.iter().enumerate() {
            let chain = self.chain(n + 1, node, names.as_ref());
            template.post_processors.push(chain);
        }
        template
    }

    /// The values of the known keys; `null` counts as absent. Comments are put aside.
    fn root_keys<'a>(
        &mut self,
        members: &'a [Member],
        comments: &mut Vec<(String, String)>,
    ) -> BTreeMap<&'static str, &'a Node> {
        let mut seen: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in members {
            let key = member.key.as_str();
            let span = member.key_span.as_ref();
            if let Some(known) = ROOT_KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(key)) {
                match seen.entry(known) {
                    Entry::Vacant(place) => {
                        place.insert(member);
                    }
                    // Packer reads keys without regard to case: these two are one.
                    Entry::Occupied(first) => {
                        let repeated =
                            Diagnostic::error(format!("template has duplicate field: {key}")).at(span.cloned());
                        let repeated = repeated.label(first.get().key_span.clone(), "first here");
                        self.found.push(repeated.help("keep one of the two"));
                    }
                }
            } else if key.starts_with('_') {
                match member.value.as_str() {
                    Some(text) => comments.push((key.to_owned(), text.to_owned())),
                    None => self.error(
                        member.value.span.as_ref(),
                        format!("Failed to cast root level comment value in comment \"{key}\" to string"),
                    ),
                }
            } else {
                let help = did_you_mean(nearest(key, ROOT_KEYS));
                self.helped(span, format!("Unknown root level key in template: '{key}'"), help);
            }
        }
        let known = seen.into_iter().map(|(key, member)| (key, &member.value));
        known.filter(|(_, node)| node.value != Value::Null).collect()
    }

    fn string(&mut self, what: &str, node: &Node) -> Option<String> {
        let text = node.as_str().map(ToOwned::to_owned);
        if text.is_none() {
            self.error(node.span.as_ref(), format!("`{what}` must be a string, found {}", node.kind()));
        }
        text
    }

    fn list<'a>(&mut self, what: &str, node: Option<&'a Node>) -> &'a [Node] {
        let Some(node) = node else { return &[] };
        node.items().unwrap_or_else(|| {
            self.error(node.span.as_ref(), format!("`{what}` must be a list, found {}", node.kind()));
            &[]
        })
    }

    fn object<'a>(&mut self, what: &str, node: &'a Node) -> Option<&'a [Member]> {
        let members = node.members();
        if members.is_none() {
            self.error(node.span.as_ref(), format!("{what} must be an object, found {}", node.kind()));
        }
        members
    }

    fn min_packer_version(&mut self, node: &Node) {
        let Some(asked) = self.string("min_packer_version", node) else { return };
        match version::satisfied(&asked, PACKER_VERSION) {
            Some(true) => {}
            Some(false) => {
                let message =
                    format!("This template requires Packer version {asked} or higher; using {PACKER_VERSION}");
                let help =
                    format!("gaia answers as Packer {PACKER_VERSION}: lower `min_packer_version` if that is enough");
                self.helped(node.span.as_ref(), message, Some(help));
            }
            None => self.error(node.span.as_ref(), format!("min_version is invalid: Malformed version: {asked}")),
        }
    }

    /// `push` is of a service that is gone, and `comments` are for people: both are checked and left alone.
    fn ignored(&mut self, push: Option<&Node>, comments: Option<&Node>) {
        if let Some(push) = push {
            self.object("`push`", push);
        }
        for node in self.list("comments", comments) {
            for member in self.object("a comment", node).unwrap_or_default() {
                self.string(&member.key, &member.value);
            }
        }
    }

    fn variables(&mut self, template: &mut Template, variables: Option<&Node>, sensitive: Option<&Node>) {
        for member in variables.and_then(|node| self.object("`variables`", node)).unwrap_or_default() {
            let default = match &member.value.value {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                _ => {
                    let (name, span) = (&member.key, &member.value.span);
                    let help = match member.value.value {
                        Value::Number(_) | Value::Bool(_) => {
                            span.as_ref().map(|span| format!("write it as a string: \"{}\"", span.text()))
                        }
                        _ => None,
                    };
                    let message =
                        format!("variable {name}: the default must be a string or null, found {}", member.value.kind());
                    self.helped(span.as_ref(), message, help);
                    // Whoever uses it is not wrong to.
                    Some(String::new())
                }
            };
            template.variables.push(Variable {
                name: member.key.clone(),
                name_span: member.key_span.clone(),
                default,
                span: member.value.span.clone(),
                sensitive: false,
            });
        }
        for node in self.list("sensitive-variables", sensitive) {
            let Some(name) = self.string("sensitive-variables", node) else { continue };
            if let Some(variable) = template.variables.iter_mut().find(|v| v.name == name) {
                variable.sensitive = true;
                continue;
            }
            // Packer says nothing, and shows the value that was meant to be hidden.
            let near = nearest(&name, template.variables.iter().map(|v| v.name.as_str()));
            let message =
                format!("`sensitive-variables` names `{name}`, which is not in `variables`: it hides nothing");
            self.found
                .push(Diagnostic { help: did_you_mean(near), ..Diagnostic::warning(message).at(node.span.clone()) });
        }
    }

    fn builders(&mut self, template: &mut Template, builders: Option<&Node>, root: &Node) {
        let list = self.list("builders", builders);
        if list.is_empty() && builders.is_none_or(|node| node.items().is_some()) {
            let span = builders.unwrap_or(root).span.as_ref();
            self.helped(span, "at least one builder must be defined", Some("add one to `builders`".to_owned()));
        }
        let mut names: HashMap<String, Option<Span>> = HashMap::new();
        for (n, node) in list.iter().enumerate() {
            let label = format!("builder {}", n + 1);
            if self.object(&label, node).is_none() {
                continue;
            }
            let kind = self.kind(&label, "missing 'type'", node);
            let name = match node.get("name") {
                None => kind.clone(),
                Some(name) if matches!(&name.value, Value::Null) || name.as_str() == Some("") => kind.clone(),
                Some(name) => self.string(&format!("{label}: name"), name).map(|_| name.clone()),
            };
            let (Some(kind), Some(name)) = (kind, name) else { continue };
            let builder = Builder { name, kind, config: without(node, &["type", "name"]) };
            let raw = builder.raw_name();
            if let Some(first) = names.get(raw) {
                let repeated = Diagnostic::error(format!("{label}: builder with name '{raw}' already exists"));
                let repeated = repeated.at(builder.name.span.clone()).label(first.clone(), "first here");
                self.found.push(repeated.help("give each of them a `name` of its own"));
                continue;
            }
            names.insert(raw.to_owned(), builder.name.span.clone());
            template.builders.push(builder);
        }
    }

    /// The `type` of a component.
    fn kind(&mut self, label: &str, missing: &str, node: &Node) -> Option<Node> {
        match node.get("type") {
            Some(kind) if matches!(&kind.value, Value::String(text) if !text.is_empty()) => Some(kind.clone()),
            Some(kind) if !matches!(kind.value, Value::Null | Value::String(_)) => {
                self.error(kind.span.as_ref(), format!("{label}: `type` must be a string, found {}", kind.kind()));
                None
            }
            _ => {
                self.error(node.span.as_ref(), format!("{label}: {missing}"));
                None
            }
        }
    }

    /// `names` is `None` where only, except and override have no meaning.
    fn provisioner(&mut self, label: &str, node: &Node, names: Option<&Names>) -> Option<Provisioner> {
        self.object(label, node)?;
        let kind = self.kind(label, "Provisioner missing 'type'", node);
        let filter = self.filter(label, node, names);
        let overrides = self.overrides(label, node, names);
        let pause_before = self.duration(label, "pause_before", node);
        let timeout = self.duration(label, "timeout", node);
        let max_retries = node.get("max_retries").filter(|node| node.value != Value::Null);
        if let Some(retries) = max_retries.filter(|r| !matches!(r.value, Value::String(_) | Value::Number(_))) {
            self.error(
                retries.span.as_ref(),
                format!("{label}: `max_retries` must be a valid integer, found {}", retries.kind()),
            );
        }
        let config = without(node, &PROVISIONER_KEYS);
        Some(Provisioner {
            kind: kind?,
            filter,
            overrides,
            pause_before,
            timeout,
            max_retries: max_retries.cloned(),
            config,
        })
    }

    fn overrides(&mut self, label: &str, node: &Node, names: Option<&Names>) -> BTreeMap<String, Node> {
        let Some(node) = node.get("override").filter(|node| node.value != Value::Null) else { return BTreeMap::new() };
        let members = self.object(&format!("{label}: `override`"), node).unwrap_or_default();
        for member in members {
            let name = &member.key;
            if let Some(names) = names.filter(|names| !names.has(name)) {
                let message = format!("{label}: override '{name}' doesn't exist");
                self.helped(member.key_span.as_ref(), message, names.help(name));
            }
            self.object(&format!("{label}: override '{name}'"), &member.value);
        }
        members.iter().map(|member| (member.key.clone(), member.value.clone())).collect()
    }

    /// A duration that is above zero. It is read before variables are known.
    fn duration(&mut self, label: &str, key: &str, node: &Node) -> Option<Duration> {
        let node = node.get(key)?;
        let duration = match &node.value {
            Value::Null => return None,
            Value::Number(nanos) => match nanos.parse::<i64>() {
                Ok(nanos) => return u64::try_from(nanos).ok().filter(|n| *n > 0).map(Duration::from_nanos),
                Err(_) => Err("a number must be whole nanoseconds: write a text with a unit, like \"90s\"".to_owned()),
            },
            Value::String(text) if text.contains("{{") => {
                Err("it cannot be a template: write it out, like \"90s\"".to_owned())
            }
            Value::String(text) => parse_go_duration(text),
            _ => Err(format!("expected a duration like \"90s\", found {}", node.kind())),
        };
        match duration {
            Ok(duration) => duration.positive(),
            Err(message) => {
                self.error(node.span.as_ref(), format!("{label}: `{key}`: {message}"));
                None
            }
        }
    }

    fn filter(&mut self, label: &str, node: &Node, names: Option<&Names>) -> Filter {
        let only = self.names(label, "only", node, names);
        let except = self.names(label, "except", node, names);
        match (only.is_empty(), except.is_empty()) {
            (true, true) => Filter::All,
            (false, true) => Filter::Only(only),
            (true, false) => Filter::Except(except),
            (false, false) => {
                let place = node.member("except").and_then(|m| m.key_span.as_ref());
                self.error(place, format!("{label}: only one of 'only' or 'except' may be specified"));
                Filter::All
            }
        }
    }

    /// A list of builders' raw names; a single one need not be a list.
    fn names(&mut self, label: &str, key: &str, node: &Node, names: Option<&Names>) -> BTreeSet<String> {
        let Some(node) = node.get(key).filter(|node| node.value != Value::Null) else { return BTreeSet::new() };
        let mut set = BTreeSet::new();
        for item in node.items().unwrap_or(std::slice::from_ref(node)) {
            let Some(name) = self.string(&format!("{label}: {key}"), item) else { continue };
            if let Some(names) = names.filter(|names| !names.has(&name)) {
                let message = format!("{label}: '{key}' specified builder '{name}' not found");
                self.helped(item.span.as_ref(), message, names.help(&name));
            }
            set.insert(name);
        }
        set
    }

    /// One item of `post-processors`: a type, an object, or a sequence of both.
    fn chain(&mut self, n: usize, node: &Node, names: Option<&Names>) -> Vec<PostProcessor> {
        let items = match &node.value {
            Value::Array(items) => items.as_slice(),
            Value::String(_) | Value::Object(_) => std::slice::from_ref(node),
            _ => {
                let message = format!(
                    "post-processor {n}: bad format: expected a type, an object or a list, found {}",
                    node.kind()
                );
                self.error(node.span.as_ref(), message);
                return Vec::new();
            }
        };
        let mut chain = Vec::with_capacity(items.len());
        for (m, item) in items.iter().enumerate() {
            let label = format!("post-processor {n}.{}", m + 1);
            match &item.value {
                Value::String(_) | Value::Object(_) => chain.extend(self.post_processor(&label, item, names)),
                Value::Array(_) => {
                    self.error(item.span.as_ref(), format!("{label}: sequence not allowed to be nested in a sequence"));
                }
                _ => self.error(item.span.as_ref(), format!("{label}: unknown format: found {}", item.kind())),
            }
        }
        chain
    }

    fn post_processor(&mut self, label: &str, node: &Node, names: Option<&Names>) -> Option<PostProcessor> {
        let missing = "type is required";
        let kind = match node.as_str() {
            Some("") => {
                self.error(node.span.as_ref(), format!("{label}: {missing}"));
                None
            }
            Some(_) => Some(node.clone()),
            None => self.kind(label, missing, node),
        };
        let name = node.get("name").filter(|name| name.value != Value::Null && name.as_str() != Some(""));
        let name = name.and_then(|name| self.string(&format!("{label}: name"), name));
        let filter = self.filter(label, node, names);
        let keep_input = match node.get("keep_input_artifact").map(|keep| (&keep.value, keep)) {
            None | Some((Value::Null, _)) => None,
            Some((Value::Bool(keep), _)) => Some(*keep),
            Some((_, keep)) => {
                let message = format!("{label}: `keep_input_artifact` must be true or false, found {}", keep.kind());
                self.error(keep.span.as_ref(), message);
                None
            }
        };
        let kind = kind?;
        let name = name.unwrap_or_else(|| kind.as_str().unwrap_or_default().to_owned());
        let config = match node.members() {
            Some(_) => without(node, &POST_PROCESSOR_KEYS),
            None => Node { value: Value::Object(Vec::new()), span: node.span.clone() },
        };
        Some(PostProcessor { kind, name, filter, keep_input, config })
    }
}

/// The raw names of the builders.
struct Names(BTreeSet<String>);

impl Names {
    fn of(builders: &[Builder]) -> Self {
        Self(builders.iter().map(|b| b.raw_name().to_owned()).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn help(&self, name: &str) -> Option<String> {
        did_you_mean(nearest(name, self.0.iter().map(String::as_str)))
    }
}

pub(crate) fn did_you_mean(near: Option<&str>) -> Option<String> {
    near.map(|near| format!("did you mean `{near}`?"))
}

/// An object without some of its keys, in whatever case they are written.
fn without(node: &Node, keys: &[&str]) -> Node {
    let members = node.members().unwrap_or_default().iter();
    let kept = members.filter(|m| !keys.iter().any(|key| key.eq_ignore_ascii_case(&m.key))).cloned();
    Node { value: Value::Object(kept.collect()), span: node.span.clone() }
}
