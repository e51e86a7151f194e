//! What `gaia inspect` gets to show.

use builder_core::source::Source;
use template::{InspectedVariable, inspect, load};

#[test]
fn defaults_of_sensitive_variables_are_masked_wherever_they_stand() {
    let text = r#"{
      "description": "an image",
      "variables": {"z": "plain", "secret": "s3cret", "copy": "s3cret", "needed": null, "empty": "", "hidden": ""},
      "sensitive-variables": ["secret", "hidden"],
      "builders": [{"type": "null", "name": "two"}, {"type": "amazon-ebs"}],
      "provisioners": [{"type": "shell"}, {"type": "file"}],
      "error-cleanup-provisioner": {"type": "shell-local"},
      "post-processors": ["tags", ["compress", {"type": "manifest", "name": "m"}]]
    }"#;
    let (template, _) = load(Source { name: "t.json".into(), text: text.into() }).expect("it is well");
    let inspection = inspect(&template);
    assert_eq!(inspection.description.as_deref(), Some("an image"));
    let variable = |name: &str, default: Option<&str>, sensitive| InspectedVariable {
        name: name.into(),
        required: default.is_none(),
        default: default.map(Into::into),
        sensitive,
    };
    let expected = [
        variable("copy", Some("<sensitive>"), false),
        variable("empty", Some(""), false),
        variable("hidden", Some(""), true),
        variable("needed", None, false),
        variable("secret", Some("<sensitive>"), true),
        variable("z", Some("plain"), false),
    ];
    assert_eq!(inspection.variables, expected);
    let builders: Vec<_> = inspection.builders.iter().map(|b| (b.name.as_str(), b.kind.as_str())).collect();
    assert_eq!(builders, [("amazon-ebs", "amazon-ebs"), ("two", "null")]);
    assert_eq!(inspection.provisioners, ["shell", "file"]);
    assert_eq!(inspection.error_cleanup_provisioner.as_deref(), Some("shell-local"));
    assert_eq!(inspection.post_processors, [vec!["tags"], vec!["compress", "m"]]);
}
