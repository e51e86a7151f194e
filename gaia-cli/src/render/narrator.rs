//! Events in Packer's words: which lines a run consists of, and the summary at its end.
//!
//! Knows which builds are on their way, so that it can name them when the run is left in the middle.

use builder_core::Event;
use builder_core::EventKind;
use builder_core::event::ArtifactSummary;
use jiff::Timestamp;

use super::{Level, Line, Shape, Ui};

/// What the narrator needs to know of the command.
#[derive(Clone, Debug)]
pub(crate) struct NarratorOptions {
    /// The command that takes away what is left: `gaia cleanup`, with the state directory if it was given by a flag.
    pub(crate) cleanup: String,
    /// Whether each thing that was taken away is named: in `gaia cleanup`. In a build, the builder's own lines tell.
    pub(crate) names_reclaimed: bool,
}

/// Tells a run to a [`Ui`].
pub(crate) struct Narrator {
    ui: Ui,
    options: NarratorOptions,
    /// In the order of the run.
    builds: Vec<Told>,
}

/// What has been told of a build.
#[derive(Debug, Default)]
struct Told {
    name: String,
    /// Known once it has begun.
    id: Option<String>,
    ended: bool,
    cancelled: bool,
    /// Why it failed, if it did and was not cancelled.
    error: Option<String>,
    artifacts: Vec<ArtifactSummary>,
    /// Something could not be taken away.
    left: bool,
}

impl Told {
    fn succeeded(&self) -> bool {
        self.ended && !self.cancelled && self.error.is_none()
    }
}

impl Narrator {
    pub(crate) fn new(ui: Ui, options: NarratorOptions) -> Self {
        Self { ui, options, builds: Vec::new() }
    }

    /// What it tells to.
    pub(crate) fn ui(&mut self) -> &mut Ui {
        &mut self.ui
    }

    /// The same, when there is nothing more to tell.
    pub(crate) fn into_ui(mut self) -> Ui {
        self.ui.end();
        self.ui
    }

    /// Takes note of an event without telling it.
    pub(crate) fn note(&mut self, event: &Event) {
        let name = event.build.as_deref().unwrap_or_default();
        match &event.kind {
            EventKind::RunStarted { builds } => {
                self.builds = builds.iter().map(|name| Told { name: name.clone(), ..Told::default() }).collect();
            }
            EventKind::BuildStarted { build_id, .. } => self.told(name).id = Some(build_id.clone()),
            EventKind::BuildFinished { artifacts, .. } => {
                let told = self.told(name);
                told.ended = true;
                told.artifacts.clone_from(artifacts);
            }
            EventKind::BuildFailed { error, artifacts, cancelled, .. } => {
                let told = self.told(name);
                told.ended = true;
                told.cancelled = *cancelled;
                told.error = (!cancelled).then(|| error.clone());
                told.artifacts.clone_from(artifacts);
            }
            EventKind::LeftBehind { build_id, .. } => {
                let told = self.told(name);
                told.id = Some(build_id.clone());
                told.left = true;
            }
            _ => {}
        }
    }

    fn told(&mut self, name: &str) -> &mut Told {
        let n = self.builds.iter().position(|b| b.name == name).unwrap_or_else(|| {
            self.builds.push(Told { name: name.to_owned(), ..Told::default() });
            self.builds.len() - 1
        });
        &mut self.builds[n]
    }

    /// Tells an event.
    pub(crate) fn event(&mut self, event: &Event) {
        self.note(event);
        let at = event.at;
        let build = event.build.as_deref();
        // What is said without a build stands alone.
        let (step, detail) = if build.is_some() { (Shape::Step, Shape::Detail) } else { (Shape::Bare, Shape::Bare) };
        let mut tell = |shape, level, text: &str| self.ui.line(&Line { at, build, shape, level, text });
        match &event.kind {
            EventKind::RunStarted { builds } => self.header(at, builds),
            EventKind::Say(text) => tell(step, Level::Say, text),
            EventKind::Message(text) => tell(detail, Level::Message, text),
            EventKind::Error(text) => tell(step, Level::Error, text),
            EventKind::Warning(text) => tell(step, Level::Warning, &format!("warning: {text}")),
            EventKind::Stdout(text) => tell(detail, Level::Message, last_written(text)),
            EventKind::Stderr(text) => tell(detail, Level::ScriptError, last_written(text)),
            EventKind::Waiting { what } => self.ui.wait(at, build.unwrap_or_default(), Some(what)),
            EventKind::WaitEnded => self.ui.wait(at, build.unwrap_or_default(), None),
            EventKind::Ledger { what: "reclaimed", kind, id } if self.options.names_reclaimed => {
                tell(detail, Level::Message, &format!("Removed {kind} {id}"));
            }
            EventKind::LeftBehind { resources, .. } => {
                tell(step, Level::Error, "These resources are left behind:");
                resources.iter().for_each(|resource| tell(detail, Level::Error, resource));
            }
            EventKind::BuildFinished { .. } => {
                let name = build.unwrap_or_default();
                tell(Shape::Bare, Level::Say, &format!("Build '{name}' finished."));
                self.ui.wait(at, name, None);
            }
            EventKind::BuildFailed { error, cancelled, .. } => {
                let name = build.unwrap_or_default();
                let error = if *cancelled { CANCELLED } else { error };
                tell(Shape::Bare, Level::Error, &format!("Build '{name}' errored: {error}"));
                self.ui.wait(at, name, None);
            }
            EventKind::RunFinished { cancelled, .. } => self.summary(at, *cancelled),
            _ => {}
        }
    }

