//! From a template to builds.

mod support;

use builder_core::engine::PlannedBuild;
use support::{Given, given};

fn names(builds: &[PlannedBuild]) -> Vec<&str> {
    builds.iter().map(|b| b.name.as_str()).collect()
}

fn planned(text: &str) -> Vec<PlannedBuild> {
    given(Given::default(), text).unwrap_or_else(|errors| panic!("{text}: {errors}")).builds
}

fn errors(text: &str) -> Vec<String> {
    let errors = given(Given::default(), text).expect_err(text);
    errors.to_string().lines().map(|line| line.trim_start_matches("error: t.json:").to_owned()).collect()
}

#[test]
fn names_and_types_are_rendered_and_sorted() {
    let text = r#"{
      "variables": {"build_type": "still", "who": "x"},
      "builders": [
        {"type": "{{user `build_type`}}", "name": "z-{{user `who`}}"},
        {"type": "{{user `build_type`}}"},
        {"type": "mock", "name": "a", "communicator": "none", "image_name": "{{build_name}}/{{build_type}}"}
      ]}"#;
    let builds = planned(text);
    let named: Vec<_> = builds.iter().map(|b| (b.name.as_str(), b.build_type.as_str())).collect();
    assert_eq!(named, [("a", "mock"), ("still", "still"), ("z-x", "still")]);
    assert!(format!("{:?}", builds[0].builder.it).contains("image_name: \"a/mock\""), "{:?}", builds[0].builder.it);
    assert_eq!(builds[0].builder.component, "builder `mock`");
}

