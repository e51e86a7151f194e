//! Whole commands in this process, on streams in memory, with the mock plugins.

use std::path::PathBuf;

use builder_core::ledger::{DirStore, LedgerStore as _, Lifetime, Record, Resource, VERSION};
use builder_core::registry::{BuilderEntry, CommunicatorEntry, PostProcessorEntry, ProvisionerEntry, ReclaimerEntry};
use builder_core::testing::{MockBuilder, MockCloud, MockConnector, MockPostProcessor, MockProvisioner};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::printer::Input;
use crate::testing::Gone;

const KRATE: &str = "mock 1.0.0";

fn registry() -> Result<Registry, DuplicateKey> {
    let mut registry = Registry::default();
    registry.add_builder(BuilderEntry::of::<MockBuilder>(KRATE))?;
    registry.add_provisioner(ProvisionerEntry::of::<MockProvisioner>(KRATE))?;
    registry.add_post_processor(PostProcessorEntry::of::<MockPostProcessor>(KRATE))?;
    registry.add_communicator(CommunicatorEntry::of::<MockConnector>(KRATE))?;
    registry.add_reclaimer(ReclaimerEntry {
        provider: "mock",
        krate: KRATE,
        open: |access, _environment| {
            Box::pin(async move {
                let cloud = MockCloud::default();
                if let Some(kind) = access.as_str() {
                    cloud.stick(kind);
                }
                Ok(Arc::new(cloud) as Arc<dyn builder_core::ledger::Reclaimer>)
            })
        },
    })?;
    Ok(registry)
}

fn no_registry() -> Result<Registry, DuplicateKey> {
    panic!("this command must not look at the registry")
}

fn duplicate() -> Result<Registry, DuplicateKey> {
    let mut registry = registry()?;
    registry.add_builder(BuilderEntry::of::<MockBuilder>("other 2.0.0"))?;
    Ok(registry)
}

/// A folder with a template in which commands run.
struct Rig {
    folder: TempDir,
    registry: fn() -> Result<Registry, DuplicateKey>,
    variables: Vec<(&'static str, &'static str)>,
    terminal: bool,
    stdin: &'static str,
}

#[derive(Debug)]
struct Ran {
    exit: Exit,
    stdout: String,
    stderr: String,
}

impl Rig {
    fn new(template: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("t.json"), template.to_string()).unwrap();
        Self { folder, registry, variables: Vec::new(), terminal: false, stdin: "" }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn ledgers(&self) -> DirStore {
        DirStore::new(self.path("state/ledger"))
    }

    /// Runs a command; `@x` stands for the file `x` of the folder.
    fn run(&self, arguments: &[&str]) -> Ran {
        let (io, stdout, stderr) = testing::io(self.stdin, self.terminal);
        let exit = self.run_with(arguments, io);
        let plain = |text: String| text.replace(&format!("{}/", self.folder.path().display()), "");
        Ran { exit, stdout: plain(stdout.text()), stderr: plain(stderr.text()) }
    }

