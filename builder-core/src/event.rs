//! Events: typed facts about a run. Everything a person or a machine sees is rendered from them.
//!
//! Builds send; one receiver reads, in order, with the secrets already taken out. Nothing here prints.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::Clock;
use crate::secret::Redactor;

/// Lines of script output that may be on their way to the renderer; the scripts wait beyond that.
const OUTPUT_IN_FLIGHT: usize = 4096;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The build it is about, by name; `None` for the run as a whole.
    pub build: Option<Arc<str>>,
    /// What.
    pub kind: EventKind,
}

/// What happened. Texts are lower-case facts or Packer's own lines where users know them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A run begins, with these builds in this order.
    RunStarted {
        /// Their names.
        builds: Vec<String>,
    },
    /// A build begins.
    BuildStarted {
        /// The id that its resources carry.
        build_id: String,
        /// The type of its builder.
        build_type: String,
    },
    /// A step: `==> name: text`.
    Say(String),
    /// A detail of the step before: `    name: text`.
    Message(String),
    /// Something went wrong, and this is what and to what.
    Error(String),
    /// Something to know that stops nothing.
    Warning(String),
    /// A line that a script wrote to its standard output.
    Stdout(String),
    /// A line that a script wrote to its standard error.
    Stderr(String),
    /// A wait begins or goes on: shown as a live line on a terminal, nowhere else.
    Waiting {
        /// For what, and its present state: `image ami-1 to become available (pending)`.
        what: String,
    },
    /// The wait is over.
    WaitEnded,
    /// A record was written to the ledger.
    Ledger {
        /// `intent`, `created`, `failed`, `reclaimed`, `committed`.
        what: &'static str,
        /// The kind of the resource: `security-group`; empty for the build as a whole.
        kind: String,
        /// Its id, else its name.
        id: String,
    },
    /// A build ended with these artifacts (none if it made nothing).
    BuildFinished {
        /// What it handed back.
        artifacts: Vec<ArtifactSummary>,
        /// How long it took.
        elapsed: Duration,
    },
    /// A build ended with an error; an artifact that was finished before it is named.
    BuildFailed {
        /// Why.
        error: String,
        /// What exists all the same.
        artifacts: Vec<ArtifactSummary>,
        /// How long it took.
        elapsed: Duration,
        /// Whether it was cancelled rather than broken.
        cancelled: bool,
    },
    /// Resources that could not be taken away, each in words; `gaia cleanup --build ID` tries again.
    LeftBehind {
        /// The build.
        build_id: String,
        /// `security group sg-1 in us-west-2: in use by eni-1`.
        resources: Vec<String>,
    },
    /// The run is over.
    RunFinished {
        /// Whether every build succeeded.
        success: bool,
        /// Whether it was cancelled.
        cancelled: bool,
    },
}

/// What there is to say of an artifact when its builder is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSummary {
    /// Packer's builder id: `mitchellh.amazonebs`.
    pub builder_id: String,
    /// `us-west-2:ami-1,eu-west-1:ami-2`; may be empty.
    pub id: String,
    /// The text for people, possibly of several lines.
    pub text: String,
    /// Files on this host.
    pub files: Vec<String>,
}

/// The sending side: cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    sender: mpsc::UnboundedSender<Envelope>,
    output: Arc<Semaphore>,
    clock: Clock,
    build: Option<Arc<str>>,
}

/// The receiving side.
#[derive(Debug)]
pub struct EventStream {
    receiver: mpsc::UnboundedReceiver<Envelope>,
    redactor: Redactor,
}

#[derive(Debug)]
struct Envelope {
    event: Event,
    /// Given back when the event was taken out: the back-pressure on script output.
    _permit: Option<OwnedSemaphorePermit>,
}

/// A new channel of events whose receiver masks the secrets of `redactor`.
pub fn channel(clock: Clock, redactor: Redactor) -> (Events, EventStream) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let output = Arc::new(Semaphore::new(OUTPUT_IN_FLIGHT));
    (Events { sender, output, clock, build: None }, EventStream { receiver, redactor })
}

impl Events {
    /// The same channel, speaking for a build.
    #[must_use]
    pub fn for_build(&self, name: &str) -> Self {
        Self { build: Some(name.into()), ..self.clone() }
    }

    /// Sends any event. Nobody listening is not an error: the work goes on.
    pub fn emit(&self, kind: EventKind) {
        self.send(kind, None);
    }

    fn send(&self, kind: EventKind, permit: Option<OwnedSemaphorePermit>) {
        let event = Event { at: self.clock.now(), build: self.build.clone(), kind };
        drop(self.sender.send(Envelope { event, _permit: permit }));
    }

    /// Sends a line of script output, waiting while too many are on their way.
    pub async fn output(&self, kind: EventKind) {
        // The semaphore is never closed; without a permit the line is sent all the same.
        let permit = self.output.clone().acquire_owned().await.ok();
        self.send(kind, permit);
    }

    /// A step: `==> name: text`.
    pub fn say(&self, text: impl Into<String>) {
        self.emit(EventKind::Say(text.into()));
    }

