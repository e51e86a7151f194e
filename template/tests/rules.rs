//! The rules of a template, one row each.

use builder_core::source::{Diagnostics, Source};
use template::{Filter, Template, load};

fn read(text: &str) -> Result<(Template, Diagnostics), Diagnostics> {
    load(Source { name: "t.json".into(), text: text.into() })
}

/// A template with one builder and these keys beside it.
fn with(keys: &str) -> String {
    format!("{{\"builders\": [{{\"type\": \"null\"}}]{}{keys}}}", if keys.is_empty() { "" } else { ", " })
}

#[test]
fn what_is_allowed() {
    let rows = [
        "",
        "\"description\": \"d\"",
        "\"description\": null, \"variables\": null, \"provisioners\": null, \"post-processors\": []",
        "\"variables\": {\"a\": \"1\", \"b\": null, \"c\": \"\"}, \"sensitive-variables\": [\"a\"]",
        "\"_comment\": \"x\", \"_\": \"y\"",
        "\"push\": {\"name\": 1}, \"comments\": [{\"a\": \"b\"}]",
        "\"min_packer_version\": \"1.6.0\"",
        "\"min_packer_version\": \"v1.16\"",
        "\"PROVISIONERS\": [{\"type\": \"shell\", \"Only\": [\"null\"]}]",
        "\"provisioners\": [{\"type\": \"shell\", \"only\": \"null\", \"override\": {\"null\": {}}, \"pause_before\": \"1m30s\"}]",
        "\"provisioners\": [{\"type\": \"shell\", \"timeout\": 1000000000, \"max_retries\": 2, \"except\": []}]",
        "\"provisioners\": [{\"type\": \"shell\", \"max_retries\": \"{{user `n`}}\"}]",
        "\"error-cleanup-provisioner\": {\"type\": \"shell\", \"only\": [\"nobody\"], \"override\": {\"nobody\": {}}}",
        "\"post-processors\": [\"a\", {\"type\": \"b\", \"name\": \"n\", \"keep_input_artifact\": false}, [\"c\", {\"type\": \"d\"}]]",
    ];
    for keys in rows {
        let text = with(keys);
        let (_, warnings) = read(&text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        assert_eq!(warnings, Diagnostics::default(), "{text}");
    }
}

#[test]
fn what_is_not() {
    let rows = [
        ("[]", "1:1: a template must be an object, found a list", None),
        ("{}", "1:1: at least one builder must be defined", Some("add one to `builders`")),
        ("{\"builders\": []}", "1:14: at least one builder must be defined", Some("add one to `builders`")),
        ("{\"builders\": {}}", "1:14: `builders` must be a list, found an object", None),
        ("{\"builders\": [1]}", "1:15: builder 1 must be an object, found a number", None),
        ("{\"builders\": [{}]}", "1:15: builder 1: missing 'type'", None),
        ("{\"builders\": [{\"type\": \"\"}]}", "1:15: builder 1: missing 'type'", None),
        ("{\"builders\": [{\"type\": 1}]}", "1:24: builder 1: `type` must be a string, found a number", None),
        (
            "{\"builders\": [{\"type\": \"a\", \"name\": []}]}",
            "1:37: `builder 1: name` must be a string, found a list",
            None,
        ),
        (
            "{\"builders\": [{\"type\": \"a\"}, {\"type\": \"b\", \"name\": \"a\"}]}",
            "1:52: builder 2: builder with name 'a' already exists",
            Some("give each of them a `name` of its own"),
        ),
    ];
    let keys = [
        (
            "\"provisoners\": []",
            "Unknown root level key in template: 'provisoners'",
            Some("did you mean `provisioners`?"),
        ),
        ("\"zzz\": 1", "Unknown root level key in template: 'zzz'", None),
        ("\"_x\": 1", "Failed to cast root level comment value in comment \"_x\" to string", None),
        ("\"Builders\": []", "template has duplicate field: Builders", Some("keep one of the two")),
        ("\"description\": 1", "`description` must be a string, found a number", None),
        ("\"push\": 1", "`push` must be an object, found a number", None),
        ("\"comments\": [1]", "a comment must be an object, found a number", None),
        ("\"comments\": [{\"a\": 1}]", "`a` must be a string, found a number", None),
        ("\"variables\": []", "`variables` must be an object, found a list", None),
        (
            "\"variables\": {\"n\": 5}",
            "variable n: the default must be a string or null, found a number",
            Some("write it as a string: \"5\""),
        ),
        ("\"variables\": {\"n\": [\"5\"]}", "variable n: the default must be a string or null, found a list", None),
        ("\"sensitive-variables\": \"a\"", "`sensitive-variables` must be a list, found a string", None),
        (
            "\"min_packer_version\": \"2.0\"",
            "This template requires Packer version 2.0 or higher; using 1.16.0",
            Some("gaia answers as Packer 1.16.0: lower `min_packer_version` if that is enough"),
        ),
        ("\"min_packer_version\": \"x\"", "min_version is invalid: Malformed version: x", None),
        ("\"provisioners\": {}", "`provisioners` must be a list, found an object", None),
        ("\"provisioners\": [1]", "provisioner 1 must be an object, found a number", None),
        ("\"provisioners\": [{}]", "provisioner 1: Provisioner missing 'type'", None),
        (
            "\"provisioners\": [{\"type\": \"s\", \"only\": [\"null\"], \"except\": [\"null\"]}]",
            "provisioner 1: only one of 'only' or 'except' may be specified",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"only\": [\"nul\"]}]",
            "provisioner 1: 'only' specified builder 'nul' not found",
            Some("did you mean `null`?"),
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"except\": [\"zz\"]}]",
            "provisioner 1: 'except' specified builder 'zz' not found",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"override\": {\"qq\": {}}}]",
            "provisioner 1: override 'qq' doesn't exist",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"override\": []}]",
            "provisioner 1: `override` must be an object, found a list",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"override\": {\"null\": 1}}]",
            "provisioner 1: override 'null' must be an object, found a number",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"pause_before\": \"5\"}]",
            "provisioner 1: `pause_before`: missing unit in duration \"5\": write \"5s\" for seconds or \"5m\" for minutes",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"pause_before\": \"{{user `p`}}\"}]",
            "provisioner 1: `pause_before`: it cannot be a template: write it out, like \"90s\"",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"timeout\": 1.5}]",
            "provisioner 1: `timeout`: a number must be whole nanoseconds: write a text with a unit, like \"90s\"",
            None,
        ),
        (
            "\"provisioners\": [{\"type\": \"s\", \"max_retries\": []}]",
            "provisioner 1: `max_retries` must be a valid integer, found a list",
            None,
        ),
        ("\"error-cleanup-provisioner\": {}", "error-cleanup-provisioner: Provisioner missing 'type'", None),
        ("\"post-processors\": {}", "`post-processors` must be a list, found an object", None),
        (
            "\"post-processors\": [1]",
            "post-processor 1: bad format: expected a type, an object or a list, found a number",
            None,
        ),
        (
            "\"post-processors\": [\"a\", [\"b\", [\"c\"]]]",
            "post-processor 2.2: sequence not allowed to be nested in a sequence",
            None,
        ),
        ("\"post-processors\": [[1]]", "post-processor 1.1: unknown format: found a number", None),
        ("\"post-processors\": [{}]", "post-processor 1.1: type is required", None),
        ("\"post-processors\": [\"\"]", "post-processor 1.1: type is required", None),
        (
            "\"post-processors\": [{\"type\": \"a\", \"keep_input_artifact\": \"true\"}]",
            "post-processor 1.1: `keep_input_artifact` must be true or false, found a string",
            None,
        ),
        (
            "\"post-processors\": [{\"type\": \"a\", \"except\": [\"nil\"]}]",
            "post-processor 1.1: 'except' specified builder 'nil' not found",
            Some("did you mean `null`?"),
        ),
    ];
    let rows = rows.into_iter().map(|(text, message, help)| (text.to_owned(), message, help));
    for (text, message, help) in rows.chain(keys.into_iter().map(|(keys, message, help)| (with(keys), message, help))) {
        let errors = read(&text).expect_err(&text);
        assert_eq!(errors.0.len(), 1, "{text}: {errors}");
        assert!(errors.to_string().ends_with(message), "{text}: {errors}");
        assert!(errors.0[0].span.is_some(), "{text}: {errors}");
        assert_eq!(errors.0[0].help.as_deref(), help, "{text}");
    }
}

#[test]
fn all_errors_come_at_once() {
    let text = r#"{
  "foo": 1,
  "min_packer_version": "9",
  "variables": {"a": 1},
  "builders": [{"type": "x"}, {"type": "x"}, {}],
  "provisioners": [{"type": "s", "only": ["gone"], "except": ["x"], "pause_before": "?"}, {}],
  "post-processors": [[["x"]], 5]
}"#;
    let errors = read(text).expect_err("much is wrong");
    let messages: Vec<_> =
        errors.to_string().lines().map(|l| l.trim_start_matches("error: t.json:").to_owned()).collect();
    let expected = [
        "2:3: Unknown root level key in template: 'foo'",
        "3:25: This template requires Packer version 9 or higher; using 1.16.0",
        "4:22: variable a: the default must be a string or null, found a number",
        "5:40: builder 2: builder with name 'x' already exists",
        "5:46: builder 3: missing 'type'",
        "6:52: provisioner 1: only one of 'only' or 'except' may be specified",
        "6:85: provisioner 1: `pause_before`: invalid duration \"?\": write a number with a unit, like \"300ms\", \"90s\" or \"1h30m\"",
        "6:91: provisioner 2: Provisioner missing 'type'",
        "7:24: post-processor 1.1: sequence not allowed to be nested in a sequence",
        "7:32: post-processor 2: bad format: expected a type, an object or a list, found a number",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn what_is_read_is_kept() {
    let text = r#"{"description": "d", "_why": "because",
      "builders": [{"type": "null", "name": "n", "Communicator": "none"}],
      "provisioners": [{"type": "shell", "except": ["n"], "pause_before": "1m", "timeout": 5, "inline": ["x"]}],
      "post-processors": ["a", [{"type": "b", "name": "c", "keep_input_artifact": true, "x": 1}]]}"#;
    let (template, _) = read(text).expect("it is well");
    assert_eq!(template.description.as_deref(), Some("d"));
    assert_eq!(template.comments, [("_why".to_owned(), "because".to_owned())]);
    let keys = |node: &builder_core::node::Node| {
        node.members().expect("an object").iter().map(|m| m.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (template.builders[0].raw_name(), keys(&template.builders[0].config)),
        ("n", vec!["Communicator".to_owned()])
    );
    let provisioner = &template.provisioners[0];
    assert_eq!(provisioner.filter, Filter::Except(["n".to_owned()].into()));
    assert_eq!(provisioner.pause_before, Some(std::time::Duration::from_secs(60)));
    assert_eq!(provisioner.timeout, Some(std::time::Duration::from_nanos(5)));
    assert_eq!(keys(&provisioner.config), ["inline"]);
    let names: Vec<Vec<_>> =
        template.post_processors.iter().map(|c| c.iter().map(|p| p.name.as_str()).collect()).collect();
    assert_eq!(names, [["a"], ["c"]]);
    assert_eq!(template.post_processors[1][0].keep_input, Some(true));
    assert_eq!(keys(&template.post_processors[1][0].config), ["x"]);
}

#[test]
fn a_sensitive_variable_that_is_none_gets_a_warning() {
    let text = with("\"variables\": {\"password\": \"x\"}, \"sensitive-variables\": [\"pasword\"]");
    let (template, warnings) = read(&text).expect("a warning is no error");
    assert!(!template.variables[0].sensitive);
    assert!(
        warnings
            .to_string()
            .ends_with("`sensitive-variables` names `pasword`, which is not in `variables`: it hides nothing")
    );
    assert_eq!(warnings.0[0].help.as_deref(), Some("did you mean `password`?"));
}
