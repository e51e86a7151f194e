//! The live line: what builds wait for and since when, written over again and again at the bottom of a terminal.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Takes the live line off the terminal.
pub(super) const ERASE: &str = "\r\x1b[2K";

/// What builds wait for.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// By build.
    waits: BTreeMap<String, Wait>,
}

#[derive(Debug)]
struct Wait {
    what: String,
    since: Timestamp,
}

impl Live {
    /// A wait begins, goes on with another state, or (`None`) is over.
    pub(super) fn set(&mut self, at: Timestamp, build: &str, what: Option<&str>) {
        match (what, self.waits.get_mut(build)) {
            (Some(what), Some(wait)) => what.clone_into(&mut wait.what),
            (Some(what), None) => drop(self.waits.insert(build.to_owned(), Wait { what: what.to_owned(), since: at })),
            (None, _) => drop(self.waits.remove(build)),
        }
    }

    /// The line, at most `width` columns wide: the longest wait, and how many more there are. `None` if nobody waits.
    pub(super) fn text(&self, now: Timestamp, width: usize) -> Option<String> {
        let (build, wait) = self.waits.iter().min_by_key(|(_, wait)| wait.since)?;
        let more = match self.waits.len() - 1 {
            0 => String::new(),
            n => format!(" (+{n} more)"),
        };
        let tail = format!(" {}{more}", elapsed(now.duration_since(wait.since)));
        let mut line = fit(&format!("    {build}: waiting for {}", wait.what), width.saturating_sub(tail.len()));
        line.push_str(&tail);
        Some(fit(&line, width))
    }
}

/// As many characters of a text as fit; control characters are left out, wide ones are taken for two columns.
fn fit(text: &str, width: usize) -> String {
    let mut columns = 0;
    text.chars()
        .filter(|c| !c.is_control())
        .take_while(|c| {
            columns += if c.is_ascii() { 1 } else { 2 };
            columns <= width
        })
        .collect()
}

/// `7s`, `2m05s`, `1h02m05s`
fn elapsed(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, _) => format!("{m}m{s:02}s"),
        _ => format!("{h}h{m:02}m{s:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number")
    }

    #[test]
    fn the_longest_wait_is_shown_from_its_beginning() {
        let mut live = Live::default();
        assert_eq!(live.text(at(0), 80), None);
        live.set(at(10), "a", Some("image ami-1 (pending)"));
        live.set(at(20), "b", Some("SSH"));
        live.set(at(30), "a", Some("image ami-1 (available)"));
        assert_eq!(
            live.text(at(75), 80).as_deref(),
            Some("    a: waiting for image ami-1 (available) 1m05s (+1 more)")
        );
        live.set(at(76), "a", None);
        assert_eq!(live.text(at(76), 80).as_deref(), Some("    b: waiting for SSH 56s"));
        live.set(at(76), "b", None);
        assert_eq!(live.text(at(76), 80), None);
    }

    #[test]
    fn it_never_is_wider_than_the_terminal() {
        let mut live = Live::default();
        live.set(at(0), "build", Some("a thing\x1b[31m with a long name 雪雪雪雪雪雪雪雪雪雪"));
        for width in 0..90 {
            let line = live.text(at(5), width).expect("somebody waits");
            let columns: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
            assert!(columns <= width, "{width}: {line}");
            assert!(!line.contains('\x1b'));
        }
        assert_eq!(live.text(at(5), 24).as_deref(), Some("    build: waiting fo 5s"));
    }

    #[test]
    fn durations_are_short() {
        for (seconds, expected) in [(-1, "0s"), (0, "0s"), (59, "59s"), (60, "1m00s"), (3725, "1h02m05s")] {
            assert_eq!(elapsed(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
