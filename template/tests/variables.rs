//! Where the values of variables come from.

mod support;

use builder_core::ExposeSecret as _;
use builder_core::render::RenderData;
use builder_core::source::Source;
use support::{Given, given};
use template::{parse_argument, parse_file};

/// A template with these variables, or what else stands at its root.
fn with(keys: &str) -> String {
    format!("{{\"builders\": [{{\"type\": \"still\"}}],\n{keys}}}")
}

fn value(keys: &str, from: Given<'_>, name: &str) -> String {
    let plan = given(from, &with(keys)).unwrap_or_else(|errors| panic!("{keys}: {errors}"));
    plan.builds[0].renderer.render(&format!("{{{{user `{name}`}}}}"), &RenderData::default()).expect("it renders")
}

#[test]
fn later_and_nearer_values_win() {
    let keys = r#""variables": {"a": "default", "r": null}"#;
    let files: [&[&str]; 3] =
        [&[r#"{"r": "r"}"#], &[r#"{"a": "file", "r": "r"}"#], &[r#"{"a": "1", "r": "r"}"#, r#"{"a": "2"}"#]];
    let rows: [(&[&str], &[&str], &str); 6] = [
        (files[0], &[], "default"),
        (files[1], &[], "file"),
        (files[2], &[], "2"),
        (files[2], &["a=var"], "var"),
        (files[2], &["a=one", "a=two=three"], "two=three"),
        (files[0], &["a="], ""),
    ];
    for (files, vars, expected) in rows {
        assert_eq!(value(keys, Given { files, vars, ..Given::default() }, "a"), expected, "{files:?} {vars:?}");
    }
}

#[test]
fn values_are_templates() {
    let rows = [
        (r#""a": "{{env `HOME`}}/x""#, "/root/x"),
        (r#""a": "{{env `NOPE`}}""#, ""),
        (r#""a": "{{user `b`}}", "b": "{{user `c`}}-{{user `d`}}", "c": "{{upper `c`}}", "d": """#, "C-"),
        (
            r#""a": "{{user `e`}}", "e": "{{ .Name }}-{{user `d`}}", "d": "{{.Path | upper}}""#,
            "{{ .Name }}-{{.Path | upper}}",
        ),
        (r#""a": "{{ .A }}{{ timestamp }}{{ .B }}""#, "{{ .A }}1767225600{{ .B }}"),
        // A value that came out as a template is rendered again.
        (r#""a": "x", "b": "{{env `TPL`}}""#, "x"),
        (r#""a": "{{user `undeclared`}}""#, "given"),
        (r#""a": "{{template_dir}} {{pwd}} {{packer_version}}""#, "/templates /work 1.16.0"),
    ];
    for (variables, expected) in rows {
        let from = Given { vars: &["undeclared=given"], ..Given::default() };
        assert_eq!(value(&format!("\"variables\": {{{variables}}}"), from, "a"), expected, "{variables}");
    }
    assert_eq!(value(r#""variables": {"a": "x", "b": "{{env `TPL`}}"}"#, Given::default(), "b"), "x!");
    let from = Given { vars: &["a={{user `b`}}", "b={{env `HOME`}}"], ..Given::default() };
    assert_eq!(value(r#""variables": {}"#, from, "a"), "/root");
    // A chain that is resolved one by one, in the worst order.
    let chain: Vec<_> = (0..90).map(|n| format!("\"v{n:02}\": \"{{{{user `v{:02}`}}}}\"", n + 1)).collect();
    let keys = format!("\"variables\": {{{}, \"v90\": \"end\"}}", chain.join(", "));
    assert_eq!(value(&keys, Given::default(), "v00"), "end");
}

#[test]
fn undeclared_variables_are_empty_or_what_was_given() {
    assert_eq!(value("\"variables\": {}", Given::default(), "nope"), "");
    assert_eq!(value("\"variables\": {}", Given { files: &[r#"{"x": "1"}"#], ..Given::default() }, "x"), "1");
}

#[test]
fn what_cannot_be_resolved() {
    let rows = [
        (r#""a": null"#, "2:15: required variable not set: a", Some("give it with -var 'a=…' or in a -var-file")),
        (
            r#""b": "{{user `a`}}", "a": null"#,
            "2:36: required variable not set: a",
            Some("give it with -var 'a=…' or in a -var-file"),
        ),
        (
            r#""a": "{{user `a`}}""#,
            "2:20: variable a is made of itself: a -> a",
            Some("give one of them a value of its own"),
        ),
        (
            r#""c": "{{user `a`}}", "a": "{{user `b`}}", "b": "{{user `d`}}", "d": "{{user `a`}}""#,
            "2:41: variable a is made of itself: a -> b -> d -> a",
            Some("give one of them a value of its own"),
        ),
        (
            r#""region": "x", "a": "{{user `regoin`}}""#,
            "2:35: Failed to interpolate \"a\": \"{{user `regoin`}}\"; variable not set: regoin",
            Some("did you mean `region`?"),
        ),
        (
            r#""b": "{{user `a`}}", "a": "{{user `zzz`}}""#,
            "2:41: Failed to interpolate \"a\": \"{{user `zzz`}}\"; variable not set: zzz",
            Some("declare `zzz` in `variables`, or give it with -var 'zzz=…'"),
        ),
        (r#""a": "x{{foo}}""#, "2:24: variable a: function \"foo\" not defined", None),
        (r#""a": "{{foo}}", "b": "{{user `a`}}""#, "2:23: variable a: function \"foo\" not defined", None),
        (r#""a": "{{build_name}}""#, "2:23: variable a: error calling build_name: build_name not available", None),
        (
            r#""a": "{{ vault `p` `k` }}""#,
            "2:24: variable a: error calling vault: `vault` reaches out to a server, which this gaia does not do yet: pass the value with -var",
            None,
        ),
    ];
    for (variables, message, help) in rows {
        let errors = given(Given::default(), &with(&format!("\"variables\": {{{variables}}}"))).expect_err(variables);
        assert_eq!(errors.to_string(), format!("error: t.json:{message}"), "{variables}");
        assert_eq!(errors.0[0].help.as_deref(), help, "{variables}");
    }
}

#[test]
fn what_is_no_variables_file() {
    let rows = [
        (
            r#"{"a": 5}"#,
            "1:7: Error reading variables in 'v.json': `a` must be a string, found a number",
            Some("write it as a string: \"5\""),
        ),
        (
            r#"{"a": true}"#,
            "1:7: Error reading variables in 'v.json': `a` must be a string, found a boolean",
            Some("write it as a string: \"true\""),
        ),
        (
            r#"{"a": {"b": "c"}}"#,
            "1:7: Error reading variables in 'v.json': `a` must be a string, found an object",
            Some("a variables file is one flat object of strings"),
        ),
        ("[]", "1:1: Error reading variables in 'v.json': expected an object, found a list", None),
        ("x", "1:1: error parsing JSON: unexpected word", None),
    ];
    for (text, message, help) in rows {
        let errors = parse_file(Source { name: "v.json".into(), text: text.into() }).expect_err(text);
        assert_eq!(errors.to_string(), format!("error: v.json:{message}"), "{text}");
        assert_eq!(errors.0[0].help.as_deref(), help, "{text}");
    }
    let errors =
        parse_file(Source { name: "v.json".into(), text: "{\"a\": 1, \"b\": []}".into() }).expect_err("both are wrong");
    assert_eq!(errors.0.len(), 2);
}

#[test]
fn a_repeated_name_in_a_file_is_a_warning() {
    let text = "{\n\"name_prefix\": \"one\",\n\"name_prefix\": \"two\"\n}";
    let (assignments, warnings) =
        parse_file(Source { name: "vars.json".into(), text: text.into() }).expect("it is allowed");
    assert_eq!(
        assignments.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect::<Vec<_>>(),
        [("name_prefix", "two")]
    );
    let expected = "warning: vars.json:3:1: `name_prefix` stands on line 2 and again on line 3: the last one wins";
    assert_eq!(warnings.to_string(), expected);
}

#[test]
fn an_argument_needs_an_equals_sign() {
    let assignment = parse_argument("a=b=c").expect("it has one");
    assert_eq!((assignment.name.as_str(), assignment.value.as_str()), ("a", "b=c"));
    assert_eq!(parse_argument("foo").expect_err("it has none").message, "No '=' value in arg: foo");
}

#[test]
fn secrets_are_the_rendered_values_of_sensitive_variables() {
    let keys = r#""variables": {"a": "{{user `b`}}1", "b": "x", "c": ""}, "sensitive-variables": ["a", "c"]"#;
    let plan = given(Given::default(), &with(keys)).expect("it is well");
    let secrets: Vec<_> = plan.builds[0].secrets.iter().map(|s| s.expose_secret().to_owned()).collect();
    assert_eq!(secrets, ["x1"]);
    assert!(!format!("{plan:?}").contains("x1"), "{plan:?}");
}
