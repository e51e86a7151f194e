use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use builder_core::event::ArtifactSummary;
use builder_core::{Clock, Event, EventKind};

use super::*;
use crate::printer::Printer;
use crate::testing::Written;

struct Rig {
    narrator: Narrator,
    stdout: Written,
    stderr: Written,
}

impl Rig {
    /// `stdout` gets everything, errors too, so that their order is seen.
    fn one_stream(terminal: bool, options: HumanOptions) -> Self {
        Self::new(terminal, true, |printer| Box::new(Human::new(printer, options)))
    }

    fn new(terminal: bool, errors_to_stdout: bool, sink: impl FnOnce(Printer) -> Box<dyn Sink>) -> Self {
        let (stdout, stderr) = (Written::default(), Written::default());
        let printer = Printer::new(stdout.stream(terminal), stderr.stream(terminal), true, errors_to_stdout);
        let ui = Ui::new(sink(printer), Clock::fixed());
        let options = NarratorOptions { cleanup: "gaia cleanup".to_owned(), names_reclaimed: false };
        Self { narrator: Narrator::new(ui, options), stdout, stderr }
    }

    fn tell(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.narrator.event(event));
    }
}

fn headers() -> HumanOptions {
    HumanOptions { headers: true, ..HumanOptions::default() }
}

fn run(kind: EventKind) -> Event {
    Event { at: Clock::fixed().now(), build: None, kind }
}

fn of(build: &str, kind: EventKind) -> Event {
    Event { build: Some(build.into()), ..run(kind) }
}

fn started(builds: &[&str]) -> Vec<Event> {
    let names = builds.iter().map(|b| (*b).to_owned()).collect();
    let mut events = vec![run(EventKind::RunStarted { builds: names })];
    events.extend(
        builds
            .iter()
            .map(|b| of(b, EventKind::BuildStarted { build_id: format!("id-of-{b}"), build_type: "mock".to_owned() })),
    );
    events
}

fn artifact(text: &str) -> ArtifactSummary {
    let files = vec!["a,b.txt".to_owned()];
    ArtifactSummary {
        builder_id: "mock.id".to_owned(),
        id: "r1:ami-1,r2:ami-2".to_owned(),
        text: text.to_owned(),
        files,
    }
}

fn finished(build: &str, artifacts: &[&str]) -> Event {
    let artifacts = artifacts.iter().map(|text| artifact(text)).collect();
    of(build, EventKind::BuildFinished { artifacts, elapsed: Duration::from_secs(5) })
}

fn failed(build: &str, error: &str, artifacts: &[&str], cancelled: bool) -> Event {
    let artifacts = artifacts.iter().map(|text| artifact(text)).collect();
    of(build, EventKind::BuildFailed { error: error.to_owned(), artifacts, elapsed: Duration::from_secs(5), cancelled })
}

fn left(build: &str) -> Event {
    let resources = vec!["security-group sg-1 in us-west-2: in use".to_owned()];
    of(build, EventKind::LeftBehind { build_id: format!("id-of-{build}"), resources })
}

fn over(cancelled: bool) -> Event {
    run(EventKind::RunFinished { success: false, cancelled })
}

fn say(build: &str, text: &str) -> Event {
    of(build, EventKind::Say(text.to_owned()))
}

/// Lines of the output that the gaia-hub guide shows, one of each kind.
const GAIA_HUB: &str = r#"amazon-ebs output will be in this color.

==> amazon-ebs: Prevalidating AMI Name: Blockstack.Gaia.Hub_1549643256
    amazon-ebs: Found Image ID: ami-048789452aff936df
==> amazon-ebs: Adding tags to source instance
    amazon-ebs: Adding tag: "Name": "Packer Builder"
==> amazon-ebs: Provisioning with shell script: /tmp/script
    amazon-ebs: ** Shreding sensitive data ...
    amazon-ebs: shred: '/home/core/.*history': failed to open for writing: No such file or directory
==> amazon-ebs: Deleting temporary keypair...
Build 'amazon-ebs' finished.

