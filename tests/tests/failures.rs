//! A build that fails at each step in turn leaves nothing and says why in one screen.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use gaia_tests::{Gaia, Ran, Rig};
use serde_json::{Value, json};

/// Runs a build that must fail; nothing that was not there before may be left.
fn fails(rig: &Rig, gaia: &Gaia<'_>, options: &[&str], why: &str) -> Ran {
    let before = rig.state();
    let ran = gaia.build(options);
    assert_eq!(ran.code(), Some(1), "{why}: {}", ran.all());
    assert!(ran.all().contains(why), "{why:?} is not in: {}", ran.all());
    assert_eq!(rig.state().lines(), before.lines(), "{why}");
    assert_eq!(gaia.ledgers(), Vec::<String>::new(), "{why}");
    // What went wrong, apart from what went well: no more than a screen of it.
    let lines = ran.stderr.lines().count();
    assert!((1..=24).contains(&lines) && ran.stderr.contains(why), "{why}: {lines} lines of {}", ran.stderr);
    ran
}

#[test]
fn each_step_that_fails_leaves_nothing_and_says_why() {
    let rig = Rig::start(&[]);
    let none = || json!({});
    let denied = "was refused: UnauthorizedOperation";
    // faults, changes of the builder, of the provisioner, what must be said
    let rows: Vec<(Value, Value, Value, &str)> = vec![
        (
            none(),
            json!({"source_ami_filter": {"filters": {"name": "nothing*"}, "owners": ["self"]}}),
            none(),
            "No AMI was found matching filters: name=nothing*, owners: self in us-west-2",
        ),
        (
            none(),
            json!({"source_ami_filter": {"filters": {"name": "Flatcar*"}, "owners": ["075585003325"]}}),
            none(),
            "Your query returned more than one result.",
        ),
        (json!({"deny": ["DescribeImages"]}), none(), none(), denied),
        (json!({"deny": ["CreateKeyPair"]}), none(), none(), denied),
        (json!({"deny": ["CreateSecurityGroup"]}), none(), none(), denied),
        (json!({"deny": ["AuthorizeSecurityGroupIngress"]}), none(), none(), denied),
        (json!({"deny": ["RunInstances"]}), none(), none(), "allow ec2:RunInstances to this user or role"),
        (
            json!({"fail": {"RunInstances": "InsufficientInstanceCapacity"}}),
            json!({"max_retries": 1}),
            none(),
            "InsufficientInstanceCapacity",
        ),
        (json!({"deny": ["DescribeInstances"]}), none(), none(), denied),
        (none(), json!({"ssh_username": "nobody-here", "ssh_timeout": "5s"}), none(), "Timeout waiting for SSH"),
        (none(), json!({"ssh_port": 1, "ssh_timeout": "3s"}), none(), "onnection refused"),
        (
            none(),
            none(),
            json!({"inline": ["echo out of luck >&2", "exit 3"]}),
            "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]",
        ),
        (json!({"deny": ["StopInstances"]}), none(), none(), denied),
        (
            json!({"fail": {"CreateImage": "InvalidParameterCombination"}}),
            none(),
            none(),
            "ec2:CreateImage was refused: InvalidParameterCombination",
        ),
        (json!({"deny": ["CreateTags"]}), none(), none(), "Error adding tags to Resources"),
        (json!({"deny": ["CopyImage"]}), json!({"ami_regions": ["eu-west-1"]}), none(), "Error Copying AMI"),
        (none(), json!({"ami_regions": ["mars-north-1"]}), none(), "Invalid region(s): mars-north-1"),
        (
            json!({"deny": ["ModifyImageAttribute"]}),
            json!({"ami_users": ["111122223333"]}),
            none(),
            "Error modify AMI attributes",
        ),
    ];
    for (faults, builder, provisioner, why) in rows {
        let gaia = Gaia::new(&rig);
        // The script of the example would shred what the next row needs.
        gaia.provisioner(json!({"inline": ["true"]}));
        gaia.builder(builder);
        gaia.provisioner(provisioner);
        rig.faults(&faults);
        fails(&rig, &gaia, &[], why);
        rig.faults(&none());
    }
}

