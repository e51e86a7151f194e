//! From a template to the builds that are to be run, with every component decoded and prepared.
//!
//! Pure, and complete: the problems of all builds are found, each told once. Knows the registry and no plugin.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use builder_core::communicator::Connector;
use builder_core::decode::Decoding;
use builder_core::engine::{Placed, PlannedBuild, PlannedPostProcessor, PlannedProvisioner};
use builder_core::node::{Member, Node, Value};
use builder_core::plugin::{Builder as Prepared, PrepareContext};
use builder_core::registry::{BuilderEntry, CommunicatorEntry, Registry, unknown_type};
use builder_core::render::{RenderData, Renderer};
use builder_core::source::{Diagnostic, Diagnostics, nearest};

use crate::lang::{self, Scope, Settings};
use crate::parse::did_you_mean;
use crate::renderer::TemplateRenderer;
use crate::template::{Builder, PostProcessor, Provisioner, Template};
use crate::variables::{self, Assignment, Variables};

/// The communicator of a builder that does not say.
const DEFAULT_COMMUNICATOR: &str = "ssh";

/// The communicator of a builder that needs none.
const NO_COMMUNICATOR: &str = "none";

/// What the user says beside the template.
#[derive(Clone, Debug)]
pub struct PlanInput<'a> {
    /// Variables: those of the files first, then those of `-var`; a later one wins.
    pub given: &'a [Assignment],
    /// `-only`: names of builds.
    pub only: &'a [String],
    /// `-except`: names of builds and of post-processors.
    pub except: &'a [String],
    /// `-force`
    pub force: bool,
    /// What `env` reads.
    pub environment: &'a BTreeMap<String, String>,
    /// Time, folders and randomness.
    pub settings: Settings,
}

/// Builds that are ready to run.
#[derive(Debug)]
pub struct Plan {
    /// Sorted by name.
    pub builds: Vec<PlannedBuild>,
    /// What does not keep them from running.
    pub warnings: Diagnostics,
}

/// Plans the builds of a template.
pub fn plan(template: &Template, registry: &Registry, input: &PlanInput<'_>) -> Result<Plan, Diagnostics> {
    let settings = Arc::new(input.settings.clone());
    let Variables { values, secrets } = variables::resolve(template, input.given, &settings, input.environment)?;
    let mut communicator_keys: Vec<_> =
        registry.communicators.values().flat_map(|entry| (entry.about.fields)().iter().copied()).collect();
    communicator_keys.push("communicator");
    let mut planner = Planner {
        template,
        registry,
        input,
        settings,
        variables: Arc::new(values),
        communicator_keys,
        found: Diagnostics::default(),
        told: HashSet::new(),
    };
    let named = planner.names();
    let selected = planner.select(named);
    let mut builds = Vec::with_capacity(selected.len());
    for named in &selected {
        if let Some(build) = planner.build(named) {
            builds.push(PlannedBuild { secrets: secrets.clone(), ..build });
        }
    }
    // The order of the text, not that of the builds' names.
    planner.found.0.sort_by_key(|d| d.span.as_ref().map(|span| span.start));
    if planner.found.has_errors() { Err(planner.found) } else { Ok(Plan { builds, warnings: planner.found }) }
}

/// A builder whose name and type are rendered.
struct Named<'a> {
    name: String,
    kind: String,
    builder: &'a Builder,
}

struct Planner<'a> {
    template: &'a Template,
    registry: &'a Registry,
    input: &'a PlanInput<'a>,
    settings: Arc<Settings>,
    variables: Arc<BTreeMap<String, String>>,
    /// The keys of every communicator: they may stand beside the keys of any builder that communicates.
    communicator_keys: Vec<&'static str>,
    found: Diagnostics,
    /// What has been told: a component belongs to many builds, and gives each the same problems.
    told: HashSet<(String, Option<(usize, usize)>)>,
}

impl<'a> Planner<'a> {
    fn tell(&mut self, diagnostic: Diagnostic) {
        let place = diagnostic.span.as_ref().map(|span| (span.start, span.end));
        if self.told.insert((diagnostic.message.clone(), place)) {
            self.found.push(diagnostic);
        }
    }