==> Builds finished. The artifacts of successful builds are:
--> amazon-ebs: AMIs were created:
us-west-2: ami-04793ff666176c1f3
"#;

#[test]
fn a_build_that_succeeds_reads_like_the_guide() {
    let name = "amazon-ebs";
    let mut events = started(&[name]);
    for line in GAIA_HUB.lines() {
        let kind = if let Some(text) = line.strip_prefix("==> amazon-ebs: ") {
            EventKind::Say(text.to_owned())
        } else if let Some(text) = line.strip_prefix("    amazon-ebs: ") {
            if text.starts_with("shred") {
                EventKind::Stderr(format!("{text}\r"))
            } else {
                EventKind::Stdout(text.to_owned())
            }
        } else {
            continue;
        };
        events.push(of(name, kind));
    }
    events.push(of(name, EventKind::Ledger { what: "reclaimed", kind: "key-pair".to_owned(), id: "k".to_owned() }));
    events.push(finished(name, &["AMIs were created:\nus-west-2: ami-04793ff666176c1f3\n"]));
    events.push(over(false));
    let mut rig = Rig::new(false, false, |printer| Box::new(Human::new(printer, headers())));
    rig.tell(&events);
    assert_eq!(rig.stdout.text(), GAIA_HUB);
    assert_eq!(rig.stderr.text(), "");
}

#[test]
fn the_end_of_a_run_names_what_failed_what_exists_and_what_is_left() {
    let rows: [(&str, Vec<Event>, &str); 6] = [
        (
            "one of two fails",
            vec![failed("b", "script exited with 3\nsee above", &[], false), finished("a", &["image a"]), over(false)],
            "Build 'b' errored: script exited with 3\nsee above\n\
             Build 'a' finished.\n\
             \n==> Some builds didn't complete successfully and had errors:\n\
             --> b: script exited with 3\nsee above\n\
             \n==> Builds finished. The artifacts of successful builds are:\n\
             --> a: image a\n",
        ),
        (
            "all fail",
            vec![failed("b", "no", &[], false), failed("a", "never", &[], false), over(false)],
            "Build 'b' errored: no\n\
             Build 'a' errored: never\n\
             \n==> Some builds didn't complete successfully and had errors:\n\
             --> a: never\n\
             --> b: no\n\
             \n==> Builds finished but no artifacts were created.\n",
        ),
        (
            "a post-processor fails after the image was made",
            vec![failed("a", "no tags", &["image a"], false), finished("b", &[]), over(false)],
            "Build 'a' errored: no tags\n\
             Build 'b' finished.\n\
             \n==> Some builds didn't complete successfully and had errors:\n\
             --> a: no tags\n\
             \n==> These artifacts exist, though their builds did not succeed:\n\
             --> a: image a\n",
        ),
        (
            "cancelled",
            vec![failed("a", "cancelled", &[], true), failed("b", "cancelled", &[], true), over(true)],
            "Build 'a' errored: Build was cancelled.\n\
             Build 'b' errored: Build was cancelled.\n\
             Cleanly cancelled builds after being interrupted.\n",
        ),
        (
            "cancelled when one was finished and one had failed",
            vec![finished("a", &["image a"]), failed("b", "no", &[], false), over(true)],
            "Build 'a' finished.\n\
             Build 'b' errored: no\n\
             \n==> Some builds didn't complete successfully and had errors:\n\
             --> b: no\n\
             \n==> Builds finished. The artifacts of successful builds are:\n\
             --> a: image a\n\
             Cleanly cancelled builds after being interrupted.\n",
        ),
        (
            "something is left",
            vec![left("a"), finished("a", &["image a"]), left("b"), failed("b", "cancelled", &[], true), over(true)],
            "==> a: These resources are left behind:\n    a: security-group sg-1 in us-west-2: in use\n\
             Build 'a' finished.\n\
             ==> b: These resources are left behind:\n    b: security-group sg-1 in us-west-2: in use\n\
             Build 'b' errored: Build was cancelled.\n\
             \n==> Builds finished. The artifacts of successful builds are:\n\
             --> a: image a\n\
             \n==> To take away what is left behind, run:\n\
             gaia cleanup --build id-of-a\n\
             gaia cleanup --build id-of-b\n\
             Cancelled builds after being interrupted.\n",
        ),
    ];
    for (name, events, expected) in rows {
        let mut rig = Rig::one_stream(false, HumanOptions::default());
        rig.tell(&started(&["a", "b"]));
        rig.tell(&events);
        assert_eq!(rig.stdout.text(), expected, "{name}");
    }
}

