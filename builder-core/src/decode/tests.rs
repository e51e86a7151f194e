use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::render::{Deferred, DeferredMap, RenderData, RenderError};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Config {
    text: String,
    number: u16,
    flag: bool,
    trilean: Option<bool>,
    list: Vec<String>,
    codes: Vec<i64>,
    wait: GoDuration,
    later: Deferred2,
    tags: DeferredMap,
    map: IndexMap<String, String>,
    blocks: Vec<Block>,
    single: Block,
    kind: Kind,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Block {
    device_name: String,
    size: i64,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    PublicIp,
    PrivateIp,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct Deferred2(Deferred);

impl Default for Deferred2 {
    fn default() -> Self {
        Self(Deferred::new("default"))
    }
}

/// Renders `{{x}}` to `X`, `{{empty}}` to nothing, and refuses `{{bad}}`.
#[derive(Debug)]
struct Upper;

impl Renderer for Upper {
    fn render(&self, template: &str, _: &RenderData) -> Result<String, RenderError> {
        self.check(template)?;
        Ok(template.replace("{{x}}", "X").replace("{{empty}}", ""))
    }

    fn check(&self, template: &str) -> Result<(), RenderError> {
        match template.find("{{bad}}") {
            Some(offset) => {
                Err(RenderError { message: "function \"bad\" is not defined".into(), offset: Some(offset) })
            }
            None => Ok(()),
        }
    }
}

fn decode(json: &serde_json::Value) -> Result<Config, String> {
    let how = Decoding { component: "builder `x`", renderer: &Upper, elsewhere: &["ssh_username"] };
    super::decode(&Node::from(json), &how).map_err(|d| {
        d.0.iter()
            .map(|d| format!("{}{}", d.message, d.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default()))
            .collect::<Vec<_>>()
            .join("; ")
    })
}

#[test]
fn weak_typing_takes_what_packer_takes() {
    let rows = [
        (
            json!({"text": "a{{x}}", "number": "22", "flag": "t"}),
            Config { text: "aX".into(), number: 22, flag: true, ..Config::default() },
        ),
        (json!({"text": 5, "flag": 1}), Config { text: "5".into(), flag: true, ..Config::default() }),
        (json!({"text": true, "number": ""}), Config { text: "1".into(), ..Config::default() }),
        (json!({"trilean": "true"}), Config { trilean: Some(true), ..Config::default() }),
        (json!({"trilean": ""}), Config::default()),
        (json!({"trilean": "{{empty}}"}), Config::default()),
        (json!({"trilean": false}), Config { trilean: Some(false), ..Config::default() }),
        (json!({"list": "a,b"}), Config { list: vec!["a".into(), "b".into()], ..Config::default() }),
        (json!({"list": ""}), Config::default()),
        (json!({"list": ["{{x}}", 1]}), Config { list: vec!["X".into(), "1".into()], ..Config::default() }),
        (json!({"codes": 3}), Config { codes: vec![3], ..Config::default() }),
        (json!({"codes": "0,2"}), Config { codes: vec![0, 2], ..Config::default() }),
        (json!({"wait": "1m30s"}), Config { wait: GoDuration::from_secs(90), ..Config::default() }),
        (json!({"wait": 2_000_000_000}), Config { wait: GoDuration::from_secs(2), ..Config::default() }),
        (json!({"later": "{{x}}"}), Config { later: Deferred2(Deferred::new("{{x}}")), ..Config::default() }),
        (json!({"TEXT": "upper case key"}), Config { text: "upper case key".into(), ..Config::default() }),
        (
            json!({"map": {"{{x}}": "{{x}}"}}),
            Config { map: [("X".to_owned(), "X".to_owned())].into(), ..Config::default() },
        ),
        (json!({"map": []}), Config::default()),
        (
            json!({"tags": {"b": "{{x}}", "a": 1}}),
            Config { tags: [("b".into(), "{{x}}".into()), ("a".into(), "1".into())].into(), ..Config::default() },
        ),
        (
            json!({"blocks": {"device_name": "a"}}),
            Config { blocks: vec![Block { device_name: "a".into(), size: 0 }], ..Config::default() },
        ),
        (json!({"kind": "private_ip"}), Config { kind: Kind::PrivateIp, ..Config::default() }),
        (json!({"type": "x", "packer_anything": 1, "ssh_username": "core"}), Config::default()),
        (json!({"number": 5.0}), Config { number: 5, ..Config::default() }),
    ];
    for (json, expected) in rows {
        assert_eq!(decode(&json).unwrap(), expected, "{json}");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_nearest_known_name() {
    let rows = [
        (json!({"flag": "yes"}), "builder `x`: expected a boolean (true or false), found \"yes\""),
        (json!({"number": "x22"}), "builder `x`: expected a whole number, found \"x22\""),
        (json!({"number": -1}), "builder `x`: expected a number that is not negative, found -1"),
        (json!({"number": 70000}), "builder `x`: invalid value: integer `70000`, expected u16"),
        (json!({"text": ["a"]}), "builder `x`: expected a string, found a list"),
        (json!({"map": 3}), "builder `x`: expected an object, found a number"),
        (
            json!({"wait": "5"}),
            "builder `x`: missing unit in duration \"5\": write \"5s\" for seconds or \"5m\" for minutes",
        ),
        (
            json!({"tezt": "a", "zzz": 1}),
            "builder `x`: unknown configuration key `tezt` (did you mean `text`?); builder `x`: unknown configuration key `zzz`",
        ),
        (
            json!({"ssh_usrname": "a"}),
            "builder `x`: unknown configuration key `ssh_usrname` (did you mean `ssh_username`?)",
        ),
        (
            json!({"blocks": [{"devicename": "a"}]}),
            "builder `x`: unknown configuration key `devicename` (did you mean `device_name`?)",
        ),
        (
            json!({"single": [{"devicename": "a"}]}),
            "builder `x`: unknown configuration key `devicename` (did you mean `device_name`?)",
        ),
        (json!({"blocks": [{"type": "a"}]}), "builder `x`: unknown configuration key `type`"),
        (
            json!({"ssh_wait_timeout": "5m"}),
            "builder `x`: deprecated configuration key `ssh_wait_timeout` (it is called `ssh_timeout` now)",
        ),
        (json!({"text": "{{bad}}"}), "builder `x`: function \"bad\" is not defined"),
        (json!({"later": "{{bad}}"}), "builder `x`: function \"bad\" is not defined"),
        (
            json!({"kind": "privat_ip"}),
            "builder `x`: \"privat_ip\" is not one of public_ip, private_ip (did you mean `private_ip`?)",
        ),
    ];
    for (json, expected) in rows {
        assert_eq!(decode(&json).unwrap_err(), expected, "{json}");
    }
}

#[test]
fn field_names_come_from_the_struct() {
    assert_eq!(field_names::<Block>(), ["device_name", "size"]);
    assert!(field_names::<String>().is_empty());
}

#[test]
fn durations_follow_go() {
    let rows = [
        ("5m", "5m0s"),
        ("1h30m", "1h30m0s"),
        ("1.5s", "1.5s"),
        ("300ms", "300ms"),
        ("0", "0s"),
        ("", "0s"),
        ("-1s", "-1s"),
        ("2us", "2µs"),
        ("90s", "1m30s"),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_go_duration(text).unwrap().to_string(), expected, "{text}");
    }
    for wrong in ["5", "s", "5x", "1.2.3s", "-", "99999999999h", "5m3"] {
        assert!(parse_go_duration(wrong).is_err(), "{wrong}");
    }
}
