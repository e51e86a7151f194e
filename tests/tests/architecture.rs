//! The invariants of ARCHITECTURE.md that can be read off the manifests.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use std::collections::BTreeMap;

use gaia_tests::repository;
use serde_json::Value;

/// The names of what each of our crates depends on, dev-dependencies left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success());
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|d| d["kind"] != "dev").map(|d| text(&d["name"])).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|p| (text(&p["name"]), of(p))).collect()
}

#[test]
fn arrows_point_to_builder_core() {
    let all = dependencies();
    let ours: Vec<_> = all.keys().collect();
    for (krate, uses) in &all {
        let ours: Vec<_> = uses.iter().filter(|d| ours.contains(d)).map(String::as_str).collect();
        match krate.as_str() {
            "builder-core" | "gaia-tests" => assert!(ours.is_empty(), "{krate} depends on {ours:?}"),
            "gaia-cli" => assert!(ours.len() + 2 == all.len(), "gaia-cli knows every crate: {ours:?}"),
            _ => assert_eq!(ours, ["builder-core"], "{krate}"),
        }
    }
}

#[test]
fn a_library_with_types_of_its_own_is_named_in_one_crate() {
    let all = dependencies();
    for (library, home) in [
        ("aws-sdk-ec2", "builder-amazon-ebs"),
        ("aws-config", "builder-amazon-ebs"),
        ("russh", "communicator-ssh"),
        ("clap", "gaia-cli"),
    ] {
        let users: Vec<_> = all.iter().filter(|(_, uses)| uses.iter().any(|d| d == library)).map(|(k, _)| k).collect();
        assert_eq!(users, [home], "{library}");
    }
}