    fn keep<T>(&mut self, result: Result<T, Diagnostics>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Diagnostics(diagnostics)) => {
                diagnostics.into_iter().for_each(|d| self.tell(d));
                None
            }
        }
    }

    fn tell_unknown<'k>(
        &mut self,
        kind: &str,
        node: &Node,
        typed: &str,
        known: impl Iterator<Item = &'k &'static str> + Clone,
    ) {
        let (message, help) = unknown_type(kind, typed, known.copied());
        self.tell(Diagnostic::error(message).at(node.span.clone()).help(help));
    }

    /// The builders with their names, sorted. A name can use variables, but not what the name gives: `build_name`.
    fn names(&mut self) -> Vec<Named<'a>> {
        let mut named: BTreeMap<String, Named<'a>> = BTreeMap::new();
        for builder in &self.template.builders {
            let (Some(name), Some(kind)) = (self.render_early(&builder.name), self.render_early(&builder.kind)) else {
                continue;
            };
            if let Some(first) = named.get(&name) {
                let repeated = Diagnostic::error(format!("builder with name '{name}' already exists"))
                    .at(builder.name.span.clone())
                    .label(first.builder.name.span.clone(), "the other one")
                    .help("give each of them a `name` of its own");
                self.tell(repeated);
                continue;
            }
            named.insert(name.clone(), Named { name, kind, builder });
        }
        named.into_values().collect()
    }

    fn render_early(&mut self, node: &Node) -> Option<String> {
        let text = node.as_str().unwrap_or_default();
        let scope = Scope {
            settings: &self.settings,
            variables: &self.variables,
            environment: None,
            build_name: None,
            build_type: None,
            build: &BTreeMap::new(),
        };
        let place = |offset| node.span.as_ref().map(|span| span.inside(text, offset));
        let diagnostic = match lang::render(text, &BTreeMap::new(), &scope) {
            Ok(rendered) if rendered.contains(char::is_control) => {
                Diagnostic::error("a name must not hold control characters").at(node.span.clone())
            }
            Ok(rendered) if !rendered.is_empty() => return Some(rendered),
            Ok(_) => Diagnostic::error(format!("`{text}` is empty once its variables are known")).at(node.span.clone()),
            Err(failure) => Diagnostic::error(failure.message).at(place(failure.offset)),
        };
        self.tell(diagnostic);
        None
    }

    /// Those that `-only` and `-except` leave.
    fn select(&mut self, named: Vec<Named<'a>>) -> Vec<Named<'a>> {
        let PlanInput { only, except, .. } = self.input;
        let names: BTreeSet<String> = named.iter().map(|n| n.name.clone()).collect();
        let post_processors: BTreeSet<&str> =
            self.template.post_processors.iter().flatten().map(|p| p.name.as_str()).collect();
        let only_names: HashSet<&str> = only.iter().map(String::as_str).collect();
        let except_names: HashSet<&str> = except.iter().map(String::as_str).collect();
        let before = named.len();
        let selected: Vec<_> = named
            .into_iter()
            .filter(|n| only.is_empty() || only_names.contains(n.name.as_str()))
            .filter(|n| !except_names.contains(n.name.as_str()))
            .collect();
        let unmatched = only.iter().filter(|name| !names.contains(*name)).map(|name| ("-only", name)).chain(
            except
                .iter()
                .filter(|n| !names.contains(*n) && !post_processors.contains(n.as_str()))
                .map(|n| ("-except", n)),
        );
        if selected.is_empty() && before > 0 {
            let near = unmatched.clone().find_map(|(_, name)| nearest(name, names.iter().map(String::as_str)));
            let known = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let help = did_you_mean(near).map_or_else(String::new, |help| format!("{help} "));
            let message = "No builds to run: -only and -except leave none of this template's builds";
            self.tell(Diagnostic::error(message).help(format!("{help}builds here: {known}")));
            return selected;
        }
        for (flag, name) in unmatched {
            let near = nearest(name, names.iter().map(String::as_str));
            let warning = Diagnostic::warning(format!("{flag}={name} matches nothing in this template"));
            self.tell(Diagnostic { help: did_you_mean(near), ..warning });
        }
        selected
    }

    fn build(&mut self, named: &Named<'_>) -> Option<PlannedBuild> {
        let Named { name, kind, builder } = named;
        let renderer: Arc<dyn Renderer> = Arc::new(TemplateRenderer::new(
            self.settings.clone(),
            self.variables.clone(),
            name.as_str(),
            kind.as_str(),
        ));
        let build = Build {
            raw_name: builder.raw_name(),
            cx: PrepareContext { build_name: name, build_type: kind, force: self.input.force },
            renderer: &*renderer,
        };
        let prepared = self.builder(kind, builder, &build);
        let template = self.template;
        let mut provisioners = Vec::with_capacity(template.provisioners.len());
        for provisioner in template.provisioners.iter().filter(|p| p.filter.allows(build.raw_name)) {
            let config = match provisioner.overrides.get(build.raw_name) {
                Some(overrides) => merged(&provisioner.config, overrides),
                None => provisioner.config.clone(),
            };
            provisioners.extend(self.provisioner(provisioner, config, &build));
        }
        let error_cleanup = template.error_cleanup.as_ref().and_then(|p| self.provisioner(p, p.config.clone(), &build));
        let mut post_processors = Vec::with_capacity(template.post_processors.len());
        for chain in &template.post_processors {
            let chain = self.chain(chain, &build);
            if !chain.is_empty() {
                post_processors.push(chain);
            }
        }
        let (builder, connector) = prepared?;
        Some(PlannedBuild {
            name: name.clone(),
            build_type: kind.clone(),
            builder,
            connector,
            provisioners,
            error_cleanup,
            post_processors,
            renderer,
            secrets: Vec::new(),
        })
    }

    fn builder(&mut self, kind: &str, builder: &Builder, build: &Build<'_>) -> Option<Connected> {
        let Some(entry) = self.registry.builders.get(kind).copied() else {
            self.tell_unknown("builder", &builder.kind, kind, self.registry.builders.keys());
            return None;
        };
        let component = format!("builder `{kind}`");
        let connector = self.connector(&entry, builder, build);
        // What is wrong with the builder is worth telling beside what is wrong with its communicator.
        let stand_in = connector.clone().or_else(|| self.stand_in(build))?;
        let keys = if entry.communicates { std::mem::take(&mut self.communicator_keys) } else { Vec::new() };
        let how = Decoding { component: &component, renderer: build.renderer, elsewhere: &keys };
        let prepared = (entry.prepare)(&builder.config, stand_in, build.cx, &how);
        if entry.communicates {
            self.communicator_keys = keys;
        }
        let it = self.keep(prepared)?;
        Some((Placed { component, node: builder.config.clone(), it }, connector?))
    }

    /// The communicator of a builder, from the keys that are its own among the builder's.
    fn connector(&mut self, entry: &BuilderEntry, builder: &Builder, build: &Build<'_>) -> Option<Arc<dyn Connector>> {
        let config = &builder.config;
        let place = config.get("communicator").filter(|node| entry.communicates && node.value != Value::Null);
        let kind = match place {
            None if entry.communicates => DEFAULT_COMMUNICATOR.to_owned(),
            None => NO_COMMUNICATOR.to_owned(),
            Some(node) => match self.render(node, "communicator", build)? {
                empty if empty.is_empty() => DEFAULT_COMMUNICATOR.to_owned(),
                kind => kind,
            },
        };
        let registry = self.registry;
        let Some(entry) = registry.communicators.get(kind.as_str()) else {
            self.tell_unknown("communicator", place.unwrap_or(config), &kind, registry.communicators.keys());
            return None;
        };
        let connector = prepare_communicator(entry, &kind, config, build);
        self.keep(connector)
    }

    fn stand_in(&self, build: &Build<'_>) -> Option<Arc<dyn Connector>> {
        let entry = self.registry.communicators.get(NO_COMMUNICATOR)?;
        let nothing = Node { value: Value::Object(Vec::new()), span: None };
        prepare_communicator(entry, NO_COMMUNICATOR, &nothing, build).ok()
    }

    fn provisioner(
        &mut self,
        provisioner: &Provisioner,
        config: Node,
        build: &Build<'_>,
    ) -> Option<PlannedProvisioner> {
        let kind = provisioner.kind.as_str().unwrap_or_default();
        let max_retries = match &provisioner.max_retries {
            Some(node) => self.retries(node, build),
            None => Some(0),
        };
        let registry = self.registry;
        let Some(entry) = registry.provisioners.get(kind) else {
            self.tell_unknown("provisioner", &provisioner.kind, kind, registry.provisioners.keys());
            return None;
        };
        let component = format!("provisioner `{kind}`");
        let how = Decoding { component: &component, renderer: build.renderer, elsewhere: &[] };
        let it = self.keep((entry.prepare)(&config, build.cx, &how))?;
        Some(PlannedProvisioner {
            kind: kind.to_owned(),
            provisioner: Placed { component, node: config, it },
            pause_before: provisioner.pause_before,
            timeout: provisioner.timeout,
            max_retries: max_retries?,
        })
    }

    fn retries(&mut self, node: &Node, build: &Build<'_>) -> Option<u32> {
        let text = self.render(node, "max_retries", build)?;
        let retries = text.parse().ok();
        if retries.is_none() {
            let message = format!("`max_retries` must be a valid integer that is not negative, found \"{text}\"");
            self.tell(Diagnostic::error(message).at(node.span.clone()));
        }
        retries
    }

    /// A string or number around a component.
    fn render(&mut self, node: &Node, key: &str, build: &Build<'_>) -> Option<String> {
        let text = match &node.value {
            Value::String(text) => text,
            Value::Number(number) => return Some(number.clone()),
            _ => {
                self.tell(
                    Diagnostic::error(format!("`{key}` must be a string, found {}", node.kind())).at(node.span.clone()),
                );
                return None;
            }
        };
        match build.renderer.render(text, &RenderData::default()) {
            Ok(text) => Some(text),
            Err(e) => {
                let span = node.span.as_ref().map(|span| span.inside(text, e.offset.unwrap_or(0)));
                self.tell(Diagnostic::error(format!("`{key}`: {}", e.message)).at(span));
                None
            }
        }
    }

    /// A chain up to the first that `-except` names; those that are not for this builder are passed over.
    fn chain(&mut self, chain: &[PostProcessor], build: &Build<'_>) -> Vec<PlannedPostProcessor> {
        let except = self.input.except;
        chain
            .iter()
            .filter(|p| p.filter.allows(build.raw_name))
            .take_while(|p| !except.contains(&p.name))
            .filter_map(|p| self.post_processor(p, build))
            .collect()
    }

    fn post_processor(&mut self, post_processor: &PostProcessor, build: &Build<'_>) -> Option<PlannedPostProcessor> {
        let kind = post_processor.kind.as_str().unwrap_or_default();
        let registry = self.registry;
        let Some(entry) = registry.post_processors.get(kind) else {
            self.tell_unknown("post-processor", &post_processor.kind, kind, registry.post_processors.keys());
            return None;
        };
        let component = format!("post-processor `{kind}`");
        let how = Decoding { component: &component, renderer: build.renderer, elsewhere: &[] };
        let it = self.keep((entry.prepare)(&post_processor.config, build.cx, &how))?;
        Some(PlannedPostProcessor {
            kind: kind.to_owned(),
            name: post_processor.name.clone(),
            keep_input: post_processor.keep_input,
            post_processor: Placed { component, node: post_processor.config.clone(), it },
        })
    }
}

