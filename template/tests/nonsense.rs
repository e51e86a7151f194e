//! Damaged templates: whatever comes of them, it is an answer and not a panic.

mod support;

use builder_core::context::Names;
use support::{Given, given};

const TEMPLATE: &str = r#"{
  "min_packer_version": "1.6.0", "description": "d", "_comment": "c",
  "variables": {"a": "{{user `b`}}-{{ .Name }}", "b": "{{env `HOME`}}", "c": null},
  "sensitive-variables": ["b"],
  "builders": [
    {"type": "mock", "name": "one-{{user `c`}}", "communicator": "mock", "mock_username": "core", "image_name": "{{timestamp}}"},
    {"type": "still", "size": "3"}
  ],
  "provisioners": [
    {"type": "mock", "command": "{{ .Path }} {{ build `ID` }}", "only": ["still"], "pause_before": "1s", "timeout": 5, "max_retries": "2",
     "override": {"still": {"delay": "1m"}}}
  ],
  "error-cleanup-provisioner": {"type": "mock"},
  "post-processors": ["mock", [{"type": "mock", "keep_input_artifact": true}, "mock"]]
}"#;

#[test]
fn damaged_templates_get_an_answer() {
    const PIECES: [&str; 24] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "null",
        "true",
        "1",
        "-1e999",
        "\"type\"",
        "\"{{\"",
        "{{",
        "}}",
        "`",
        "\\",
        "\\ud800",
        "\u{0}",
        "é",
        "\u{feff}",
        "\n",
        "{{user `a`}}",
        "{{.X",
    ];
    let names = Names::seeded(7);
    let below = |limit: usize| usize::try_from(names.below(u64::try_from(limit).expect("it fits"))).expect("it fits");
    let from = Given { vars: &["c=1"], ..Given::default() };
    given(from, TEMPLATE).expect("the template is well");
    let mut planned = 0;
    for _ in 0..5_000 {
        let mut text = TEMPLATE.to_owned();
        for _ in 0..=below(3) {
            let start = text.floor_char_boundary(below(text.len()));
            let end = text.ceil_char_boundary((start + below(6)).min(text.len()));
            text.replace_range(start..end, PIECES[below(PIECES.len())]);
        }
        match given(from, &text) {
            Ok(_) => planned += 1,
            Err(errors) => {
                assert!(errors.has_errors(), "{text}");
                assert!(!errors.to_string().is_empty());
            }
        }
    }
    assert!(planned > 0, "some damage does no harm");
}
