//! The dispatcher of a run: it owns the signals and the order of what is told, and decides when the process leaves.
//!
//! Three parties, so that none can be kept from its work by another:
//! - the caller's thread hears signals, on a runtime of its own, and waits for the others;
//! - the workers' runtime runs the builds;
//! - a thread renders events, and may be held up by a full pipe or a stopped terminal.
//!
//! The first signal asks for an end with a clean-up, the second hurries the clean-up, the third leaves at once.

use std::io;
use std::time::Duration;

use builder_core::event::{EventStream, Events};
use builder_core::{Cancel, Clock, Stage};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::render::{Narrator, Ui};
use crate::signals::{Signal, Signals};

/// How often the live line is brought up to date.
const TICK: Duration = Duration::from_millis(200);

/// How long the last words may take when everything is left at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The runtimes of a run. They never hold up the end of the process: what still runs there then is left.
#[derive(Debug)]
pub(crate) struct Runtimes {
    /// Hears signals on the thread that asked for the run, and does nothing else meanwhile.
    control: Runtime,
    /// Where the builds run.
    workers: Handle,
    /// Taken out when this is dropped.
    owner: Option<Runtime>,
}

impl Runtimes {
    pub(crate) fn start() -> io::Result<Self> {
        let control = Builder::new_current_thread().enable_all().build()?;
        // Futures of cloud SDKs are large, and an unoptimised build keeps many copies of them on the stack.
        let workers =
            Builder::new_multi_thread().thread_name("worker").thread_stack_size(8 << 20).enable_all().build()?;
        Ok(Self { control, workers: workers.handle().clone(), owner: Some(workers) })
    }

    /// Runs something short to its end.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.control.block_on(work)
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        if let Some(workers) = self.owner.take() {
            workers.shutdown_background();
        }
    }
}

/// What is being run, for the words about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    Cleanup,
}

/// A run that is about to begin.
pub(crate) struct Dispatcher {
    pub(crate) narrator: Narrator,
    pub(crate) events: Events,
    pub(crate) stream: EventStream,
    pub(crate) cancel: Cancel,
    pub(crate) clock: Clock,
    pub(crate) signals: Signals,
    pub(crate) purpose: Purpose,
}

/// How a run ended.
pub(crate) enum Ended<T> {
    /// With a result; everything has been told.
    Done(T, Ui),
    /// It was left at once.
    Abandoned,
}

/// What the renderer is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Tell events as they come.
    Follow,
    /// Tell those that are there, and end.
    Finish,
    /// Tell nothing but how to clean up, and end.
    Abandon,
}

impl Dispatcher {
    /// Runs `work` on the workers, telling its events, until it is done or somebody leaves at once.
    pub(crate) fn run<T: Send + 'static>(
        self,
        runtimes: &Runtimes,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Ended<T> {
        runtimes.control.block_on(self.dispatch(&runtimes.workers, work))
    }

    async fn dispatch<T: Send + 'static>(
        self,
        workers: &Handle,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Ended<T> {
        let Self { narrator, events, stream, cancel, clock, signals, purpose } = self;
        // From here on Ctrl-C is heard, and only now is anything created.
        let mut signals = signals.listen(&events);
        let (order, orders) = watch::channel(Order::Follow);
        let rendering = Rendering { narrator, stream, orders, cancel: cancel.clone(), clock, purpose };
        let rendering = rendering.start(workers);
        let work = workers.spawn(work);
        let ending = async {
            // A panic in either is a bug: it goes on up, to exit code 101.
            let value = work.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
            order.send_replace(Order::Finish);
            let narrator = rendering.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
            (value, narrator)
        };
        tokio::pin!(ending);
        let mut requests = Requests { events, cancel, purpose, count: 0 };
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    if requests.hear(signal) == Stage::Abandoned {
                        break;
                    }
                }
                (value, narrator) = &mut ending => return Ended::Done(value, narrator.into_ui()),
            }
        }
        order.send_replace(Order::Abandon);
        // If nobody takes the last words, the process leaves without them.
        let _told = tokio::time::timeout(LAST_WORDS, order.closed()).await.is_ok();
        Ended::Abandoned
    }
}

/// The requests to stop so far.
struct Requests {
    events: Events,
    cancel: Cancel,
    purpose: Purpose,
    count: u32,
}

impl Requests {
    /// Says what a signal does, and does it. Gives the stage that it leads to.
    fn hear(&mut self, signal: Signal) -> Stage {
        self.count += 1;
        let (stage, text) = match (self.count, self.purpose) {
            (1, Purpose::Build) => (Stage::Cancelled, format!("Cancelling build after receiving {signal}")),
            (1, Purpose::Cleanup) => {
                (Stage::Cancelled, format!("Ending with the build that is being cleaned up, after receiving {signal}"))
            }
            (2, _) => {
                let text = format!(
                    "Hurrying the clean-up after receiving {signal} again: it asks for the end of everything and waits for \
                     nothing; once more leaves at once"
                );
                (Stage::Hurried, text)
            }
            _ => (Stage::Abandoned, String::new()),
        };
        if !text.is_empty() {
            self.events.say(text);
        }
        self.cancel.raise(stage);
        stage
    }
}

/// What the renderer works with.
struct Rendering {
    narrator: Narrator,
    stream: EventStream,
    orders: watch::Receiver<Order>,
    cancel: Cancel,
    clock: Clock,
    purpose: Purpose,
}

impl Rendering {
    /// Starts to render, on a thread of its own. Gives the narrator back when it ends.
    fn start(self, workers: &Handle) -> JoinHandle<Narrator> {
        let timers = workers.clone();
        workers.spawn_blocking(move || {
            let _guard = CancelOnPanic(self.cancel.clone());
            timers.block_on(self.render())
        })
    }

    async fn render(mut self) -> Narrator {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_of_end = false;
        loop {
            tokio::select! {
                biased;
                _ordered = self.orders.changed() => break,
                _now = ticks.tick() => self.narrator.ui().tick(),
                event = self.stream.next() => match event {
                    Some(event) => self.narrator.event(&event),
                    None => break,
                },
            }
            if self.narrator.ui().is_closed() && !told_of_end && self.purpose == Purpose::Build {
                told_of_end = true;
                self.narrator.ui().error("standard output cannot be written to any more: cancelling the builds");
                self.cancel.raise(Stage::Cancelled);
            }
        }
        while *self.orders.borrow() != Order::Abandon
            && let Some(event) = self.stream.try_next()
        {
            self.narrator.event(&event);
        }
        if *self.orders.borrow() == Order::Abandon {
            while let Some(event) = self.stream.try_next() {
                self.narrator.note(&event);
            }
            self.narrator.abandoned(self.clock.now());
        }
        self.narrator
    }
}

/// Without a renderer nobody sees what happens: the builds end.
struct CancelOnPanic(Cancel);

impl Drop for CancelOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.raise(Stage::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests;
