//! Every way to log in, at OpenSSH's own sshd.

use std::process::Stdio;
use std::sync::Arc;

use builder_core::BuildContext;
use serde_json::{Value, json};

use crate::support::sshd::Sshd;
use crate::support::{connect, connect_with_key, context, eventually, keygen, output, program, try_connect};

#[tokio::test]
async fn every_type_and_form_of_key_opens_the_door() {
    let sshd = Sshd::start().await;
    let rows: [(&str, &[&str]); 8] = [
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pkcs1", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("ecdsa-256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-384-sec1", &["-t", "ecdsa", "-b", "384", "-m", "PEM"]),
        ("ecdsa-521-pkcs8", &["-t", "ecdsa", "-b", "521", "-m", "PKCS8"]),
        ("ed25519", &["-t", "ed25519"]),
        ("ed25519-pkcs8", &[]),
    ];
    for (name, arguments) in rows {
        let path = sshd.path(name);
        if arguments.is_empty() {
            // What ssh-keygen does not write, OpenSSL does; the public half comes from our reader's twin, ssh-keygen.
            program("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &sshd.text_path(name)]).await;
            let der = program("openssl", &["pkey", "-in", &sshd.text_path(name), "-noout", "-text"]).await;
            std::fs::write(sshd.path(&format!("{name}.pub")), openssh_public(&der)).expect("a public key");
        } else {
            keygen(&path, arguments).await;
        }
        sshd.authorize(&sshd.path(&format!("{name}.pub")));
        let as_file = sshd.template(json!({"ssh_private_key_file": path}));
        assert_eq!(output(&*connect(&as_file).await, "echo in").await, "in\n", "{name}");
        let pem = std::fs::read_to_string(&path).expect("a key");
        let ssh = connect_with_key(&sshd.address(), pem).await.expect(name);
        assert_eq!(output(&*ssh, "echo in").await, "in\n", "{name}");
    }
}

/// The authorized_keys line of an ed25519 key that OpenSSL describes.
fn openssh_public(text: &str) -> String {
    let hex: String =
        text.split("pub:").nth(1).expect("a public key").chars().filter(char::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect();
    let key = russh::keys::ssh_key::public::Ed25519PublicKey::try_from(bytes.as_slice()).expect("32 bytes");
    format!("{}\n", russh::keys::PublicKey::from(key).to_openssh().expect("a line"))
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name() {
    let sshd = Sshd::start().await;
    keygen(&sshd.path("stranger"), &["-t", "ed25519"]).await;
    let (cx, _events) = context().await;
    let template = sshd.template(json!({"ssh_private_key_file": sshd.path("stranger")}));
    let error = try_connect(&cx, &template).await.expect_err("a stranger").to_string();
    let listed = program("ssh-keygen", &["-lf", &sshd.text_path("stranger.pub")]).await;
    let fingerprint = listed.split(' ').nth(1).expect("a fingerprint");
    assert!(
        error.contains(&format!("refused once: tried ssh-ed25519 key {fingerprint}; it takes publickey")),
        "{error}"
    );
    let error = connect_with_key(&sshd.address(), "not a key".into()).await.expect_err("no key").to_string();
    assert!(error.starts_with("the temporary key pair holds no private key that can be read"), "{error}");
}

#[tokio::test]
async fn certificates_of_an_authority_open_the_door() {
    let authority = tempfile::tempdir().expect("a directory");
    let ca = authority.path().join("ca");
    keygen(&ca, &["-t", "ed25519"]).await;
    let sshd = Sshd::start_with(&format!("TrustedUserCAKeys {}.pub\n", ca.display())).await;
    let user = program("id", &["-un"]).await;
    for kind in ["ed25519", "rsa", "ecdsa"] {
        keygen(&sshd.path(kind), &["-t", kind]).await;
        let public = sshd.text_path(&format!("{kind}.pub"));
        program("ssh-keygen", &["-q", "-s", &ca.display().to_string(), "-I", "test", "-n", user.trim(), &public]).await;
        let files = json!({"ssh_private_key_file": sshd.path(kind),
                           "ssh_certificate_file": sshd.path(&format!("{kind}-cert.pub"))});
        assert_eq!(output(&*connect(&sshd.template(files)).await, "echo in").await, "in\n", "{kind}");
    }
}

async fn connect_with_agent(cx: &mut BuildContext, template: &Value, socket: &str) -> Result<String, String> {
    cx.environment = Arc::new([("SSH_AUTH_SOCK".to_owned(), socket.to_owned())].into());
    let ssh = try_connect(cx, template).await.map_err(|e| e.to_string())?;
    Ok(output(&*ssh, "echo in").await)
}

#[tokio::test]
async fn the_agents_keys_are_tried_one_by_one() {
    let sshd = Sshd::start().await;
    let socket = sshd.text_path("agent");
    let mut agent = tokio::process::Command::new("ssh-agent")
        .args(["-D", "-a", &socket])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ssh-agent");
    assert!(eventually(|| sshd.path("agent").exists()).await);
    let mut template = sshd.address();
    template["ssh_agent_auth"] = true.into();
    let (mut cx, _events) = context().await;
    let error = connect_with_agent(&mut cx, &template, &socket).await.expect_err("no keys");
    assert!(error.contains("tried an agent without keys"), "{error}");

    keygen(&sshd.path("stranger"), &["-t", "ed25519"]).await;
    keygen(&sshd.path("rsa"), &["-t", "rsa", "-b", "2048"]).await;
    sshd.authorize(&sshd.path("rsa.pub"));
    for key in ["stranger", "rsa"] {
        let added = tokio::process::Command::new("ssh-add")
            .arg(sshd.path(key))
            .env("SSH_AUTH_SOCK", &socket)
            .stderr(Stdio::null())
            .status()
            .await
            .expect("ssh-add");
        assert!(added.success());
    }
    assert_eq!(connect_with_agent(&mut cx, &template, &socket).await.as_deref(), Ok("in\n"));

    agent.kill().await.expect("the agent ends");
    let error = connect_with_agent(&mut cx, &template, &socket).await.expect_err("no agent");
    assert!(error.contains(&format!("the agent at {socket} cannot be used")), "{error}");
}

#[tokio::test]
async fn a_bastion_is_gone_through() {
    let bastion = Sshd::start().await;
    let sshd = Sshd::start().await;
    let template = sshd.template(json!({
        "ssh_bastion_host": "127.0.0.1", "ssh_bastion_port": bastion.port, "ssh_bastion_private_key_file": bastion.key(),
    }));
    let ssh = connect(&template).await;
    assert_eq!(output(&*ssh, "echo $SSH_CONNECTION | cut -d' ' -f4").await, format!("{}\n", sshd.port));
    assert!(std::fs::read_to_string(bastion.path("log")).expect("a log").contains("Accepted publickey"));

    let mut closed = template.clone();
    closed["ssh_port"] = 1.into();
    closed["ssh_timeout"] = "500ms".into();
    let (cx, _events) = context().await;
    let error = try_connect(&cx, &closed).await.expect_err("nobody is there").to_string();
    assert!(
        error.contains("cannot reach it: connect failed") || error.contains("cannot reach it: Connection refused"),
        "{error}"
    );

    let mut stranger = template;
    stranger["ssh_bastion_private_key_file"] = sshd.key().display().to_string().into();
    let error = try_connect(&cx, &stranger).await.expect_err("a stranger").to_string();
    assert!(
        error.contains(&format!("at the bastion {}@127.0.0.1:{}", template_user(&stranger), bastion.port)),
        "{error}"
    );
}

fn template_user(template: &Value) -> &str {
    template["ssh_username"].as_str().expect("a user")
}

#[tokio::test]
async fn chosen_algorithms_are_used() {
    let sshd = Sshd::start_with("Ciphers aes128-ctr\nKexAlgorithms diffie-hellman-group14-sha256\n").await;
    let rows = [
        (
            json!({"ssh_ciphers": ["aes128-ctr"], "ssh_key_exchange_algorithms": ["diffie-hellman-group14-sha256"]}),
            None,
        ),
        (
            json!({"ssh_ciphers": ["aes256-ctr"]}),
            Some("no Cipher algorithm in common: here aes256-ctr; there aes128-ctr"),
        ),
        (json!({"ssh_key_exchange_algorithms": ["curve25519-sha256"]}), Some("no Kex algorithm in common")),
    ];
    for (more, expected) in rows {
        let mut template = sshd.template(more.clone());
        template["ssh_timeout"] = "700ms".into();
        let (cx, _events) = context().await;
        match (try_connect(&cx, &template).await, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (result, expected) => panic!("{more}: {result:?}, not {expected:?}"),
        }
    }
}