    /// A detail: `    name: text`.
    pub fn message(&self, text: impl Into<String>) {
        self.emit(EventKind::Message(text.into()));
    }

    /// An error that does not end the work by itself.
    pub fn error(&self, text: impl Into<String>) {
        self.emit(EventKind::Error(text.into()));
    }

    /// Something to know.
    pub fn warning(&self, text: impl Into<String>) {
        self.emit(EventKind::Warning(text.into()));
    }

    /// The present state of a wait, for the live line.
    pub fn waiting(&self, what: impl Into<String>) {
        self.emit(EventKind::Waiting { what: what.into() });
    }

    /// Works on every item at once, and shows what each says in the order of the items. Gives the results in that order.
    pub async fn in_order<I, T, F: Future<Output = T>>(
        &self,
        items: impl IntoIterator<Item = I>,
        mut job: impl FnMut(I, Self) -> F,
    ) -> Vec<T> {
        let start = |item| {
            let (events, held) = self.hold();
            (job(item, events), held)
        };
        let (jobs, shown): (Vec<_>, Vec<_>) = items.into_iter().map(start).unzip();
        let show = async {
            for held in shown {
                held.release().await;
            }
        };
        let (done, ()) = tokio::join!(join_all(jobs), show);
        done
    }

    /// A channel whose events go nowhere until [`Held::release`]: for work that runs at the same time as other work
    /// but is shown after it.
    pub fn hold(&self) -> (Self, Held) {
        let (sender, receiver) = mpsc::unbounded_channel();
        // Permits of its own: what is held must not keep others from speaking.
        let output = Arc::new(Semaphore::new(OUTPUT_IN_FLIGHT));
        (Self { sender, output, ..self.clone() }, Held { receiver, to: self.clone() })
    }
}

/// Events held back by [`Events::hold`].
#[derive(Debug)]
pub struct Held {
    receiver: mpsc::UnboundedReceiver<Envelope>,
    to: Events,
}

impl Held {
    /// Passes everything on, live, until every sender of the held channel is gone.
    pub async fn release(mut self) {
        while let Some(envelope) = self.receiver.recv().await {
            drop(self.to.sender.send(envelope));
        }
    }
}

impl EventStream {
    /// The next event with the secrets masked; `None` when every sender is gone.
    pub async fn next(&mut self) -> Option<Event> {
        let Envelope { event, _permit } = self.receiver.recv().await?;
        Some(self.redacted(event))
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        let Envelope { event, _permit } = self.receiver.try_recv().ok()?;
        Some(self.redacted(event))
    }

    fn redacted(&self, mut event: Event) -> Event {
        let hide = |text: &mut String| *text = self.redactor.redact(text);
        event.build = event.build.map(|name| self.redactor.redact(&name).into());
        match &mut event.kind {
            EventKind::Say(text)
            | EventKind::Message(text)
            | EventKind::Error(text)
            | EventKind::Warning(text)
            | EventKind::Stdout(text)
            | EventKind::Stderr(text)
            | EventKind::Waiting { what: text }
            | EventKind::Ledger { id: text, .. } => hide(text),
            EventKind::RunStarted { builds } => builds.iter_mut().for_each(hide),
            EventKind::LeftBehind { resources, .. } => resources.iter_mut().for_each(hide),
            EventKind::BuildFinished { artifacts, .. } => artifacts.iter_mut().for_each(|a| a.visit(hide)),
            EventKind::BuildFailed { error, artifacts, .. } => {
                hide(error);
                artifacts.iter_mut().for_each(|a| a.visit(hide));
            }
            // Ids and types, which are no user's values.
            EventKind::BuildStarted { .. } | EventKind::WaitEnded | EventKind::RunFinished { .. } => {}
        }
        event
    }
}

impl ArtifactSummary {
    fn visit(&mut self, hide: impl Fn(&mut String)) {
        hide(&mut self.id);
        hide(&mut self.text);
        self.files.iter_mut().for_each(hide);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn held_events_come_after_those_they_were_held_for() {
        let redactor = Redactor::default();
        redactor.add("hunter2");
        let (events, mut stream) = channel(Clock::fixed(), redactor);
        let (held_events, held) = events.hold();
        held_events.say("second: hunter2");
        events.say("first");
        drop(held_events);
        held.release().await;
        let kinds: Vec<_> = std::iter::from_fn(|| stream.try_next()).map(|e| e.kind).collect();
        assert_eq!(kinds, [EventKind::Say("first".into()), EventKind::Say("second: <sensitive>".into())]);
    }

    #[tokio::test]
    async fn output_waits_for_the_renderer() {
        let (events, mut stream) = channel(Clock::fixed(), Redactor::default());
        for _ in 0..OUTPUT_IN_FLIGHT {
            events.output(EventKind::Stdout("x".into())).await;
        }
        let one_more = events.output(EventKind::Stdout("y".into()));
        tokio::pin!(one_more);
        assert!(one_more.as_mut().now_or_never().is_none());
        assert!(stream.next().await.is_some());
        one_more.await;
    }
}