    /// Which build has which colour.
    fn header(&mut self, at: Timestamp, builds: &[String]) {
        let mut header = |build, text: &str| {
            self.ui.line(&Line { at, build, shape: Shape::Header, level: Level::Say, text });
        };
        builds.iter().for_each(|name| header(Some(name.as_str()), &format!("{name} output will be in this color.")));
        header(None, "");
    }

    fn bare(&mut self, at: Timestamp, level: Level, text: &str) {
        self.ui.line(&Line { at, build: None, shape: Shape::Bare, level, text });
    }

    fn summary(&mut self, at: Timestamp, cancelled: bool) {
        let builds = std::mem::take(&mut self.builds);
        self.errors(at, &builds);
        self.artifacts(at, &builds, cancelled);
        let left: Vec<_> = builds.iter().filter(|b| b.left).filter_map(|b| b.id.as_deref()).collect();
        if !left.is_empty() {
            self.cleanup_lines(at, "\n==> To take away what is left behind, run:", &left);
        }
        match (cancelled, left.is_empty()) {
            (true, true) => self.bare(at, Level::Say, "Cleanly cancelled builds after being interrupted."),
            (true, false) => self.bare(at, Level::Say, "Cancelled builds after being interrupted."),
            (false, _) => {}
        }
    }

    fn errors(&mut self, at: Timestamp, builds: &[Told]) {
        let failed: Vec<_> = builds.iter().filter_map(|b| Some((&b.name, b.error.as_deref()?))).collect();
        if failed.is_empty() {
            return;
        }
        self.ui.fact(Some(at), "", "error-count", &[&failed.len().to_string()]);
        self.bare(at, Level::Error, "\n==> Some builds didn't complete successfully and had errors:");
        for (name, error) in failed {
            self.ui.fact(Some(at), name, "error", &[error]);
            self.bare(at, Level::Error, &format!("--> {name}: {error}"));
        }
    }

    fn artifacts(&mut self, at: Timestamp, builds: &[Told], cancelled: bool) {
        let (finished, unfinished): (Vec<_>, Vec<_>) =
            builds.iter().filter(|b| !b.artifacts.is_empty()).partition(|b| b.succeeded());
        if !finished.is_empty() {
            self.bare(at, Level::Say, "\n==> Builds finished. The artifacts of successful builds are:");
            finished.iter().for_each(|build| self.artifacts_of(at, build));
        }
        if !unfinished.is_empty() {
            self.bare(at, Level::Say, "\n==> These artifacts exist, though their builds did not succeed:");
            unfinished.iter().for_each(|build| self.artifacts_of(at, build));
        }
        if finished.is_empty() && unfinished.is_empty() && !cancelled {
            self.bare(at, Level::Say, "\n==> Builds finished but no artifacts were created.");
        }
    }

    fn artifacts_of(&mut self, at: Timestamp, build: &Told) {
        let name = &build.name;
        self.ui.fact(Some(at), name, "artifact-count", &[&build.artifacts.len().to_string()]);
        for (i, artifact) in build.artifacts.iter().enumerate() {
            let i = i.to_string();
            let mut fact = |args: &[&str]| self.ui.fact(Some(at), name, "artifact", &[&[i.as_str()], args].concat());
            fact(&["builder-id", &artifact.builder_id]);
            fact(&["id", &artifact.id]);
            fact(&["string", &artifact.text]);
            fact(&["files-count", &artifact.files.len().to_string()]);
            for (n, file) in artifact.files.iter().enumerate() {
                fact(&["file", &n.to_string(), file]);
            }
            fact(&["end"]);
            self.bare(at, Level::Say, &format!("--> {name}: {}", artifact.text.trim_end()));
        }
    }

    fn cleanup_lines(&mut self, at: Timestamp, heading: &str, ids: &[&str]) {
        self.bare(at, Level::Error, heading);
        for id in ids {
            self.bare(at, Level::Error, &format!("{} --build {id}", self.options.cleanup));
        }
    }

    /// The run is left in the middle: tells how to take away what it made.
    pub(crate) fn abandoned(&mut self, at: Timestamp) {
        let builds = std::mem::take(&mut self.builds);
        let left: Vec<_> = builds.iter().filter(|b| !b.ended || b.left).filter_map(|b| b.id.as_deref()).collect();
        self.cleanup_lines(at, "\n==> Left without a clean-up. To take away what is left behind, run:", &left);
        if left.is_empty() {
            self.bare(at, Level::Error, &self.options.cleanup.clone());
        }
    }
}

/// What Packer says of a build that was cancelled.
const CANCELLED: &str = "Build was cancelled.";

/// What a terminal would show of a line that writes over itself: the part after the last carriage return, as in Packer.
fn last_written(line: &str) -> &str {
    let line = line.trim_end();
    line.rsplit_once('\r').map_or(line, |(_, last)| last)
}
