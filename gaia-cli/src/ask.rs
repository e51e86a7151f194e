//! `-on-error=ask`: a question on the terminal, in Packer's words.
//!
//! Builds ask one after the other. Who cancels the run while a question is open has answered it.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use builder_core::Cancel;
use builder_core::engine::{Answer, Ask};
use builder_core::event::Events;

/// An answer is a letter; what is longer than this is not one.
const LONGEST: u64 = 1024;

type Lines = Arc<Mutex<BufReader<Box<dyn Read + Send>>>>;

/// Asks the person at the terminal.
pub(crate) struct AskTerminal {
    events: Events,
    cancel: Cancel,
    lines: Lines,
    /// Set while a question is open: see [`crate::render::HumanOptions`].
    asking: Arc<AtomicBool>,
    turn: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for AskTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AskTerminal")
    }
}

impl AskTerminal {
    pub(crate) fn new(events: Events, cancel: Cancel, stdin: Box<dyn Read + Send>, asking: Arc<AtomicBool>) -> Self {
        let lines = Arc::new(Mutex::new(BufReader::new(stdin)));
        Self { events, cancel, lines, asking, turn: tokio::sync::Mutex::default() }
    }

    /// The next line of the terminal; `None` at its end.
    async fn line(&self) -> Option<String> {
        let lines = self.lines.clone();
        // A read that nobody waits for any more stays in its thread, which does not keep the process from ending.
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let read = lines.by_ref().take(LONGEST).read_line(&mut line).ok()?;
            (read > 0).then_some(line)
        });
        read.await.ok().flatten()
    }
}

#[async_trait]
impl Ask for AskTerminal {
    async fn ask(&self, build: &str, error: &str, retry: bool) -> Option<Answer> {
        let _turn = self.cancel.run(self.turn.lock()).await.ok()?;
        let _asking = Asking::begin(&self.asking);
        let events = self.events.for_build(build);
        let question = if retry {
            // The engine tells an error when it is final; this one is not yet.
            events.error(error);
            "[c] Clean up and exit, [a] abort without cleanup, or [r] retry step (build may fail even if retry succeeds)?"
        } else {
            "[c] Clean up and exit, or [a] abort without cleanup?"
        };
        loop {
            events.say(question);
            let line = self.cancel.run(self.line()).await.ok()??;
            match understood(&line, retry) {
                Some(answer) => return Some(answer),
                None => events.say(format!("Incorrect input: {:?}", line.trim())),
            }
        }
    }
}

/// Enter alone is a clean-up, as in Packer.
fn understood(line: &str, retry: bool) -> Option<Answer> {
    match line.trim() {
        "" | "c" => Some(Answer::Cleanup),
        "a" => Some(Answer::Abort),
        "r" if retry => Some(Answer::Retry),
        _ => None,
    }
}

/// Tells for as long as it lives that a question is open.
struct Asking<'a>(&'a AtomicBool);

impl<'a> Asking<'a> {
    fn begin(asking: &'a AtomicBool) -> Self {
        asking.store(true, Ordering::Relaxed);
        Self(asking)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use builder_core::event::channel;
    use builder_core::{Clock, EventKind, Redactor, Stage};

    use super::*;

    fn ask_with(stdin: &'static str) -> (AskTerminal, builder_core::event::EventStream, Cancel) {
        let (events, stream) = channel(Clock::fixed(), Redactor::default());
        let cancel = Cancel::default();
        let asked = AskTerminal::new(events, cancel.clone(), Box::new(stdin.as_bytes()), Arc::default());
        (asked, stream, cancel)
    }

    #[tokio::test]
    async fn an_answer_is_a_letter() {
        let rows = [
            ("c\n", true, Some(Answer::Cleanup)),
            ("\n", true, Some(Answer::Cleanup)),
            (" a \n", true, Some(Answer::Abort)),
            ("r\n", true, Some(Answer::Retry)),
            ("r\na\n", false, Some(Answer::Abort)),
            ("what?\nc", true, Some(Answer::Cleanup)),
            ("", true, None),
        ];
        for (stdin, retry, expected) in rows {
            let (ask, _stream, _cancel) = ask_with(stdin);
            assert_eq!(ask.ask("b", "it broke", retry).await, expected, "{stdin:?}");
        }
    }

    #[tokio::test]
    async fn the_question_is_packers_and_what_is_not_an_answer_is_asked_again() {
        let (ask, mut stream, _cancel) = ask_with("x\nc\n");
        ask.ask("b", "it broke", true).await;
        let question = "[c] Clean up and exit, [a] abort without cleanup, or [r] retry step (build may fail even if retry succeeds)?";
        let kinds: Vec<_> = std::iter::from_fn(|| stream.try_next()).map(|e| e.kind).collect();
        let say = |text: &str| EventKind::Say(text.to_owned());
        let expected =
            [EventKind::Error("it broke".to_owned()), say(question), say("Incorrect input: \"x\""), say(question)];
        assert_eq!(kinds, expected);
    }

    #[tokio::test]
    async fn a_cancelled_run_has_nobody_to_ask() {
        let (ask, _stream, cancel) = ask_with("c\n");
        cancel.raise(Stage::Cancelled);
        assert_eq!(ask.ask("b", "it broke", true).await, None);
    }
}
