//! Waiting for EC2: one batched Describe per tick and region for all builds of the process.
//!
//! The first look comes right away; a wait then looks every second, growing to every five, or at the user's own interval.
//! Whoever waits longest-spaced profits from whoever looks soonest: a tick looks for everybody.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image, Instance, Snapshot};
use builder_core::{BuildError, Cancel, Cancelled, EventKind, Events};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api_error::{ApiError, Named as _};

/// Ids in one Describe: EC2 takes 200 values in a filter.
const BATCH: usize = 200;

/// The shortest and the longest time between two looks.
const FASTEST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(5);

/// A kind of resource that can be looked at by the hundred.
#[async_trait]
pub(crate) trait Watched: Send + Sync + 'static {
    /// A resource as EC2 describes it.
    type View: Send + Sync + 'static;

    /// Looks at up to [`BATCH`] resources; those that EC2 does not show are missing from the answer. By filter, not by id: one
    /// id that EC2 does not know yet would fail the whole call.
    async fn look(client: &Client, ids: Vec<String>) -> Result<Vec<(String, Self::View)>, ApiError>;
}

/// EC2 instances.
pub(crate) struct Instances;

#[async_trait]
impl Watched for Instances {
    type View = Instance;

    async fn look(client: &Client, ids: Vec<String>) -> Result<Vec<(String, Instance)>, ApiError> {
        let filter = Filter::builder().name("instance-id").set_values(Some(ids)).build();
        let mut pages = client.describe_instances().filters(filter).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.named("DescribeInstances")?;
            let instances =
                page.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
            found.extend(instances.filter_map(|i| Some((i.instance_id.clone()?, i))));
        }
        Ok(found)
    }
}

/// AMIs.
pub(crate) struct Images;

#[async_trait]
impl Watched for Images {
    type View = Image;

    async fn look(client: &Client, ids: Vec<String>) -> Result<Vec<(String, Image)>, ApiError> {
        let filter = Filter::builder().name("image-id").set_values(Some(ids)).build();
        let mut pages = client.describe_images().filters(filter).include_deprecated(true).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let images = page.named("DescribeImages")?.images.unwrap_or_default();
            found.extend(images.into_iter().filter_map(|i| Some((i.image_id.clone()?, i))));
        }
        Ok(found)
    }
}

/// EBS snapshots.
pub(crate) struct Snapshots;

#[async_trait]
impl Watched for Snapshots {
    type View = Snapshot;

    async fn look(client: &Client, ids: Vec<String>) -> Result<Vec<(String, Snapshot)>, ApiError> {
        let filter = Filter::builder().name("snapshot-id").set_values(Some(ids)).build();
        let mut pages = client.describe_snapshots().filters(filter).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let snapshots = page.named("DescribeSnapshots")?.snapshots.unwrap_or_default();
            found.extend(snapshots.into_iter().filter_map(|s| Some((s.snapshot_id.clone()?, s))));
        }
        Ok(found)
    }
}

/// How often to look and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The user's own interval; `None` for 1 s growing to 5 s.
    pub(crate) interval: Option<Duration>,
    /// The longest wait.
    pub(crate) limit: Duration,
}

/// What a look means to whoever waits.
pub(crate) enum Step<T> {
    /// Not yet; the present state in a word.
    Pending(String),
    /// This is it.
    Done(T),
    /// It will never be: why.
    Failed(String),
}

/// A wait, in words and in time.
pub(crate) struct Wait<'a> {
    /// Where the live line goes.
    pub(crate) events: &'a Events,
    /// Tells when to stop.
    pub(crate) cancel: &'a Cancel,
    /// `instance i-1 to become ready`.
    pub(crate) what: String,
    /// How often and how long.
    pub(crate) patience: Patience,
}

/// Why a wait ended without what was waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError {
    /// Somebody cancelled it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// EC2 does not let this user look.
    #[error("{0}")]
    Api(ApiError),
    /// It will never be, or not in time.
    #[error("{0}")]
    Failed(String),
}

impl From<WaitError> for BuildError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Cancelled(cancelled) => cancelled.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

/// What everybody who waits for one resource is told.
type News<V> = Option<Result<Option<Arc<V>>, ApiError>>;

struct Watch<V> {
    news: watch::Sender<News<V>>,
    interval: Option<Duration>,
    since: Instant,
    looked: Option<Instant>,
}