    fn run_with(&self, arguments: &[&str], io: Io) -> Exit {
        let state = self.path("state").display().to_string();
        let mut environment: Environment = [(env::GAIA_STATE_DIR.to_owned(), state)].into();
        environment.extend(self.variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let folder = format!("{}/", self.folder.path().display());
        run(Invocation {
            arguments: arguments.iter().map(|a| a.replace('@', &folder).into()).collect(),
            environment,
            io,
            // Nobody sends: the test runner keeps its Ctrl-C.
            signals: Signals::Injected(tokio::sync::mpsc::unbounded_channel().1),
            registry: self.registry,
            clock: Clock::starting_at(Timestamp::constant(1_767_225_600, 0)),
        })
    }

    /// Leaves a ledger of a build that is not running and has a machine.
    fn leave(&self, build_id: &str, started: Timestamp, access: Value) {
        let mut journal = self.ledgers().create(build_id).unwrap();
        let resource = |n, kind: &str| Record::Intent {
            n,
            resource: Resource {
                kind: kind.to_owned(),
                name: format!("name-of-{kind}"),
                region: "nowhere".to_owned(),
                lifetime: Lifetime::Temporary,
                details: [].into(),
            },
        };
        let records = [
            Record::Begin {
                version: VERSION,
                build_id: build_id.to_owned(),
                build_name: "old".to_owned(),
                build_type: "mock".to_owned(),
                started,
                pid: 1,
            },
            Record::Access { provider: "mock".to_owned(), access },
            resource(1, "network"),
            Record::Created { n: 1, id: "network-1".to_owned() },
            resource(2, "machine"),
            Record::Created { n: 2, id: "machine-2".to_owned() },
        ];
        records.iter().for_each(|record| journal.append(record).unwrap());
    }
}

fn mock() -> Value {
    json!({"type": "mock", "communicator": "mock"})
}

fn one_build() -> Value {
    json!({"builders": [mock()], "provisioners": [{"type": "mock"}]})
}

const BUILT: &str = "mock output will be in this color.

==> mock: Creating network
==> mock: Creating machine
==> mock: Creating image
==> mock: Deleting machine
==> mock: Deleting network
Build 'mock' finished.

==> Builds finished. The artifacts of successful builds are:
--> mock: image image-3
";

#[test]
fn a_build_tells_what_it_does_and_leaves_no_ledger() {
    let rig = Rig::new(&one_build());
    let ran = rig.run(&["build", "@t.json"]);
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Success, BUILT, ""));
    assert_eq!(rig.ledgers().list().unwrap(), Vec::<String>::new());
}

#[test]
fn a_template_can_come_from_standard_input() {
    let rig = Rig { stdin: r#"{"builders": [{"type": "mock", "communicator": "mock"}]}"#, ..Rig::new(&json!({})) };
    let ran = rig.run(&["build", "-color=false", "-"]);
    assert_eq!(ran.exit, Exit::Success, "{ran:?}");
    assert_eq!(ran.stdout, BUILT.split_once("\n\n").unwrap().1, "no header without colour");
}

#[test]
fn failed_builds_are_exit_code_1_and_the_others_run() {
    let rig = Rig::new(&json!({
        "builders": [mock(), {"type": "mock", "name": "other", "communicator": "mock"}],
        "provisioners": [{"type": "mock", "only": ["other"], "error": "it broke"}],
    }));
    let ran = rig.run(&["build", "-parallel-builds=1", "@t.json"]);
    assert_eq!(ran.exit, Exit::Failure);
    assert!(ran.stdout.contains("--> mock: image image-3"), "{ran:?}");
    let expected = "==> other: it broke\nBuild 'other' errored: it broke\n\
                    \n==> Some builds didn't complete successfully and had errors:\n--> other: it broke\n";
    assert_eq!(ran.stderr, expected);
    let only = rig.run(&["build", "-only=mock", "@t.json"]);
    assert_eq!(only.exit, Exit::Success, "{only:?}");
    let packers_way = rig.run(&["build", "--errors-to-stdout", "-only=other", "@t.json"]);
    assert_eq!(packers_way.stderr, "");
    assert!(packers_way.stdout.ends_with("\n==> Builds finished but no artifacts were created.\n"), "{packers_way:?}");
}

#[test]
fn every_problem_is_told_at_once_before_anything_is_created() {
    let rows: [(&str, Value, &[&str], &[&str]); 9] = [
        ("two problems of a template", json!({"builders": [], "oops": 1}), &[], &["oops", "at least one builder"]),
        (
            "no variable",
            json!({"variables": {"v": null}, "builders": [mock()]}),
            &[],
            &["required variable not set: v"],
        ),
        ("two -var", one_build(), &["-var", "x", "-var=y"], &["No '=' value in arg: x", "No '=' value in arg: y"]),
        ("no files", one_build(), &["-var-file=@no.json", "-var-file=@none.json"], &["read no.json", "read none.json"]),
        ("unknown type", json!({"builders": [{"type": "mokc"}]}), &[], &["mokc", "did you mean `mock`?"]),
        (
            "prepare",
            json!({"builders": [{"type": "mock", "communicator": "mock", "invalid": true}], "provisioners": [{"type": "mock", "invalid": true}]}),
            &[],
            &["builder `mock`", "provisioner `mock`", "t.json:1:"],
        ),
        (
            "preflight",
            json!({"builders": [mock()], "provisioners": [{"type": "mock", "missing_file": true}, {"type": "mock", "missing_file": true}]}),
            &[],
            &["no such file by request", "t.json:1:"],
        ),
        ("nothing selected", one_build(), &["-only=other"], &["No builds to run"]),
        ("HCL2", one_build(), &["@t.pkr.hcl"], &["HCL2"]),
    ];
    for (name, template, options, expected) in rows {
        let rig = Rig::new(&template);
        for command in ["build", "validate"] {
            let mut arguments = vec![command];
            arguments.extend(options);
            if !options.iter().any(|o| o.starts_with('@')) {
                arguments.push("@t.json");
            }
            let ran = rig.run(&arguments);
            assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Failure, ""), "{name}: {ran:?}");
            expected
                .iter()
                .for_each(|text| assert!(ran.stderr.contains(text), "{name}: {text} is not in {}", ran.stderr));
            assert!(!rig.path("state").exists(), "{name}");
        }
    }
}