/// A prepared builder with its communicator.
type Connected = (Placed<Box<dyn Prepared>>, Arc<dyn Connector>);

/// What the components of one build are prepared with.
struct Build<'a> {
    raw_name: &'a str,
    cx: PrepareContext<'a>,
    renderer: &'a dyn Renderer,
}

/// Prepares a communicator from the keys of an object that are its own: the others are the builder's to judge.
fn prepare_communicator(
    entry: &CommunicatorEntry,
    kind: &str,
    config: &Node,
    build: &Build<'_>,
) -> Result<Arc<dyn Connector>, Diagnostics> {
    let fields = (entry.about.fields)();
    let members = config.members().unwrap_or_default().iter();
    let own = members.filter(|m| fields.iter().any(|field| field.eq_ignore_ascii_case(&m.key))).cloned().collect();
    let own = Node { value: Value::Object(own), span: config.span.clone() };
    let how = Decoding { component: &format!("communicator `{kind}`"), renderer: build.renderer, elsewhere: &[] };
    (entry.prepare)(&own, build.cx, &how)
}

/// A config with some of its keys replaced; objects are merged key by key.
fn merged(base: &Node, overrides: &Node) -> Node {
    let (Some(old), Some(new)) = (base.members(), overrides.members()) else { return overrides.clone() };
    let mut members: Vec<Member> = old.to_vec();
    for member in new {
        match members.iter_mut().find(|m| m.key.eq_ignore_ascii_case(&member.key)) {
            Some(old) => *old = Member { value: merged(&old.value, &member.value), ..member.clone() },
            None => members.push(member.clone()),
        }
    }
    Node { value: Value::Object(members), span: base.span.clone() }
}
