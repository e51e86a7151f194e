//! The properties that every builder has to have, checked by one helper.
//!
//! After an error at any ledger record, a crash after any ledger record, and a cancellation at any moment, one clean-up leaves
//! nothing that the build made; and a clean-up done twice changes nothing.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, run};
use crate::cancel::Stage;
use crate::engine::{PlannedBuild, Run};
use crate::ledger::{Ledger, LedgerStore as _, ReclaimContext, Reclaimer, reclaim};

/// A build that can be run again and again, each time on a cloud of its own.
#[async_trait]
pub trait Scenario: Debug + Send + Sync {
    /// The cloud of one run.
    type Cloud: Send + Sync;

    /// A fresh cloud.
    fn cloud(&self) -> Self::Cloud;

    /// A build on that cloud.
    fn build(&self, cloud: &Self::Cloud) -> PlannedBuild;

    /// What gives its resources back.
    fn reclaimer(&self, cloud: &Self::Cloud) -> Box<dyn Reclaimer>;

    /// How many resources the artifact is.
    fn artifacts(&self) -> usize {
        1
    }

    /// What exists, in words; the artifact included.
    async fn resources(&self, cloud: &Self::Cloud) -> Vec<String>;
}

/// Checks the properties; panics at the first that does not hold. Needs a runtime with paused time. Gives the number of points tried.
pub async fn check_properties<S: Scenario>(scenario: &S) -> usize {
    let store = MemoryStore::default();
    let cloud = scenario.cloud();
    let started = tokio::time::Instant::now();
    let (run_it, _events) = run(&store);
    let outcome = run_it.run(vec![scenario.build(&cloud)]).await;
    assert_eq!(outcome[0].error, None, "the scenario itself must succeed");
    let (records, took) = (store.written(), started.elapsed());

    for records in 0..records {
        failing_ledger(scenario, records).await;
        crash(scenario, records).await;
    }
    let steps = 40;
    for step in 0..steps {
        cancel(scenario, took * step / steps).await;
    }
    records * 2 + steps as usize
}

/// The disk is full after `records` records: the build ends, and what it made can be given back.
async fn failing_ledger<S: Scenario>(scenario: &S, records: usize) {
    let store = MemoryStore::default();
    let cloud = scenario.cloud();
    let (run_it, _events) = run(&store);
    store.fail_after(records);
    let outcome = run_it.run(vec![scenario.build(&cloud)]).await;
    store.mend();
    let finished = outcome[0].error.is_none();
    nothing_left(scenario, &cloud, &store, finished, &format!("a disk full after {records} records")).await;
}

/// The process dies after `records` records.
async fn crash<S: Scenario>(scenario: &S, records: usize) {
    let store = MemoryStore::default();
    let cloud = scenario.cloud();
    let (run_it, _events): (Run, _) = run(&store);
    let dying = tokio::spawn({
        let build = scenario.build(&cloud);
        async move { run_it.run(vec![build]).await }
    });
    while store.written() < records && !dying.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dying.abort();
    // Whether it was aborted or had ended makes no difference to what follows.
    drop(dying.await);
    // The journal lives in a blocking task for the length of one write.
    tokio::time::sleep(Duration::from_millis(1)).await;
    nothing_left(scenario, &cloud, &store, store.committed(), &format!("a crash after {records} records")).await;
}

/// Somebody cancels after a time: the build ends soon and leaves nothing.
async fn cancel<S: Scenario>(scenario: &S, after: Duration) {
    let store = MemoryStore::default();
    let cloud = scenario.cloud();
    let (run_it, _events) = run(&store);
    let stop = run_it.cancel.clone();
    let started = tokio::time::Instant::now();
    let cancelling = async {
        tokio::time::sleep(after).await;
        stop.raise(Stage::Cancelled);
    };
    let (outcome, ()) = tokio::join!(run_it.run(vec![scenario.build(&cloud)]), cancelling);
    let late = started.elapsed().saturating_sub(after);
    assert!(late < Duration::from_secs(60), "cancelled after {after:?}, ended {late:?} later");
    if outcome[0].error.is_some() && outcome[0].artifacts.is_empty() {
        assert!(outcome[0].cancelled, "cancelled after {after:?}: {:?}", outcome[0].error);
        assert_eq!(scenario.resources(&cloud).await, Vec::<String>::new(), "cancelled after {after:?}");
    }
}

/// Cleans up twice and looks. A finished build keeps its artifact, and nothing else.
async fn nothing_left<S: Scenario>(scenario: &S, cloud: &S::Cloud, store: &MemoryStore, finished: bool, when: &str) {
    let (run_it, _events) = run(store);
    for round in 0..2 {
        for build_id in store.list().expect("memory can be listed") {
            let (replay, journal) = store.open(&build_id).unwrap_or_else(|e| panic!("{when}, round {round}: {e}"));
            let ledger = Ledger::resume(journal, replay, run_it.events.clone());
            let cx = ReclaimContext {
                build_id: build_id.as_str().into(),
                events: run_it.events.clone(),
                cancel: run_it.cancel.for_cleanup(),
                recent: true,
            };
            let left = reclaim(&ledger, &*scenario.reclaimer(cloud), &cx).await;
            assert!(left.is_empty(), "{when}, round {round}: {left:?}");
            ledger.end().unwrap_or_else(|e| panic!("{when}: {e}"));
        }
    }
    let resources = scenario.resources(cloud).await;
    let expected = if finished { scenario.artifacts() } else { 0 };
    assert_eq!(resources.len(), expected, "{when}: left {resources:?}");
}