#[test]
fn a_secret_is_not_shown_with_the_line_it_stands_on() {
    let rig = Rig::new(&json!({
        "variables": {"password": null, "number": null},
        "sensitive-variables": ["password"],
        "builders": [{"type": "mock", "communicator": "mock", "image_name": "{{user `password`}}"}],
        "provisioners": [{"type": "mock", "error": "no access with {{user `password`}}"}],
    }));
    rig.write("bad.json", r#"{"password": "hunter\"22", "password": "hunter\"22", "number": "1"}"#);
    let ran = rig.run(&["build", "-var-file=@bad.json", "@t.json"]);
    assert_eq!(ran.exit, Exit::Failure);
    let all = ran.stdout + &ran.stderr;
    assert!(all.contains("no access with <sensitive>") && all.contains("bad.json:1:"), "{all}");
    assert!(!all.contains("hunter"), "{all}");
}

#[test]
fn validate_checks_everything_or_the_syntax_alone() {
    let rig = Rig::new(&json!({"variables": {"v": null}, "builders": [mock()]}));
    let rows: [(&[&str], Exit, &str); 3] = [
        (&["validate", "@t.json"], Exit::Failure, ""),
        (&["validate", "-syntax-only", "@t.json"], Exit::Success, "Syntax-only check passed. Everything looks okay.\n"),
        (&["validate", "-var", "v=1", "@t.json"], Exit::Success, "The configuration is valid.\n"),
    ];
    for (arguments, exit, stdout) in rows {
        let ran = rig.run(arguments);
        assert_eq!((ran.exit, ran.stdout.as_str()), (exit, stdout), "{arguments:?}: {ran:?}");
    }
    assert!(!rig.path("state").exists());
}

#[test]
fn inspect_shows_a_template_as_packer_does() {
    let mut rig = Rig::new(&json!({
        "description": "hello\nworld",
        "variables": {"a": "b", "req": null, "longer": "x, y"},
        "builders": [mock(), {"type": "mock", "name": "zz", "communicator": "mock"}],
        "provisioners": [{"type": "mock"}],
    }));
    rig.registry = no_registry;
    let expected = "Description:

hello
world

Required variables:

  req

Optional variables and their defaults:

  a      = b
  longer = x, y

Builders:

  mock
  zz   (mock)

Provisioners:

  mock

Note: If your build names contain user variables or template
functions such as 'timestamp', these are processed at build time,
and therefore only show in their raw form here.
";
    let ran = rig.run(&["inspect", "@t.json"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Success, expected));
    let machine = rig.run(&["inspect", "-machine-readable", "@t.json"]).stdout;
    let facts: Vec<_> =
        machine.lines().filter(|l| !l.contains(",ui,")).filter_map(|l| l.split_once(",,")).map(|l| l.1).collect();
    let expected = [
        "template-variable,req,,1",
        "template-variable,a,b,0",
        "template-variable,longer,x%!(PACKER_COMMA) y,0",
        "template-builder,mock,mock",
        "template-builder,zz,mock",
        "template-provisioner,mock",
    ];
    assert_eq!(facts, expected);
}

#[test]
fn plugins_lists_what_is_registered_and_their_schemas() {
    let rig = Rig::new(&json!({}));
    let expected = "builder         mock  mock 1.0.0  a cloud that is a list, for tests\n\
                    provisioner     mock  mock 1.0.0  runs one command, for tests\n\
                    post-processor  mock  mock 1.0.0  wraps an artifact, for tests\n\
                    communicator    mock  mock 1.0.0  answers from a script, for tests\n";
    let ran = rig.run(&["plugins"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Success, expected));
    let machine = rig.run(&["-machine-readable", "plugins"]).stdout;
    assert!(
        machine.contains(",,plugin,builder,mock,mock 1.0.0,a cloud that is a list%!(PACKER_COMMA) for tests\n"),
        "{machine}"
    );

    let schema = rig.run(&["plugins", "--schema", "builder/mock"]);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["properties"]["image_name"]["type"], "string");
    for (wanted, expected) in [
        ("mock", "Error: `mock` is the type of several plugins: say `builder/mock` or `provisioner/mock`"),
        ("mokc", "Error: there is no plugin `mokc`: did you mean `mock`?"),
        ("builder/zzzzzz", "Error: there is no plugin `builder/zzzzzz`: `gaia plugins` lists them"),
    ] {
        let ran = rig.run(&["plugins", "-schema", wanted]);
        assert!(ran.exit == Exit::Failure && ran.stderr.starts_with(expected), "{ran:?}");
    }
    let twice = Rig { registry: duplicate, ..rig }.run(&["plugins"]);
    assert_eq!(twice.exit, Exit::Failure);
    assert!(twice.stderr.contains("is registered twice, by mock 1.0.0 and by other 2.0.0"), "{twice:?}");
}

