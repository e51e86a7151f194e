//! The language against what Packer and Go answer, and against nonsense.

use std::collections::BTreeMap;

use builder_core::context::Names;
use builder_core::render::Field;
use jiff::Timestamp;

use super::*;

/// 2019-02-08T16:27:36.0506Z
fn settings() -> Settings {
    Settings {
        start: Timestamp::constant(1_549_643_256, 50_600_000),
        template_dir: Some("/templates".into()),
        working_dir: Some("/work".into()),
        names: Names::seeded(1),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The rows of a table: whether there is a value, the text, and what comes of it here, which is the fourth cell where it
/// differs.
fn rows(table: &str) -> impl Iterator<Item = (bool, String, String)> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        let [text, expected] = [cells[1], cells.get(3).unwrap_or(&cells[2])]
            .map(|cell| quote::unquote(cell).expect("a cell is a Go string"));
        (cells[0] == "V", text, expected)
    })
}

/// Renders every row, and gives those that came out otherwise.
fn differences(table: &str, render: impl Fn(&str) -> Result<String, Failure>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut count = 0;
    for (value, text, expected) in rows(table) {
        count += 1;
        let same = match render(&text) {
            Ok(rendered) => value && rendered == expected,
            Err(failure) => !value && failure.offset <= text.len() && failure.message.contains(&expected),
        };
        if !same {
            differences.push(format!("{text:?}: expected {expected:?}, got {:?}", render(&text)));
        }
    }
    assert!(count > 100, "the table is there");
    differences
}

#[test]
fn packer_console() {
    let variables = map(&[("name", "hello"), ("empty", ""), ("csv", "a,b,c"), ("n", "5"), ("html", "<a href='x'>\"&")]);
    let settings = settings();
    let scope = Scope {
        settings: &settings,
        variables: &variables,
        environment: None,
        build_name: None,
        build_type: None,
        build: &BTreeMap::new(),
    };
    let differences =
        differences(include_str!("../../tests/data/packer-1.6.6.tsv"), |text| render(text, &BTreeMap::new(), &scope));
    assert_eq!(differences, Vec::<String>::new(), "{differences:#?}");
}

#[test]
fn go_templates() {
    let fields = BTreeMap::from([
        ("T".to_owned(), Field::Text("text".into())),
        ("M".to_owned(), Field::Map(map(&[("a", "1"), ("b", "2")]))),
    ]);
    let settings = settings();
    let nothing = BTreeMap::new();
    let scope = scope(&settings, &nothing);
    let differences = differences(include_str!("../../tests/data/go-1.26.tsv"), |text| render(text, &fields, &scope));
    assert_eq!(differences, Vec::<String>::new(), "{differences:#?}");
}

fn scope<'a>(settings: &'a Settings, nothing: &'a BTreeMap<String, String>) -> Scope<'a> {
    Scope { settings, variables: nothing, environment: None, build_name: None, build_type: None, build: nothing }
}

/// Everything that a text can see, as while provisioning.
fn render_in_a_build(text: &str) -> Result<String, Failure> {
    let settings = settings();
    let (variables, build) = (map(&[("name", "hello")]), map(&[("ID", "i-1"), ("Host", "h")]));
    let scope = Scope {
        settings: &settings,
        variables: &variables,
        environment: None,
        build_name: Some("my build"),
        build_type: Some("amazon-ebs"),
        build: &build,
    };
    render(text, &BTreeMap::from([("Path".to_owned(), Field::Text("/tmp/x.sh".into()))]), &scope)
}

/// As in the value of a variable.
fn render_in_a_variable(text: &str) -> Result<String, Failure> {
    let settings = settings();
    let (variables, environment, nothing) = (map(&[("name", "hello")]), map(&[("HOME", "/root")]), BTreeMap::new());
    let scope = Scope { environment: Some(&environment), variables: &variables, ..scope(&settings, &nothing) };
    render(text, &BTreeMap::new(), &scope)
}

