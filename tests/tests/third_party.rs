//! A builder crate outside the workspace: built by itself, it gives a gaia that has its build type beside all of gaia's own.

use std::process::Command;

use gaia_tests::repository;
use tempfile::TempDir;

#[test]
fn a_third_partys_binary_has_its_build_type_and_gaias() {
    let example = repository().join("examples/third-party-builder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The same versions as the workspace's, in the same folder: the SDK is not compiled once more.
    let folder = TempDir::new().unwrap();
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--offline", "--target-dir"])
        .arg(repository().join("target"))
        .current_dir(&example)
        .status()
        .unwrap();
    assert!(built.success(), "the example builds");
    let binary = repository().join("target/debug/third-party-builder");

    let gaia = |arguments: &[&str]| {
        let output = Command::new(&binary)
            .args(arguments)
            .current_dir(folder.path())
            .env("GAIA_STATE_DIR", folder.path().join("state"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, plugins) = gaia(&["plugins"]);
    assert_eq!(code, Some(0), "{plugins}");
    for expected in ["amazon-ebs", "motd", "null", "third-party-builder 0.1.0"] {
        assert!(plugins.contains(expected), "{expected} is not in: {plugins}");
    }

    let template = example.join("motd.json");
    let (code, text) = gaia(&["build", template.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("--> motd: A message of the day was written: motd.txt"), "{text}");
    let message = std::fs::read_to_string(folder.path().join("motd.txt")).unwrap();
    assert!(message.ends_with(" by motd."), "{message}");

    let (code, text) = gaia(&["build", "-var", "target=", template.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(text.contains("`target` must name the file to write"), "{text}");
}