impl<V> Watch<V> {
    /// When to look again: at once at first, then after a sixth of the time waited so far, within the bounds.
    fn due(&self) -> Instant {
        let Some(looked) = self.looked else { return self.since };
        let pause = self.interval.unwrap_or_else(|| ((looked - self.since) / 6).clamp(FASTEST, SLOWEST));
        looked + pause
    }
}

struct State<V> {
    watches: HashMap<u64, (String, Watch<V>)>,
    next: u64,
    /// Whether a task is looking; it ends with the last watch.
    looking: bool,
}

/// The poller of one kind in one region.
pub(crate) struct Poller<W: Watched> {
    client: Client,
    state: Arc<Mutex<State<W::View>>>,
    /// Wakes the task when somebody new waits.
    news: Arc<tokio::sync::Notify>,
    kind: PhantomData<W>,
}

impl<W: Watched> fmt::Debug for Poller<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller(..)")
    }
}

impl<W: Watched> Poller<W> {
    /// A poller; it looks at nothing until somebody waits.
    pub(crate) fn new(client: Client) -> Self {
        let state = State { watches: HashMap::new(), next: 0, looking: false };
        Self { client, state: Arc::new(Mutex::new(state)), news: Arc::default(), kind: PhantomData }
    }

    /// Waits until `until` is satisfied with what EC2 shows (`None`: it shows nothing), the time is up or the wait is cancelled.
    pub(crate) async fn wait<T>(
        &self,
        id: &str,
        wait: Wait<'_>,
        mut until: impl FnMut(Option<&W::View>) -> Step<T> + Send,
    ) -> Result<T, WaitError> {
        let (_registration, mut news) = self.watch(id, wait.patience.interval);
        let mut state = "not looked at yet".to_owned();
        let looking = async {
            loop {
                // The registration holds the sender, so this ends only with news.
                if news.changed().await.is_err() {
                    return Err(WaitError::Failed(format!("nobody looks at {id} any more: a bug in gaia")));
                }
                let step = match &*news.borrow_and_update() {
                    None => continue,
                    Some(Ok(view)) => until(view.as_deref()),
                    Some(Err(e)) if e.is_passing() => Step::Pending(e.to_string()),
                    Some(Err(e)) => return Err(WaitError::Api(e.clone())),
                };
                match step {
                    Step::Done(value) => return Ok(value),
                    Step::Failed(why) => return Err(WaitError::Failed(why)),
                    Step::Pending(now) => {
                        wait.events.waiting(format!("{} ({now})", wait.what));
                        state = now;
                    }
                }
            }
        };
        wait.events.waiting(wait.what.clone());
        let ended = wait.cancel.run(tokio::time::timeout(wait.patience.limit, looking)).await;
        wait.events.emit(EventKind::WaitEnded);
        ended?.unwrap_or_else(|_| {
            let (what, limit) = (&wait.what, wait.patience.limit.as_secs());
            Err(WaitError::Failed(format!(
                "waited {limit} s for {what}, which is still in state `{state}`; `aws_polling` can allow more time"
            )))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<W::View>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, id: &str, interval: Option<Duration>) -> (Registration<W::View>, watch::Receiver<News<W::View>>) {
        let (sender, receiver) = watch::channel(None);
        let watch = Watch { news: sender, interval, since: Instant::now(), looked: None };
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.watches.insert(key, (id.to_owned(), watch));
        if !state.looking {
            state.looking = true;
            tokio::spawn(look::<W>(self.client.clone(), self.state.clone(), self.news.clone()));
        }
        drop(state);
        self.news.notify_one();
        (Registration { state: self.state.clone(), key, wake: self.news.clone() }, receiver)
    }
}

/// Ends a watch when the waiter is gone.
struct Registration<V> {
    state: Arc<Mutex<State<V>>>,
    key: u64,
    wake: Arc<tokio::sync::Notify>,
}

impl<V> Drop for Registration<V> {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).watches.remove(&self.key);
        self.wake.notify_one();
    }
}