#[test]
fn a_reply_that_is_lost_after_the_call_took_effect_costs_nothing() {
    let rig = Rig::start(&[]);
    for action in [
        "CreateKeyPair",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "RunInstances",
        "CreateImage",
        "CreateTags",
        "StopInstances",
    ] {
        let gaia = Gaia::new(&rig);
        gaia.provisioner(json!({"inline": ["true"]}));
        gaia.builder(json!({"ami_name": format!("lost reply of {action}")}));
        let before = rig.state();
        rig.faults(&json!({"lose": {action: "InternalError:1"}}));
        let ran = gaia.build(&[]);
        assert_eq!(ran.code(), Some(0), "{action}: {}", ran.all());
        rig.faults(&json!({}));
        let made: Vec<_> = rig.state().lines().into_iter().filter(|l| !before.lines().contains(l)).collect();
        assert_eq!(made.len(), 3, "{action}: an AMI and two snapshots, and nothing else: {made:?}");
    }
}

#[test]
fn a_reply_that_never_comes_leaves_nothing() {
    let rig = Rig::start(&[]);
    for action in ["CreateKeyPair", "CreateSecurityGroup", "RunInstances", "CreateImage"] {
        let gaia = Gaia::new(&rig);
        gaia.provisioner(json!({"inline": ["true"]}));
        gaia.builder(json!({"max_retries": 1}));
        rig.faults(&json!({"lose": {action: "InternalError"}}));
        fails(&rig, &gaia, &[], "it may have taken effect all the same, which the clean-up looks for");
        rig.faults(&json!({}));
    }
}

#[test]
fn what_abort_leaves_cleanup_takes_away_naming_each_thing() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    gaia.provisioner(json!({"inline": ["exit 3"]}));
    let before = rig.state();
    let ran = gaia.build(&["-on-error=abort"]);
    assert_eq!(ran.code(), Some(1), "{}", ran.all());
    assert_ne!(rig.state().lines(), before.lines(), "abort leaves everything");
    assert_eq!(gaia.ledgers().len(), 1);
    let build = gaia.ledgers()[0].trim_end_matches(".jsonl").to_owned();
    assert!(ran.all().contains(&format!("gaia cleanup --build {build}")), "{}", ran.all());

    let dry = gaia.run(&["cleanup", "--dry-run"]);
    assert!(dry.all().contains("instance i-"), "{}", dry.all());
    assert_eq!(gaia.ledgers().len(), 1, "a dry run takes nothing away");

    let cleaned = gaia.run(&["cleanup", "--build", &build]);
    assert_eq!(cleaned.code(), Some(0), "{}", cleaned.all());
    for kind in ["instance i-", "security-group sg-", "key-pair key-"] {
        assert!(cleaned.all().contains(kind), "{kind} is not in: {}", cleaned.all());
    }
    assert_eq!(rig.state().lines(), before.lines());
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
    assert_eq!(gaia.run(&["cleanup"]).code(), Some(0), "again: nothing to do");
}

fn write(gaia: &Gaia<'_>, file: &str, text: &str) {
    std::fs::write(gaia.path(file), text).unwrap();
}