#[test]
fn errors_and_warnings_go_to_the_stream_for_errors() {
    let events = [
        say("a", "a step"),
        of("a", EventKind::Stderr("a script's error output".to_owned())),
        of("a", EventKind::Warning("odd".to_owned())),
        of("a", EventKind::Error("bad\nworse".to_owned())),
        run(EventKind::Warning("odd too".to_owned())),
    ];
    let mut rig = Rig::new(false, false, |printer| Box::new(Human::new(printer, headers())));
    rig.tell(&events);
    assert_eq!(rig.stdout.text(), "==> a: a step\n    a: a script's error output\n");
    assert_eq!(rig.stderr.text(), "==> a: warning: odd\n==> a: bad\n==> a: worse\nwarning: odd too\n");
}

#[test]
fn every_line_has_its_prefix_and_what_writes_over_itself_is_shown_as_it_ends() {
    let rows = [
        (EventKind::Say("one\n\ntwo \n".to_owned()), "==> a: one\n==> a: \n==> a: two \n==> a:"),
        (EventKind::Message("one\ntwo".to_owned()), "    a: one\n    a: two"),
        (EventKind::Stdout("10%\r50%\r100%\r".to_owned()), "    a: 100%"),
        (EventKind::Stdout(String::new()), "    a:"),
    ];
    for (kind, expected) in rows {
        let mut rig = Rig::one_stream(false, HumanOptions::default());
        rig.tell(&[of("a", kind.clone())]);
        assert_eq!(rig.stdout.text().trim_end_matches('\n'), expected, "{kind:?}");
    }
}

#[test]
fn on_a_terminal_builds_have_colours_in_turns() {
    let mut rig = Rig::one_stream(true, headers());
    rig.tell(&started(&["a", "b"]));
    rig.tell(&[
        say("b", "step"),
        of("a", EventKind::Message("detail".to_owned())),
        of("a", EventKind::Stderr("script".to_owned())),
        of("b", EventKind::Error("bad".to_owned())),
        of("b", EventKind::Warning("odd".to_owned())),
        run(EventKind::Say("for all".to_owned())),
    ]);
    let expected = "\x1b[1m\x1b[32ma output will be in this color.\x1b[0m\n\
                    \x1b[1m\x1b[36mb output will be in this color.\x1b[0m\n\n\
                    \x1b[1m\x1b[36m==> b: step\x1b[0m\n\
                    \x1b[32m    a: detail\x1b[0m\n\
                    \x1b[1m\x1b[31m    a: script\x1b[0m\n\
                    \x1b[1m\x1b[31m==> b: bad\x1b[0m\n\
                    \x1b[1m\x1b[33m==> b: warning: odd\x1b[0m\n\
                    for all\n";
    assert_eq!(rig.stdout.text(), expected);
}

#[test]
fn timestamps_stand_before_what_a_build_says_and_nowhere_else() {
    let mut rig = Rig::one_stream(false, HumanOptions { timestamps: true, ..headers() });
    rig.tell(&started(&["a"]));
    rig.tell(&[say("a", "one\ntwo"), failed("a", "no", &[], false), over(false)]);
    let expected = "a output will be in this color.\n\n\
                    2026-01-01T00:00:00Z: ==> a: one\n==> a: two\n\
                    2026-01-01T00:00:00Z: Build 'a' errored: no\n\
                    \n==> Some builds didn't complete successfully and had errors:\n\
                    --> a: no\n\
                    \n==> Builds finished but no artifacts were created.\n";
    assert_eq!(rig.stdout.text(), expected);
}

