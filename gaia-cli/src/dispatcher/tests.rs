use builder_core::Redactor;
use builder_core::event::channel;
use tokio::sync::mpsc;

use super::*;
use crate::printer::{Printer, Stream};
use crate::render::{Human, HumanOptions, NarratorOptions};
use crate::testing::{Gone, Written};

struct Rig {
    dispatcher: Dispatcher,
    signals: mpsc::UnboundedSender<Signal>,
    events: Events,
    cancel: Cancel,
    stdout: Written,
    stderr: Written,
}

fn rig(stdout_stream: impl FnOnce(&Written) -> Stream) -> Rig {
    let (stdout, stderr) = (Written::default(), Written::default());
    let printer = Printer::new(stdout_stream(&stdout), stderr.stream(false), false, false);
    let ui = Ui::new(Box::new(Human::new(printer, HumanOptions::default())), Clock::fixed());
    let options = NarratorOptions { cleanup: "gaia cleanup".to_owned(), names_reclaimed: false };
    let (events, stream) = channel(Clock::fixed(), Redactor::default());
    let cancel = Cancel::default();
    let (signals, injected) = mpsc::unbounded_channel();
    let dispatcher = Dispatcher {
        narrator: Narrator::new(ui, options),
        events: events.clone(),
        stream,
        cancel: cancel.clone(),
        clock: Clock::fixed(),
        signals: Signals::Injected(injected),
        purpose: Purpose::Build,
    };
    Rig { dispatcher, signals, events, cancel, stdout, stderr }
}

fn runtimes() -> Runtimes {
    Runtimes::start().expect("runtimes can be started")
}

#[test]
fn everything_is_told_before_the_result_comes_back() {
    let Rig { dispatcher, events, stdout, .. } = rig(|w| w.stream(false));
    let ended = dispatcher.run(&runtimes(), async move {
        (0..1000).for_each(|n| events.for_build("b").say(n.to_string()));
        7
    });
    assert!(matches!(ended, Ended::Done(7, ui) if !ui.is_closed()));
    let expected: Vec<_> = (0..1000).map(|n| format!("==> b: {n}")).collect();
    assert!(stdout.text().lines().eq(expected), "{}", stdout.text());
}

#[test]
fn the_first_signal_cancels_and_the_second_hurries() {
    let Rig { dispatcher, signals, cancel, stdout, .. } = rig(|w| w.stream(false));
    let ended = dispatcher.run(&runtimes(), async move {
        signals.send(Signal::Terminate).expect("somebody listens");
        cancel.cancelled().await;
        let first = cancel.stage();
        signals.send(Signal::Interrupt).expect("somebody listens");
        cancel.for_cleanup().cancelled().await;
        (first, cancel.stage())
    });
    assert!(matches!(ended, Ended::Done((Stage::Cancelled, Stage::Hurried), _)));
    let text = stdout.text();
    assert!(text.starts_with("Cancelling build after receiving terminated\nHurrying the clean-up"), "{text}");
}

#[test]
fn the_third_signal_leaves_even_if_every_worker_is_busy_for_ever() {
    let Rig { dispatcher, signals, events, stderr, .. } = rig(|w| w.stream(false));
    let ended = dispatcher.run(&runtimes(), async move {
        let build_type = "mock".to_owned();
        events.for_build("b").emit(builder_core::EventKind::BuildStarted { build_id: "id-1".to_owned(), build_type });
        for _ in 0..3 {
            signals.send(Signal::Interrupt).expect("somebody listens");
        }
        for _ in 0..64 {
            // Holds its thread until the test's process ends.
            tokio::spawn(async { std::thread::park() });
        }
        std::thread::park();
    });
    assert!(matches!(ended, Ended::Abandoned));
    assert!(stderr.text().ends_with("run:\ngaia cleanup --build id-1\n"), "{}", stderr.text());
}

#[test]
fn a_reader_that_goes_away_cancels_the_builds() {
    let Rig { dispatcher, events, cancel, stderr, .. } = rig(|_| Gone::stream());
    let ended = dispatcher.run(&runtimes(), async move {
        events.say("is anybody there?");
        cancel.cancelled().await;
        events.say("cleaning up");
        cancel.stage()
    });
    assert!(matches!(ended, Ended::Done(Stage::Cancelled, ui) if ui.is_closed()));
    assert_eq!(stderr.text(), "standard output cannot be written to any more: cancelling the builds\n");
}

#[test]
#[should_panic(expected = "a bug in the engine")]
fn a_bug_in_the_engine_goes_on_up() {
    let Rig { dispatcher, .. } = rig(|w| w.stream(false));
    dispatcher.run(&runtimes(), async move { panic!("a bug in the engine") });
}