#[test]
fn bad_input_is_refused_with_its_place_before_anything_is_created() {
    type Change = fn(&Gaia<'_>);
    let rig = Rig::start(&[]);
    let rows: [(&str, Change, &[&str], &[&str]); 12] = [
        ("not JSON", |g| write(g, "gaia-hub.json", "{\n  \"builders\": [}\n"), &[], &["gaia-hub.json:2:16"]),
        ("vars are not JSON", |g| write(g, "vars.json", "name_prefix = 1"), &[], &["vars.json:1:1"]),
        (
            "repeated key",
            |g| write(g, "gaia-hub.json", "{\n  \"builders\": [],\n  \"builders\": []\n}"),
            &[],
            &["gaia-hub.json:3:3", "builders"],
        ),
        (
            "unknown root key",
            |g| g.edit("gaia-hub.json", |t| t["provisoners"] = json!([])),
            &[],
            &["provisoners", "did you mean `provisioners`?"],
        ),
        ("unknown key", |g| g.builder(json!({"ami_nam": "x"})), &[], &["ami_nam", "did you mean `ami_name`?"]),
        (
            "unset variable",
            |g| g.edit("vars.json", |v| drop(v.as_object_mut().unwrap().remove("version"))),
            &[],
            &["version", "required variable not set"],
        ),
        (
            "unknown build type",
            |_| {},
            &["-var", "build_type=amazon-esb"],
            &["amazon-esb", "did you mean `amazon-ebs`?"],
        ),
        ("missing script", |g| g.provisioner(json!({"inline": null, "script": "no-such.sh"})), &[], &["no-such.sh"]),
        ("missing user data", |_| {}, &["-var", "user_data_file=no-such.ign"], &["no-such.ign", "gaia-hub.json:"]),
        (
            "user data too large",
            |g| write(g, "large.ign", &"x ".repeat(8193)),
            &["-var", "user_data_file=large.ign"],
            &["large.ign has 16386 bytes", "16384"],
        ),
        ("no such template", |g| std::fs::remove_file(g.path("gaia-hub.json")).unwrap(), &[], &["gaia-hub.json"]),
        ("bad variable", |_| {}, &["-var", "noequals"], &["noequals"]),
    ];
    for (name, change, options, expected) in rows {
        let gaia = Gaia::new(&rig);
        change(&gaia);
        let ran = gaia.build(options);
        assert_eq!(ran.code(), Some(1), "{name}: {}", ran.all());
        for text in expected {
            assert!(ran.stderr.contains(text), "{name}: {text:?} is not in: {}", ran.all());
        }
    }
    assert_eq!(rig.calls().len(), 0, "nothing was asked of EC2");
}

#[test]
fn a_repeated_key_in_a_vars_file_warns_with_both_lines_and_the_last_wins() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    let text = std::fs::read_to_string(gaia.path("vars.json")).unwrap();
    std::fs::write(gaia.path("vars.json"), text.replacen('{', "{\n  \"name_prefix\": \"First\",", 1)).unwrap();
    let ran = gaia.run(&["validate", "-var-file=vars.json", "gaia-hub.json"]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    assert!(ran.stderr.contains("name_prefix") && ran.stderr.contains("warning"), "{}", ran.all());
    let lines: Vec<_> = ran.stderr.lines().filter(|l| l.contains("\"name_prefix\":")).collect();
    assert_eq!(lines.len(), 2, "both lines are shown: {}", ran.stderr);
}

#[test]
fn a_scripts_exit_code_and_error_output_reach_the_user() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    gaia.builder(json!({"ssh_pty": false}));
    gaia.provisioner(json!({"inline": ["echo to the error output >&2", "exit 42"], "valid_exit_codes": [0, 42]}));
    let ran = gaia.build(&[]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    assert!(ran.all().contains("    amazon-ebs: to the error output"), "{}", ran.all());
}

/// Starts a build whose script sleeps, and comes back when it does: the process, its output from there on, and what it said before.
fn sleeping_build(gaia: &Gaia<'_>) -> (Child, BufReader<ChildStdout>, String) {
    gaia.provisioner(json!({"inline": ["echo going to sleep", "sleep 100"]}));
    let arguments = ["build", "-var-file=vars.json", "gaia-hub.json"];
    let mut command = gaia.command(gaia_tests::gaia_binary(), &arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("going to sleep") {
        assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "ended early: {said}");
    }
    (child, stdout, said)
}

#[test]
fn ctrl_c_cancels_and_cleans_up() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    let before = rig.state();
    let (mut child, mut stdout, mut said) = sleeping_build(&gaia);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("Cleanly cancelled builds after being interrupted."), "{said}");
    assert_eq!(rig.state().lines(), before.lines());
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
}

#[test]
fn what_kill_leaves_cleanup_takes_away() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    let before = rig.state();
    let (mut child, _stdout, _said) = sleeping_build(&gaia);
    let running = gaia.run(&["cleanup"]);
    assert!(running.all().contains("running"), "a build that runs is left alone: {}", running.all());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(rig.state().lines(), before.lines());

    let cleaned = gaia.run(&["cleanup"]);
    assert_eq!(cleaned.code(), Some(0), "{}", cleaned.all());
    assert_eq!(rig.state().lines(), before.lines(), "{}", cleaned.all());
}