#[test]
fn version_and_usage_need_no_registry() {
    let rig = Rig { registry: no_registry, ..Rig::new(&json!({})) };
    let version = concat!("Gaia v", env!("CARGO_PKG_VERSION"), "\n");
    let rows: [(&[&str], Exit, &str, &str); 9] = [
        (&["version"], Exit::Success, version, ""),
        (&["-v"], Exit::Success, version, ""),
        (&["--version"], Exit::Success, version, ""),
        (&["--help"], Exit::Success, "Builds machine images", ""),
        (&["build", "-h"], Exit::Success, "Builds images from a template", ""),
        (&[], Exit::UnknownCommand, "", "Builds machine images"),
        (&["bild"], Exit::UnknownCommand, "", "error: unrecognized subcommand 'bild'"),
        (&["build"], Exit::Failure, "", "error: the following required arguments"),
        (&["--errors-to-stdout", "build"], Exit::Failure, "error: the following required arguments", ""),
    ];
    for (arguments, exit, stdout, stderr) in rows {
        let ran = rig.run(arguments);
        assert_eq!(ran.exit, exit, "{arguments:?}: {ran:?}");
        assert!(ran.stdout.starts_with(stdout) && ran.stdout.is_empty() == stdout.is_empty(), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with(stderr) && ran.stderr.is_empty() == stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    let machine = rig.run(&["-machine-readable", "version"]).stdout;
    let types: Vec<_> = machine.lines().filter_map(|l| l.split(',').nth(2)).collect();
    assert_eq!(types, ["version", "version-prelease", "version-commit", "ui"]);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    type Variables = &'static [(&'static str, &'static str)];
    let rows: [(bool, Variables, &[&str], bool); 5] = [
        (true, &[], &["build", "@t.json"], true),
        (true, &[], &["build", "-color=false", "@t.json"], false),
        (true, &[("NO_COLOR", "1")], &["build", "@t.json"], false),
        (true, &[("PACKER_NO_COLOR", "1")], &["build", "@t.json"], false),
        (false, &[], &["build", "@t.json"], false),
    ];
    for (terminal, variables, arguments, expected) in rows {
        let rig = Rig { terminal, variables: variables.to_vec(), ..Rig::new(&one_build()) };
        let text = rig.run(arguments).stdout;
        assert_eq!(text.contains("\x1b[1m"), expected, "{terminal} {variables:?} {arguments:?}: {text}");
    }
}

#[test]
fn a_person_at_a_terminal_is_asked() {
    let mut template = one_build();
    template["provisioners"][0]["error"] = json!("it broke");
    let left = |rig: &Rig| rig.ledgers().list().unwrap().len();
    let rows = [(true, "a\n", 1), (true, "r\n\n", 0), (true, "", 0), (false, "a\n", 0)];
    for (terminal, stdin, expected) in rows {
        let rig = Rig { terminal, stdin, ..Rig::new(&template) };
        let ran = rig.run(&["build", "-on-error=ask", "@t.json"]);
        assert_eq!((ran.exit, left(&rig)), (Exit::Failure, expected), "{terminal} {stdin:?}: {ran:?}");
        assert_eq!(ran.stdout.contains("[c] Clean up and exit, [a] abort"), terminal, "{ran:?}");
    }
}

#[test]
fn what_abort_leaves_is_named_and_the_next_build_warns() {
    let mut template = one_build();
    template["provisioners"][0]["error"] = json!("it broke");
    let rig = Rig::new(&template);
    let ran = rig.run(&["build", "-on-error=abort", "@t.json"]);
    let id = rig.ledgers().list().unwrap().remove(0);
    assert_eq!(ran.exit, Exit::Failure);
    let told = [
        "These resources are left behind:",
        "    mock: machine machine-2 in nowhere",
        &format!("gaia cleanup --build {id}\n"),
    ];
    told.iter().for_each(|text| assert!(ran.stderr.contains(text), "{text} is not in {}", ran.stderr));

    std::fs::write(rig.path("t.json"), one_build().to_string()).unwrap();
    let next = rig.run(&["build", "@t.json"]);
    assert_eq!((next.exit, next.stdout.as_str()), (Exit::Success, BUILT));
    assert_eq!(next.stderr, "warning: 1 earlier build has left resources behind: `gaia cleanup` takes them away\n");

    // A state directory that was given by a flag is part of the line to copy.
    let ran = rig.run(&["build", "--state-dir", "@state", "-on-error=abort", "-var", "x=y", "@t.json"]);
    assert!(ran.stderr.contains("`gaia cleanup --state-dir state` takes"), "{ran:?}");
}

#[test]
fn cleanup_names_what_it_takes_away_and_what_it_cannot() {
    let rig = Rig::new(&json!({}));
    let (old, now) = (Timestamp::constant(1_700_000_000, 0), Timestamp::constant(1_767_225_000, 0));
    rig.leave("01old", old, Value::Null);
    rig.leave("01stuck", now, json!("network"));
    let running = rig.ledgers().create("01running").unwrap();

    let dry = rig.run(&["cleanup", "--dry-run"]);
    let expected = "Skipped build 01running (01running): it is still running.\n\
                    Would clean up build 01old (old), begun 2023-11-14T22:13:20Z:\n    \
                        machine machine-2 in nowhere\n    network network-1 in nowhere\n\
                    Would clean up build 01stuck (old), begun 2025-12-31T23:50:00Z:\n    \
                        machine machine-2 in nowhere\n    network network-1 in nowhere\n";
    assert_eq!((dry.exit, dry.stdout.as_str()), (Exit::Success, expected));

    let expired = rig.run(&["cleanup", "--expired"]);
    let expected = "==> old: Cleaning up build 01old (old), begun 2023-11-14T22:13:20Z\n\
                    ==> old: Deleting machine\n    old: Removed machine machine-2\n\
                    ==> old: Deleting network\n    old: Removed network network-1\n\
                    Cleaned up: nothing is left.\n";
    // What is removed at the same time is named as it happens.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!((expired.exit, sorted(&expired.stdout)), (Exit::Success, sorted(expected)));
    assert_eq!(rig.ledgers().list().unwrap(), ["01running", "01stuck"]);

    let stuck = rig.run(&["cleanup", "--build", "01STUCK"]);
    assert_eq!(stuck.exit, Exit::Failure);
    assert!(stuck.stdout.contains("    old: Removed machine machine-2\n"), "{stuck:?}");
    let expected = "==> old: Still there: network network-1 in nowhere: the cloud does not let go of the network\n";
    assert_eq!(stuck.stderr, expected);

    let none = rig.run(&["cleanup", "--build=01none"]);
    assert_eq!(none.exit, Exit::Failure);
    assert!(none.stderr.starts_with("Error: there is no ledger of build 01none in "), "{none:?}");
    let busy = rig.run(&["cleanup", "--build=01running"]);
    assert_eq!(busy.exit, Exit::Failure);
    drop(running);
    let empty = rig.run(&["cleanup", "--build=01running"]);
    assert_eq!((empty.exit, empty.stdout.as_str()), (Exit::Success, "Nothing to clean up.\n"));
    assert_eq!(rig.ledgers().list().unwrap(), ["01stuck"], "a ledger with nothing in it is taken away");
}

#[test]
fn a_ledger_that_cannot_be_read_keeps_no_other_from_being_cleaned_up() {
    let rig = Rig::new(&json!({}));
    rig.leave("01old", Timestamp::UNIX_EPOCH, Value::Null);
    let mut newer = rig.ledgers().create("01newer").unwrap();
    newer
        .append(&Record::Begin {
            version: VERSION + 1,
            build_id: "01newer".to_owned(),
            build_name: "new".to_owned(),
            build_type: "mock".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            pid: 1,
        })
        .unwrap();
    drop(newer);
    let ran = rig.run(&["cleanup"]);
    assert_eq!(ran.exit, Exit::Failure, "{ran:?}");
    assert!(ran.stderr.contains("use the gaia that wrote it"), "{ran:?}");
    assert_eq!(rig.ledgers().list().unwrap(), ["01newer"]);
}

#[test]
fn without_a_place_for_ledgers_nothing_is_built() {
    let rig = Rig { variables: vec![(env::GAIA_STATE_DIR, "")], ..Rig::new(&one_build()) };
    for command in [["build", "@t.json"].as_slice(), &["cleanup"]] {
        let ran = rig.run(command);
        assert_eq!(ran.exit, Exit::Failure);
        assert!(ran.stderr.starts_with("Error: there is no place to record what a build makes"), "{ran:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_exit_code_1_and_everything_is_cleaned_up() {
    let rig = Rig::new(&one_build());
    for command in [["build", "@t.json"].as_slice(), &["version"], &["plugins"], &["-h"]] {
        let (_, stdout, stderr) = testing::io("", false);
        drop(stdout);
        let stdin = Input { reader: Box::new(std::io::empty()), terminal: false };
        let io = Io { stdin, stdout: Gone::stream(), stderr: stderr.stream(false) };
        assert_eq!(rig.run_with(command, io), Exit::Failure, "{command:?}");
    }
    assert_eq!(rig.ledgers().list().unwrap(), Vec::<String>::new());
}