#[test]
fn functions_of_a_build() {
    let rows = [
        ("{{ .Path }}{{.Nope}}", "/tmp/x.sh<no value>"),
        ("{{ build_name }}/{{ build_type }}", "my build/amazon-ebs"),
        ("{{ build `ID` }}@{{ build `Host` }}", "i-1@h"),
        ("{{ timestamp }}", "1549643256"),
        ("{{ isotime }}", "2019-02-08T16:27:36Z"),
        ("{{ isotime \"20060102\" }}", "20190208"),
        ("{{ isotime | clean_resource_name }}", "2019-02-08T16-27-36Z"),
        ("{{ strftime `%Y` }}", "2019"),
        ("{{ template_dir }}:{{ pwd }}", "/templates:/work"),
        ("{{ packer_version }}", "1.16.0"),
        ("{{ clean_resource_name `a:b+c d(e)[f]./-'@_*é` }}", "a-b-c d(e)[f]./-'@_---"),
        ("{{ user `name` | upper }}", "HELLO"),
        ("{{ user `nope` }}", ""),
        ("no braces }} { {", "no braces }} { {"),
    ];
    for (text, expected) in rows {
        assert_eq!(render_in_a_build(text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn functions_where_they_are_not_allowed() {
    let rows = [
        ("x {{ build `Nope` }}", 5, "error calling build: loaded data, but couldnt find Nope in it."),
        ("{{ env `HOME` }}", 3, "error calling env: env vars are not allowed here"),
        ("{{ vault `a` `b` }}", 3, "error calling vault: Vault vars are only allowed in the variables section"),
        ("{{ consul_key `a` }}", 3, "error calling consul_key: consul_key is not allowed here"),
        ("{{ uper `a` }}", 3, "function \"uper\" not defined: did you mean `upper`?"),
        ("{{ foo }}", 3, "function \"foo\" not defined"),
        ("{{ isotime `a` `b` }}", 3, "wrong number of args for isotime: want at most 1 got 2"),
        ("{{ split `a` `,` -1 }}", 3, "error calling split: the substring -1 was unavailable"),
    ];
    for (text, offset, expected) in rows {
        let failure = render_in_a_build(text).expect_err(text);
        assert!(failure.message.starts_with(expected), "{text}: {failure:?}");
        assert_eq!(failure.offset, offset, "{text}");
    }
}

#[test]
fn functions_of_a_variable() {
    assert_eq!(render_in_a_variable("{{env `HOME`}}:{{env `NOPE`}}:{{user `name`}}"), Ok("/root::hello".into()));
    let not_yet = "reaches out to a server, which this gaia does not do yet: pass the value with -var";
    let rows = [
        ("{{ user `nope` }}", "error calling user: variable not set: nope".to_owned()),
        ("{{ build_name }}", "error calling build_name: build_name not available".to_owned()),
        ("{{ build_type }}", "error calling build_type: build_type not available".to_owned()),
        (
            "{{ build `ID` }}",
            "error calling build: `build` is only available to provisioners and post-processors".to_owned(),
        ),
        ("{{ consul_key `a` }}", format!("error calling consul_key: `consul_key` {not_yet}")),
        ("{{ vault `a` `b` }}", format!("error calling vault: `vault` {not_yet}")),
        ("{{ aws_secretsmanager `a` }}", format!("error calling aws_secretsmanager: `aws_secretsmanager` {not_yet}")),
        (
            "{{ aws_secretsmanager_raw `a` }}",
            format!("error calling aws_secretsmanager_raw: `aws_secretsmanager_raw` {not_yet}"),
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(render_in_a_variable(text).expect_err(text).message, expected, "{text}");
    }
    assert_eq!(
        render_in_a_variable("{{ user `nope` }}").expect_err("it is not there").missing.as_deref(),
        Some("nope")
    );
}

#[test]
fn a_uuid_is_time_and_chance() {
    let text = render_in_a_build("{{uuid}} {{uuid}}").expect("it renders");
    let (one, two) = text.split_once(' ').expect("there are two");
    assert_ne!(one, two);
    for uuid in [one, two] {
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        // 1549643256 in hexadecimal.
        assert!(uuid.starts_with("5c5dadf8-"), "{uuid}");
    }
}

#[test]
fn check_finds_what_can_be_known_without_rendering() {
    assert_eq!(check("{{ .Path }} {{ build `ID` }} {{ user `X` }} {{ template `t` }}"), Ok(()));
    for text in ["{{ foo }}", "{{ if }}", "{{", "{{ $x }}", "{{ if .X }}{{ env `HOME` }}{{ end }}"] {
        assert!(check(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_is_unbounded() {
    let double = "{{ $x := `aaaaaaaaaaaaaaaa` }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}";
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    let blocks = format!("{}x{}", "{{if true}}".repeat(5000), "{{end}}".repeat(5000));
    let nested = format!("{}{{{{template `a`}}}}{}", "{{if true}}".repeat(99), "{{end}}".repeat(99));
    let rows = [
        ("{{define `a`}}{{template `a`}}{{end}}{{template `a`}}".to_owned(), "exceeded maximum template depth"),
        (format!("{{{{define `a`}}}}{nested}{{{{end}}}}{{{{template `a`}}}}"), "exceeded maximum template depth"),
        ("{{range 9223372036854775807}}{{end}}".to_owned(), "takes too long"),
        ("{{range 100000000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}".to_owned(), "the rendered text is longer"),
        (double.to_owned(), "error calling print: the text is longer"),
        ("{{ printf `%1000000d%1000000d%1000000d` 1 2 3 | replace_all ` ` `xxxxxxxxxx` }}".to_owned(), "is longer"),
        (format!("{{{{ printf `{}` }}}}", "%1000000[1]d".repeat(100)), ""),
        (parens, "nested more than 100 levels deep"),
        (blocks, "nested more than 100 levels deep"),
    ];
    for (text, expected) in rows {
        match render_in_a_build(&text) {
            Ok(rendered) => {
                assert!(expected.is_empty() && rendered.len() <= MAX_TEXT, "{}", &text[..50.min(text.len())]);
            }
            Err(failure) => assert!(failure.message.contains(expected), "{failure:?}"),
        }
    }
}

/// Texts of pieces that mean something to the language, put together at random, and random characters between them.
#[test]
fn no_text_makes_it_panic() {
    const PIECES: [&str; 64] = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        " ",
        " ",
        "\n",
        "\"",
        "`",
        "'",
        "\\",
        "(",
        ")",
        "|",
        ":=",
        "=",
        ",",
        ".",
        "$",
        "$x",
        ".A",
        ".A.B",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "nil",
        "true",
        "false",
        "1",
        "-1",
        "0x",
        "1e9",
        "1_0",
        "99999999999999999999",
        "\"a\"",
        "`b`",
        "'c'",
        "print",
        "printf",
        "`%[2]*.*d`",
        "index",
        "slice",
        "len",
        "eq",
        "and",
        "or",
        "split",
        "replace",
        "user",
        "isotime",
        "/*",
        "*/",
        "é",
        "\u{0}",
        "%",
        "\u{10ffff}",
    ];
    let names = Names::seeded(42);
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..names.below(24) {
            let n = usize::try_from(names.below(80)).expect("it is small");
            match PIECES.get(n) {
                Some(piece) => text.push_str(piece),
                None => text.extend(char::from_u32(u32::try_from(names.below(0x300)).expect("it is small"))),
            }
            if names.below(3) == 0 {
                text.push(' ');
            }
        }
        for text in [text.clone(), format!("{{{{ {text} }}}}"), format!("{{{{ printf `{text}` 1 `s` 2.5 }}}}")] {
            drop(check(&text));
            for result in [render_in_a_build(&text), render_in_a_variable(&text)] {
                match result {
                    Ok(rendered) => assert!(rendered.len() <= MAX_TEXT),
                    Err(failure) => assert!(text.is_char_boundary(failure.offset), "{text:?}: {failure:?}"),
                }
            }
        }
    }
}
