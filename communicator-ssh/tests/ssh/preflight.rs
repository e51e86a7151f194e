//! Files that a config names are looked at before anything is created.

use builder_core::{Authentication, Connector as _};
use serde_json::json;

use crate::support::{connector, keygen, program};

#[tokio::test]
async fn key_files_are_read_and_judged() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    keygen(&dir.path().join("good"), &["-t", "ed25519"]).await;
    keygen(&dir.path().join("ca"), &["-t", "ed25519"]).await;
    keygen(&dir.path().join("other"), &["-t", "ed25519"]).await;
    program("ssh-keygen", &["-q", "-s", &path("ca"), "-I", "x", &path("other.pub")]).await;
    program("ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret", "-f", &path("locked")]).await;
    program("ssh-keygen", &["-q", "-t", "rsa", "-m", "PEM", "-N", "secret", "-f", &path("locked.pem")]).await;
    program("ssh-keygen", &["-q", "-t", "ecdsa", "-m", "PKCS8", "-N", "secret", "-f", &path("locked.p8")]).await;
    std::fs::write(path("garbage"), "hello").expect("a file");
    std::fs::write(path("huge"), vec![b'x'; 100_000]).expect("a file");

    let locked = |name: &str| {
        format!(
            "Failed to read key '{}': password protected keys are not supported. Please decrypt the key prior to use.",
            path(name)
        )
    };
    let rows = [
        ("good", None, None),
        ("missing", None, Some(format!("ssh_private_key_file is invalid: {}: No such file", path("missing")))),
        ("garbage", None, Some(format!("ssh_private_key_file is invalid: {}: no private key", path("garbage")))),
        ("good.pub", None, Some(format!("ssh_private_key_file is invalid: {}: no private key", path("good.pub")))),
        ("huge", None, Some("larger than 65536 bytes".to_owned())),
        ("locked", None, Some(locked("locked"))),
        ("locked.pem", None, Some(locked("locked.pem"))),
        ("locked.p8", None, Some(locked("locked.p8"))),
        ("other", Some("other-cert.pub"), None),
        ("good", Some("other-cert.pub"), Some("it was made for another key".to_owned())),
        ("good", Some("good.pub"), Some("not an OpenSSH certificate".to_owned())),
        ("good", Some("missing"), Some("ssh_certificate_file is invalid".to_owned())),
    ];
    for (key, certificate, expected) in rows {
        let mut template = json!({"ssh_username": "core", "ssh_private_key_file": path(key)});
        if let Some(certificate) = certificate {
            template["ssh_certificate_file"] = path(certificate).into();
        }
        let result = connector(&template).preflight().await;
        match expected {
            None => assert_eq!(result, Ok(()), "{key}"),
            Some(text) => {
                let problems = result.expect_err(key);
                assert_eq!(problems.0.len(), 1);
                assert!(problems.0[0].message.contains(&text), "{key}: {problems:?}");
                let field = if certificate.is_some() { "ssh_certificate_file" } else { "ssh_private_key_file" };
                assert_eq!(problems.0[0].path, field);
            }
        }
    }
}

#[tokio::test]
async fn the_bastions_own_key_is_judged_too() {
    let template = json!({"ssh_username": "core", "ssh_password": "x", "ssh_bastion_host": "b",
                          "ssh_bastion_private_key_file": "/missing"});
    let problems = connector(&template).preflight().await.expect_err("no key");
    assert_eq!(problems.0[0].path, "ssh_bastion_private_key_file");
}

#[test]
fn a_connector_tells_builders_what_they_ask() {
    let rows = [
        (json!({}), Authentication::NeedsKeyPair),
        (json!({"ssh_password": "x"}), Authentication::Given),
        (json!({"ssh_agent_auth": true, "ssh_password": "x"}), Authentication::Agent),
        (json!({"ssh_private_key_file": "/k", "ssh_password": "x"}), Authentication::KeyFile),
    ];
    for (mut template, expected) in rows {
        template["ssh_username"] = "core".into();
        template["ssh_host"] = "h".into();
        let connector = connector(&template);
        assert_eq!(connector.authentication(), expected, "{template}");
        assert_eq!((connector.kind(), connector.port()), ("ssh", Some(22)));
        assert_eq!((connector.host(), connector.username()), (Some("h"), Some("core")));
    }
}

#[test]
fn it_is_registered_as_ssh() {
    let registry = builder_core::Registry::linked().expect("no duplicates");
    let entry = registry.communicators.get("ssh").expect("registered");
    assert!((entry.about.fields)().contains(&"ssh_username"));
    let schema = serde_json::to_string(&(entry.about.schema)()).expect("JSON");
    assert!(schema.contains("ssh_bastion_password"));
}