#[test]
fn names_that_cannot_be() {
    let rows = [
        (
            r#"{"builders": [{"type": "still", "name": "{{build_name}}"}]}"#,
            "1:44: error calling build_name: build_name not available",
        ),
        (r#"{"builders": [{"type": "{{user `t`}}"}]}"#, "1:24: `{{user `t`}}` is empty once its variables are known"),
        (
            r#"{"builders": [{"type": "still"}, {"type": "still", "name": "{{lower `STILL`}}"}]}"#,
            "1:60: builder with name 'still' already exists",
        ),
        (r#"{"builders": [{"type": "stil"}]}"#, "1:24: unknown builder type `stil`"),
        (r#"{"builders": [{"type": "mock"}]}"#, "1:15: unknown communicator type `ssh`"),
        (r#"{"builders": [{"type": "mock", "communicator": "mok"}]}"#, "1:48: unknown communicator type `mok`"),
        (
            r#"{"builders": [{"type": "mock", "communicator": []}]}"#,
            "1:48: `communicator` must be a string, found a list",
        ),
        (
            r#"{"builders": [{"type": "still"}], "provisioners": [{"type": "shel"}]}"#,
            "1:61: unknown provisioner type `shel`",
        ),
        (r#"{"builders": [{"type": "still"}], "post-processors": ["mok"]}"#, "1:55: unknown post-processor type `mok`"),
        (
            r#"{"builders": [{"type": "still"}], "error-cleanup-provisioner": {"type": "shel"}}"#,
            "1:73: unknown provisioner type `shel`",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn only_and_except_choose_builds() {
    let text = r#"{"variables": {"v": "b"}, "builders": [
        {"type": "still", "name": "a"}, {"type": "still", "name": "{{user `v`}}"}, {"type": "still"}],
        "post-processors": [{"type": "mock", "name": "pp"}]}"#;
    let rows: [(&[&str], &[&str], &[&str]); 6] = [
        (&[], &[], &["a", "b", "still"]),
        (&["b"], &[], &["b"]),
        (&["b", "still"], &[], &["b", "still"]),
        (&[], &["a"], &["b", "still"]),
        (&["a", "b"], &["a"], &["b"]),
        (&[], &["pp"], &["a", "b", "still"]),
    ];
    for (only, except, expected) in rows {
        let plan = given(Given { only, except, ..Given::default() }, text).expect("something is left");
        assert_eq!(names(&plan.builds), expected, "{only:?} {except:?}");
        assert_eq!(plan.warnings.0, [], "{only:?} {except:?}");
    }
    let plan = given(Given { only: &["a", "stil"], ..Given::default() }, text).expect("a is left");
    assert_eq!(names(&plan.builds), ["a"]);
    assert_eq!(plan.warnings.to_string(), "warning: -only=stil matches nothing in this template");
    assert_eq!(plan.warnings.0[0].help.as_deref(), Some("did you mean `still`?"));
    let nothing = given(Given { only: &["stil"], ..Given::default() }, text).expect_err("nothing is left");
    assert!(nothing.to_string().contains("No builds to run"), "{nothing}");
    assert_eq!(nothing.0[0].help.as_deref(), Some("did you mean `still`? builds here: a, b, still"));
}

#[test]
fn components_of_a_template_choose_their_builds_by_raw_name() {
    let text = r#"{"variables": {"v": "b"}, "builders": [{"type": "still", "name": "a"}, {"type": "still", "name": "{{user `v`}}"}],
      "provisioners": [
        {"type": "mock", "command": "1"},
        {"type": "mock", "command": "2", "only": ["a"]},
        {"type": "mock", "command": "3", "except": ["{{user `v`}}"]}],
      "post-processors": [{"type": "mock", "name": "x", "only": ["{{user `v`}}"]}, ["mock", {"type": "mock", "name": "y", "except": ["a"]}]]}"#;
    let shape: Vec<_> = planned(text)
        .iter()
        .map(|b| {
            let chains =
                b.post_processors.iter().map(|c| c.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join("+"));
            (b.name.clone(), b.provisioners.len(), chains.collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert_eq!(shape, [("a".into(), 3, "mock".into()), ("b".into(), 1, "x mock+y".to_owned())]);
}

#[test]
fn except_ends_a_chain_at_the_post_processor_it_names() {
    let text = r#"{"builders": [{"type": "still"}],
      "post-processors": ["mock", [{"type": "mock", "name": "1"}, {"type": "mock", "name": "2"}, {"type": "mock", "name": "3"}]]}"#;
    let rows: [(&[&str], &[&[&str]]); 4] = [
        (&[], &[&["mock"], &["1", "2", "3"]]),
        (&["2"], &[&["mock"], &["1"]]),
        (&["1", "mock"], &[]),
        (&["mock"], &[&["1", "2", "3"]]),
    ];
    for (except, expected) in rows {
        let plan = given(Given { except, ..Given::default() }, text).expect("it is well");
        let chains = plan.builds[0].post_processors.iter();
        let chains: Vec<Vec<_>> = chains.map(|c| c.iter().map(|p| p.name.as_str()).collect()).collect();
        assert_eq!(chains, expected, "{except:?}");
    }
}

#[test]
fn what_stands_around_a_provisioner() {
    let text = r#"{"variables": {"n": "3"}, "builders": [{"type": "still"}],
      "provisioners": [
        {"type": "mock", "pause_before": "2s", "timeout": "1m", "max_retries": "{{user `n`}}", "command": "{{ .Path }}",
         "override": {"still": {"Command": "{{ build `ID` }}", "delay": "5s"}}},
        {"type": "mock", "max_retries": 2}],
      "error-cleanup-provisioner": {"type": "mock", "command": "sweep", "override": {"still": {"command": "no"}}}}"#;
    let builds = planned(text);
    let [first, second] = builds[0].provisioners.as_slice() else { panic!("there are two") };
    let seconds = |s| Some(std::time::Duration::from_secs(s));
    assert_eq!((first.pause_before, first.timeout, first.max_retries), (seconds(2), seconds(60), 3));
    assert_eq!((second.pause_before, second.timeout, second.max_retries), (None, None, 2));
    let shown = format!("{:?}", first.provisioner.it);
    assert!(shown.contains("{{ build `ID` }}") && !shown.contains(".Path") && shown.contains("5s"), "{shown}");
    let sweep = builds[0].error_cleanup.as_ref().expect("there is one");
    assert!(format!("{:?}", sweep.provisioner.it).contains("sweep"));
    assert_eq!((sweep.kind.as_str(), sweep.provisioner.component.as_str()), ("mock", "provisioner `mock`"));

    let retries = |n: &str| {
        format!(
            r#"{{"variables": {{"n": "{n}"}}, "builders": [{{"type": "still"}}], "provisioners": [{{"type": "mock", "max_retries": "{{{{user `n`}}}}"}}]}}"#
        )
    };
    for n in ["x", "-1", "1.5", ""] {
        let found = errors(&retries(n));
        assert!(found[0].contains("`max_retries` must be a valid integer"), "{found:?}");
    }
}

#[test]
fn a_communicator_s_keys_stand_among_the_builder_s() {
    let rows = [
        (r#""communicator": "mock", "mock_username": "core", "image_name": "x""#, "mock"),
        (r#""Communicator": "{{user `c`}}", "MOCK_USERNAME": "core""#, "mock"),
        // Keys of another communicator are left alone: a template switches by variable.
        (r#""communicator": "none", "mock_username": "core""#, "none"),
    ];
    for (keys, kind) in rows {
        let builds = planned(&format!(r#"{{"variables": {{"c": "mock"}}, "builders": [{{"type": "mock", {keys}}}]}}"#));
        assert_eq!(builds[0].connector.kind(), kind, "{keys}");
    }
    assert_eq!(planned(r#"{"builders": [{"type": "still", "size": 1}]}"#)[0].connector.kind(), "none");

    let rows: [(&str, &[&str]); 5] = [
        (
            r#"{"builders": [{"type": "mock", "communicator": "mock", "mock_usrname": "x"}]}"#,
            &["1:56: builder `mock`: unknown configuration key `mock_usrname`"],
        ),
        (
            r#"{"builders": [{"type": "mock", "communicator": "mock", "mock_username": [], "invalid": true}]}"#,
            &["1:73: communicator `mock`: expected a string, found a list", "1:88: builder `mock`: invalid by request"],
        ),
        (
            r#"{"builders": [{"type": "still", "communicator": "mock", "size": 3}]}"#,
            &["1:33: builder `still`: unknown configuration key `communicator`"],
        ),
        (r#"{"builders": [{"type": "still", "size": 10}]}"#, &["1:41: builder `still`: too large"]),
        (
            r#"{"builders": [{"type": "mock", "communicator": "{{foo}}"}]}"#,
            &["1:51: `communicator`: function \"foo\" not defined"],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn the_errors_of_all_builds_come_at_once_and_once() {
    let text = r#"{"builders": [
  {"type": "still", "name": "a", "size": "x"},
  {"type": "still", "name": "b", "siz": 1},
  {"type": "nope", "name": "c"}],
 "provisioners": [{"type": "mock", "comand": "1", "invalid": true}, {"type": "mock", "command": "{{ if }}"}],
 "post-processors": [{"type": "mock", "error": []}]}"#;
    let expected = [
        "2:42: builder `still`: expected a whole number, found \"x\"",
        "3:34: builder `still`: unknown configuration key `siz`",
        "4:12: unknown builder type `nope`",
        "5:36: provisioner `mock`: unknown configuration key `comand`",
        "5:104: provisioner `mock`: missing value for if",
        "6:48: post-processor `mock`: expected a string, found a list",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn build_data_is_not_there_while_planning() {
    let text = r#"{"builders": [{"type": "mock", "communicator": "none", "image_name": "{{ build `ID` }}"}]}"#;
    let expected =
        "1:74: builder `mock`: error calling build: `build` is only available to provisioners and post-processors";
    assert_eq!(errors(text), [expected]);
}

#[test]
fn a_thousand_builds_are_planned() {
    let builders: Vec<_> = (0..1000)
        .map(|n| format!(r#"{{"type": "mock", "communicator": "mock", "name": "b{n:04}", "image_name": "{{{{user `v`}}}}-{{{{build_name}}}}"}}"#))
        .collect();
    let text = format!(
        r#"{{"variables": {{"v": "1"}}, "builders": [{}], "provisioners": [{{"type": "mock", "command": "a"}}, {{"type": "mock", "only": ["b0007"]}}],
           "post-processors": [["mock", "mock"]]}}"#,
        builders.join(",\n")
    );
    let builds = planned(&text);
    assert_eq!(builds.len(), 1000);
    assert_eq!(builds[7].provisioners.len(), 2);
    assert!(format!("{:?}", builds[999].builder.it).contains("1-b0999"));
}