/// The task that looks, for as long as anybody waits.
async fn look<W: Watched>(client: Client, state: Arc<Mutex<State<W::View>>>, wake: Arc<tokio::sync::Notify>) {
    let _looking = Looking(state.clone());
    loop {
        let due = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(due) = state.watches.values().map(|(_, w)| w.due()).min() else {
                // Under the lock, so that nobody begins to wait in between.
                state.looking = false;
                return;
            };
            due
        };
        tokio::select! {
            // Somebody came or went: the time of the next look may be another.
            () = wake.notified() => continue,
            () = tokio::time::sleep_until(due) => {}
        }
        let mut ids: Vec<String> = {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.watches.values().map(|(id, _)| id.clone()).collect()
        };
        ids.sort();
        ids.dedup();
        for batch in ids.chunks(BATCH) {
            let seen = W::look(&client, batch.to_vec()).await;
            let seen = seen.map(|found| found.into_iter().map(|(id, v)| (id, Arc::new(v))).collect::<HashMap<_, _>>());
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, watch) in state.watches.values_mut().filter(|(id, _)| batch.contains(id)) {
                let news = seen.as_ref().map(|found| found.get(id).cloned()).map_err(Clone::clone);
                watch.looked = Some(Instant::now());
                watch.news.send_replace(Some(news));
            }
        }
    }
}

/// However the task ends, the next who waits starts another.
struct Looking<V>(Arc<Mutex<State<V>>>);

impl<V> Drop for Looking<V> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).looking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use aws_sdk_ec2::config::{BehaviorVersion, Config};
    use builder_core::{Stage, testing};

    use super::*;

    /// A resource that is pending for the first 20 seconds of a test; `missing` is never shown, `denied` fails every look.
    struct Slow;

    #[async_trait]
    impl Watched for Slow {
        type View = u64;

        async fn look(_client: &Client, ids: Vec<String>) -> Result<Vec<(String, u64)>, ApiError> {
            LOOKS.with(|looks| looks.set(looks.get() + 1));
            if ids.iter().any(|id| id == "denied") {
                return Err(crate::api_error::tests::answered("UnauthorizedOperation"));
            }
            let now = START.with(|s| s.get_or_init(Instant::now).elapsed().as_secs());
            Ok(ids.into_iter().filter(|id| id != "missing").map(|id| (id, now)).collect())
        }
    }

    // A paused runtime has one thread, which is the test's own.
    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
        static START: std::cell::OnceCell<Instant> = const { std::cell::OnceCell::new() };
    }

    fn poller() -> Poller<Slow> {
        START.with(|s| {
            s.get_or_init(Instant::now);
        });
        let config = Config::builder().behavior_version(BehaviorVersion::v2026_01_12()).build();
        Poller::new(Client::from_conf(config))
    }

    fn ready(seconds: Option<&u64>) -> Step<u64> {
        match seconds {
            Some(s) if *s >= 20 => Step::Done(*s),
            Some(_) => Step::Pending("pending".into()),
            None => Step::Pending("not visible".into()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_waits_share_one_look_and_end_soon_after_the_change() {
        let (cx, _stream) = testing::context().await;
        let poller = poller();
        let patience = Patience { interval: None, limit: Duration::from_secs(60) };
        let waits = (0..150).map(|n| {
            let wait = Wait { events: &cx.events, cancel: &cx.cancel, what: format!("thing {n}"), patience };
            let poller = &poller;
            async move { poller.wait(&format!("thing-{n}"), wait, ready).await.unwrap() }
        });
        let ended = futures_util::future::join_all(waits).await;
        assert!(ended.iter().all(|s| (20..25).contains(s)), "{ended:?}");
        let looks = LOOKS.with(Cell::get);
        assert!((5..30).contains(&looks), "{looks} looks for 150 waits of 20 s");
        assert!(poller.lock().watches.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_limit_its_cancellation_or_a_refusal() {
        let (cx, _stream) = testing::context().await;
        let poller = poller();
        let patience = Patience { interval: Some(Duration::from_secs(3)), limit: Duration::from_secs(10) };
        let wait = || Wait { events: &cx.events, cancel: &cx.cancel, what: "it".into(), patience };
        let error = poller.wait("missing", wait(), ready).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "waited 10 s for it, which is still in state `not visible`; `aws_polling` can allow more time"
        );
        let error = poller.wait("denied", wait(), ready).await.unwrap_err().to_string();
        assert!(error.contains("UnauthorizedOperation"), "{error}");
        let cancel = cx.cancel.clone();
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.raise(Stage::Cancelled);
        };
        let (ended, ()) = tokio::join!(poller.wait("missing", wait(), ready), later);
        assert!(matches!(ended, Err(WaitError::Cancelled(_))));
    }
}