#[test]
fn machines_get_packers_lines() {
    let mut rig = Rig::new(true, false, |printer| Box::new(Machine::new(printer)));
    rig.tell(&started(&["a", "b"]));
    rig.tell(&[
        say("a", "step, and more"),
        of("a", EventKind::Message("detail".to_owned())),
        of("a", EventKind::Stdout("out".to_owned())),
        of("a", EventKind::Stderr("err".to_owned())),
        of("a", EventKind::Waiting { what: "nothing that a machine needs to know".to_owned() }),
        finished("a", &["AMIs were created:\nr1: ami-1\n"]),
        failed("b", "no", &[], false),
        over(false),
    ]);
    let expected = "\
1767225600,,ui,say,==> a: step%!(PACKER_COMMA) and more
1767225600,,ui,message,    a: detail
1767225600,,ui,message,    a: out
1767225600,,ui,error,    a: err
1767225600,,ui,say,Build 'a' finished.
1767225600,,ui,error,Build 'b' errored: no
1767225600,,error-count,1
1767225600,,ui,error,\\n==> Some builds didn't complete successfully and had errors:
1767225600,b,error,no
1767225600,,ui,error,--> b: no
1767225600,,ui,say,\\n==> Builds finished. The artifacts of successful builds are:
1767225600,a,artifact-count,1
1767225600,a,artifact,0,builder-id,mock.id
1767225600,a,artifact,0,id,r1:ami-1%!(PACKER_COMMA)r2:ami-2
1767225600,a,artifact,0,string,AMIs were created:\\nr1: ami-1\\n
1767225600,a,artifact,0,files-count,1
1767225600,a,artifact,0,file,0,a%!(PACKER_COMMA)b.txt
1767225600,a,artifact,0,end
1767225600,,ui,say,--> a: AMIs were created:\\nr1: ami-1
";
    assert_eq!(rig.stdout.text(), expected);
    assert_eq!(rig.stderr.text(), "");
}

#[test]
fn a_run_that_is_left_names_the_builds_that_were_on_their_way() {
    let mut rig = Rig::one_stream(false, HumanOptions::default());
    rig.tell(&started(&["a", "b", "c"]));
    rig.tell(&[finished("a", &["image a"]), left("c"), finished("c", &[])]);
    let told = rig.stdout.text().len();
    rig.narrator.abandoned(Clock::fixed().now());
    let expected = "\n==> Left without a clean-up. To take away what is left behind, run:\n\
                    gaia cleanup --build id-of-b\n\
                    gaia cleanup --build id-of-c\n";
    assert_eq!(rig.stdout.text().split_at(told).1, expected);
}

#[test]
fn a_wait_is_a_live_line_on_a_terminal_and_nothing_elsewhere() {
    let asking = Arc::new(AtomicBool::new(false));
    let options = || HumanOptions { live: true, asking: asking.clone(), ..HumanOptions::default() };
    let waiting = of("a", EventKind::Waiting { what: "SSH to become available".to_owned() });
    let line = "    a: waiting for SSH to become available 0s";

    let mut piped = Rig::one_stream(false, options());
    piped.tell(std::slice::from_ref(&waiting));
    piped.narrator.ui().tick();
    assert_eq!(piped.stdout.text(), "");

    let mut rig = Rig::one_stream(true, options());
    rig.tell(&[waiting]);
    rig.narrator.ui().tick();
    rig.tell(&[run(EventKind::Say("something else".to_owned())), run(EventKind::Say("and more".to_owned()))]);
    rig.narrator.ui().tick();
    asking.store(true, Ordering::Relaxed);
    rig.narrator.ui().tick();
    rig.narrator.ui().tick();
    asking.store(false, Ordering::Relaxed);
    rig.narrator.ui().tick();
    rig.tell(&[of("a", EventKind::WaitEnded)]);
    rig.narrator.ui().tick();
    rig.narrator.ui().tick();
    drop(rig.narrator.into_ui());
    let erase = "\r\x1b[2K";
    let expected = format!("{erase}{line}{erase}something else\nand more\n{erase}{line}{erase}{erase}{line}{erase}");
    assert_eq!(rig.stdout.text(), expected);
}
