//! For tests, ours and third parties': a mock builder, provisioner, post-processor and communicator, a ledger in memory, and
//! the properties that every builder has to have.

mod builder;
mod communicator;
mod plugins;
mod properties;
mod store;

pub use builder::{MockBuilder, MockCloud, MockConfig};
pub use communicator::{MockCommunicator, MockConnector, Reply};
pub use plugins::{MockPostProcessor, MockProvisioner, MockProvisionerConfig};
pub use properties::{Scenario, check_properties};
pub use store::MemoryStore;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::context::{BuildContext, Names};
use crate::engine::{Nobody, OnError, Run};
use crate::event::{self, EventKind, EventStream};
use crate::ledger::{Ledger, LedgerStore as _, Record, VERSION};
use crate::render::{Renderer, Verbatim};
use crate::secret::Redactor;

/// A run whose ledgers are in memory, with the events that come out of it.
pub fn run(store: &MemoryStore) -> (Run, EventStream) {
    let clock = Clock::fixed();
    let redactor = Redactor::default();
    let (events, stream) = event::channel(clock, redactor.clone());
    let run = Run {
        events,
        cancel: Cancel::default(),
        clock,
        redactor,
        names: Names::seeded(1),
        environment: Arc::new(BTreeMap::new()),
        store: Arc::new(store.clone()),
        on_error: OnError::Cleanup,
        ask: Arc::new(Nobody),
        force: false,
        parallel: usize::MAX >> 4,
    };
    (run, stream)
}

/// A context for calling a plugin by itself, with a renderer, and the events that come out of it.
pub async fn context_with(renderer: Arc<dyn Renderer>) -> (BuildContext, EventStream) {
    let store = MemoryStore::default();
    let (run, stream) = run(&store);
    let build_id = run.names.build_id(&run.clock);
    let begin = Record::Begin {
        version: VERSION,
        build_id: build_id.clone(),
        build_name: "test".into(),
        build_type: "test".into(),
        started: run.clock.start(),
        pid: 0,
    };
    let journal = store.create(&build_id).unwrap_or_else(|e| panic!("a fresh store takes a build: {e}"));
    let ledger = Ledger::begin(journal, run.events.clone(), begin)
        .await
        .unwrap_or_else(|e| panic!("memory takes a record: {e}"));
    let cx = BuildContext {
        build_id: build_id.into(),
        build_name: "test".into(),
        build_type: "test".into(),
        events: run.events.for_build("test"),
        ledger,
        clock: run.clock,
        cancel: run.cancel,
        renderer,
        redactor: run.redactor,
        names: run.names,
        environment: run.environment,
        force: false,
    };
    (cx, stream)
}

/// A context for calling a plugin by itself; templates are left as they are.
pub async fn context() -> (BuildContext, EventStream) {
    context_with(Arc::new(Verbatim)).await
}

/// What was said so far, a line per event, marked as the terminal shows it: `==> step`, `    detail`, `out: x`, `err: x`,
/// `error: x`, `warning: x`. Other events are left out.
pub fn said(stream: &mut EventStream) -> Vec<String> {
    std::iter::from_fn(|| stream.try_next())
        .filter_map(|event| match event.kind {
            EventKind::Say(text) => Some(format!("==> {text}")),
            EventKind::Message(text) => Some(format!("    {text}")),
            EventKind::Stdout(text) => Some(format!("out: {text}")),
            EventKind::Stderr(text) => Some(format!("err: {text}")),
            EventKind::Error(text) => Some(format!("error: {text}")),
            EventKind::Warning(text) => Some(format!("warning: {text}")),
            _ => None,
        })
        .collect()
}
