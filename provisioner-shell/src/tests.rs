//! What the provisioner says, runs and leaves on a machine, option by option.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use builder_core::decode::decode_json;
use builder_core::event::EventStream;
use builder_core::render::{Field, RenderError};
use builder_core::testing::{MockCommunicator, Reply, context_with, said};
use builder_core::{
    BuildContext, BuildError, ExitStatus, PrepareContext, Provisioner as _, ProvisionerPlugin as _, RenderData,
    Renderer, Stage,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Shell;

/// `{{.Field}}` and `` {{build `Key`}} ``, with or without spaces; anything else is an error.
#[derive(Debug)]
struct Fields;

impl Renderer for Fields {
    fn render(&self, template: &str, data: &RenderData) -> Result<String, RenderError> {
        let mut rendered = String::new();
        let mut rest = template;
        while let Some((before, tail)) = rest.split_once("{{") {
            let (inside, after) = tail.split_once("}}").unwrap_or((tail, ""));
            let inside = inside.trim();
            let value = match (inside.strip_prefix('.'), inside.strip_prefix("build ")) {
                (Some(name), _) => match data.fields.get(name) {
                    Some(Field::Text(text)) => Some(text),
                    _ => None,
                },
                (_, Some(key)) => data.build.get(key.trim_matches('`')),
                _ => None,
            };
            let unknown = || RenderError { message: format!("nothing is called {inside}"), offset: None };
            rendered += before;
            rendered += value.ok_or_else(unknown)?;
            rest = after;
        }
        Ok(rendered + rest)
    }

    fn check(&self, _template: &str) -> Result<(), RenderError> {
        Ok(())
    }
}

/// A provisioner, the machine it works on and the build it works for.
struct Rig {
    shell: Shell,
    machine: MockCommunicator,
    cx: BuildContext,
    events: EventStream,
}

impl Rig {
    async fn new(config: Value) -> Self {
        let (cx, events) = context_with(Arc::new(Fields)).await;
        Self { shell: prepare(&config).unwrap(), machine: MockCommunicator::default(), cx, events }
    }

    async fn run(&self) -> Result<(), BuildError> {
        self.shell.provision(&self.cx, &self.machine.machine()).await
    }

    async fn error(&self) -> String {
        self.run().await.unwrap_err().to_string()
    }
}

fn prepare(config: &Value) -> Result<Shell, Vec<(String, String)>> {
    let config = decode_json(config).map_err(|e| vec![(String::new(), e.to_string())])?;
    let cx = PrepareContext { build_name: "test", build_type: "test", force: false };
    Shell::prepare(config, cx).map_err(|problems| problems.0.into_iter().map(|p| (p.path, p.message)).collect())
}

/// With `more` keys, a config that names its place on the machine, so that commands can be compared.
fn config(more: Value) -> Value {
    let mut config = json!({"inline": ["true"], "remote_path": "/tmp/x.sh"});
    let object = config.as_object_mut().unwrap();
    object.extend(serde_json::from_value::<BTreeMap<String, Value>>(more).unwrap());
    config
}

fn reply(status: Result<ExitStatus, &str>) -> Reply {
    Reply { status: status.map_err(str::to_owned), ..Reply::default() }
}

const VARS: &str = "PACKER_BUILDER_TYPE='test' PACKER_BUILD_NAME='test' ";

#[test]
fn a_wrong_config_is_refused_in_packers_words() {
    let one = |path: &str, message: &str| vec![(path.to_owned(), message.to_owned())];
    let format = |text: &str| {
        format!("env_var_format must hold %s twice, for name and value (and %% for a percent sign), found \"{text}\"")
    };
    let rows = [
        (json!({}), one("", "Either a script file or inline script must be specified.")),
        (json!({"inline": []}), one("", "Either a script file or inline script must be specified.")),
        (
            json!({"inline": ["true"], "script": "x"}),
            one("inline", "Only a script file or an inline script can be specified, not both."),
        ),
        (
            json!({"inline": "true", "scripts": ["x"]}),
            one("inline", "Only a script file or an inline script can be specified, not both."),
        ),
        (json!({"script": "x", "scripts": ["y"]}), one("scripts", "Only one of script or scripts can be specified.")),
        (
            config(json!({"environment_vars": ["A=1", "=2", "B"]})),
            vec![
                ("environment_vars[1]".into(), "Environment variable not in format 'key=value': =2".into()),
                ("environment_vars[2]".into(), "Environment variable not in format 'key=value': B".into()),
            ],
        ),
        (config(json!({"env": {"": "x"}})), one("env", "an environment variable cannot be called \"\"")),
        (config(json!({"env": {"A=B": "x"}})), one("env", "an environment variable cannot be called \"A=B\"")),
        (config(json!({"env_var_format": "%s"})), one("env_var_format", &format("%s"))),
        (
            config(json!({"start_retry_timeout": "-1s"})),
            one("start_retry_timeout", "start_retry_timeout cannot be negative, as -1s is"),
        ),
        (config(json!({"pause_after": "-1m"})), one("pause_after", "pause_after cannot be negative, as -1m0s is")),
        (config(json!({"inlin": 1})), one("", "error: config: unknown configuration key `inlin`")),
    ];
    for (json, expected) in rows {
        assert_eq!(prepare(&json).unwrap_err(), expected, "{json}");
    }
    for good in
        [config(json!({"environment_vars": ["{{.Later}}"]})), json!({"scripts": "a,b"}), json!({"script": "none"})]
    {
        assert!(prepare(&good).is_ok(), "{good}");
    }
}

#[tokio::test]
async fn an_option_changes_the_commands_and_the_script() {
    let rm = "rm -f /tmp/x.sh".to_owned();
    let run = |vars: &str| format!("chmod +x /tmp/x.sh; {vars} /tmp/x.sh");
    let script = "#!/bin/sh -e\ntrue\n";
    let more_vars = "A='a=b' B='it'\"'\"'s' C='env' ID='i-mock' PACKER_BUILDER_TYPE='test' PACKER_BUILD_NAME='mine' ";
    let rows = [
        (json!({}), vec![run(VARS), rm.clone()], script),
        (json!({"inline": ["a", "b {{build `ID`}}"]}), vec![run(VARS), rm.clone()], "#!/bin/sh -e\na\nb i-mock\n"),
        (json!({"inline": ["#!/bin/bash", "a"]}), vec![run(VARS), rm.clone()], "#!/bin/bash\na\n"),
        (
            json!({"inline": ["#!/bin/bash", "a"], "inline_shebang": "/bin/zsh"}),
            vec![run(VARS), rm.clone()],
            "#!/bin/zsh\n#!/bin/bash\na\n",
        ),
        (json!({"inline_shebang": "/bin/dash"}), vec![run(VARS), rm.clone()], "#!/bin/dash\ntrue\n"),
        (json!({"inline": ["a\r\nb"]}), vec![run(VARS), rm.clone()], "#!/bin/sh -e\na\nb\n"),
        (json!({"inline": ["a\r\nb"], "binary": true}), vec![run(VARS), rm.clone()], "#!/bin/sh -e\na\r\nb\n"),
        (
            json!({
                "environment_vars": ["B=it's", "A=a=b", "C=list", "PACKER_BUILD_NAME=mine", "ID={{ build `ID` }}"],
                "env": {"C": "env"},
            }),
            vec![run(more_vars), rm.clone()],
            script,
        ),
        (
            json!({"env_var_format": "%s=%s; "}),
            vec![run("PACKER_BUILDER_TYPE=test; PACKER_BUILD_NAME=test; "), rm.clone()],
            script,
        ),
        (
            json!({"execute_command": "sudo -S sh '{{ .Path }}'"}),
            vec!["sudo -S sh '/tmp/x.sh'".into(), rm.clone()],
            script,
        ),
        (
            json!({"execute_command": "echo {{build `User`}} | {{.Vars}} sudo -E -S {{.Path}}{{.EnvVarFile}}"}),
            vec![format!("echo core | {VARS} sudo -E -S /tmp/x.sh"), rm.clone()],
            script,
        ),
        // What a variable holds is rendered too.
        (
            json!({"execute_command": "{{.Vars}} sh", "env": {"A": "{{.Host}}"}, "env_var_format": "%s=%s "}),
            vec!["A=mock.test PACKER_BUILDER_TYPE=test PACKER_BUILD_NAME=test  sh".into(), rm.clone()],
            script,
        ),
        (json!({"skip_clean": true}), vec![run(VARS)], script),
        (json!({"valid_exit_codes": "0,3"}), vec![run(VARS), rm.clone()], script),
    ];
    for (more, commands, text) in rows {
        let rig = Rig::new(config(more.clone())).await;
        rig.run().await.unwrap();
        assert_eq!(rig.machine.commands(), commands, "{more}");
        assert_eq!(rig.machine.file("/tmp/x.sh").unwrap(), (text.to_owned(), 0o755), "{more}");
    }
}

#[tokio::test]
async fn the_place_on_the_machine_comes_from_three_options() {
    let rows = [
        (json!({"remote_folder": "/var/tmp", "remote_file": "a.sh"}), "rm -f /var/tmp/a.sh"),
        (json!({"remote_file": "a b.sh"}), "rm -f '/tmp/a b.sh'"),
        (json!({"remote_folder": "/var/tmp", "remote_file": "a.sh", "remote_path": "/p.sh"}), "rm -f /p.sh"),
    ];
    for (mut json, rm) in rows {
        json["inline"] = json!("true");
        let rig = Rig::new(json.clone()).await;
        rig.run().await.unwrap();
        assert_eq!(rig.machine.commands()[1], rm, "{json}");
    }

    let rig = Rig::new(json!({"inline": "true"})).await;
    rig.run().await.unwrap();
    rig.run().await.unwrap();
    let commands = rig.machine.commands();
    let number = commands[1].strip_prefix("rm -f /tmp/script_").and_then(|rest| rest.strip_suffix(".sh")).unwrap();
    assert!(number.parse::<u16>().unwrap() < 9999, "{commands:?}");
    assert_eq!(commands[..2], commands[2..], "a retry takes the same name");
}

#[tokio::test]
async fn variables_can_go_in_a_file() {
    let rig = Rig::new(config(json!({"use_env_var_file": true, "env": {"A": "it's"}}))).await;
    rig.run().await.unwrap();
    let commands = rig.machine.commands();
    let file = commands[1].strip_prefix("rm -f /tmp/x.sh ").unwrap();
    assert!(file.starts_with("/tmp/varfile_"), "{file}");
    assert_eq!(commands, [format!("chmod +x /tmp/x.sh; . {file} && /tmp/x.sh"), format!("rm -f /tmp/x.sh {file}")]);
    let text = "export A='it'\"'\"'s'\nexport PACKER_BUILDER_TYPE='test'\nexport PACKER_BUILD_NAME='test'\n";
    assert_eq!(rig.machine.file(file).unwrap(), (text.to_owned(), 0o600));
}

#[tokio::test]
async fn an_http_server_is_made_known() {
    let rig = Rig::new(config(json!({}))).await;
    let mut machine = rig.machine.machine();
    machine.build_vars.insert("PackerHTTPIP".to_owned(), "10.0.0.1".to_owned());
    rig.shell.provision(&rig.cx, &machine).await.unwrap();
    assert_eq!(rig.machine.commands()[0], format!("chmod +x /tmp/x.sh; {VARS}PACKER_HTTP_IP='10.0.0.1'  /tmp/x.sh"));
}

#[tokio::test]
async fn files_run_in_order_and_are_shown_by_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one.sh", "two.sh"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&one, "echo {{.Path}}\r\n").unwrap();
    std::fs::write(&two, "two").unwrap();
    let mut rig =
        Rig::new(config(json!({"inline": [], "scripts": [one, two], "execute_command": "sh {{.Path}}"}))).await;
    rig.machine.reply("sh /tmp/x.sh", Reply { stdout: "out\r\n".into(), stderr: "err\n".into(), ..Reply::default() });
    rig.machine.reply("sh /tmp/x.sh", Reply::default());
    rig.shell.preflight().await.unwrap();
    rig.run().await.unwrap();
    let shown = [
        format!("==> Provisioning with shell script: {one}"),
        "out: out".into(),
        "err: err".into(),
        format!("==> Provisioning with shell script: {two}"),
    ];
    assert_eq!(said(&mut rig.events), shown);
    assert_eq!(rig.machine.commands(), ["sh /tmp/x.sh", "rm -f /tmp/x.sh", "sh /tmp/x.sh", "rm -f /tmp/x.sh"]);
    assert_eq!(rig.machine.file("/tmp/x.sh").unwrap().0, "two");

    for (binary, text) in [(false, "echo {{.Path}}\n"), (true, "echo {{.Path}}\r\n")] {
        let rig = Rig::new(config(json!({"inline": [], "script": one, "binary": binary}))).await;
        rig.run().await.unwrap();
        assert_eq!(rig.machine.file("/tmp/x.sh").unwrap().0, text, "files are not templates");
    }

    std::fs::remove_file(&one).unwrap();
    let rig = Rig::new(config(json!({"inline": [], "script": one}))).await;
    assert_eq!(rig.error().await, format!("Bad script '{one}': stat {one}: no such file or directory"));
    assert!(rig.machine.commands().is_empty());
}

#[tokio::test]
async fn an_inline_script_has_a_path_to_show() {
    let mut rig = Rig::new(config(json!({}))).await;
    rig.run().await.unwrap();
    let shown = said(&mut rig.events);
    let path = shown[0].strip_prefix("==> Provisioning with shell script: ").unwrap();
    assert!(path.strip_prefix("/tmp/packer-shell").unwrap().parse::<u64>().is_ok(), "{path}");
    assert!(!std::path::Path::new(path).exists());
    assert_eq!(shown.len(), 1);
}

#[tokio::test]
async fn a_template_that_fails_changes_nothing_on_the_machine() {
    let rows = [
        (json!({"inline": ["{{.Nope}}"]}), "nothing is called .Nope"),
        (json!({"environment_vars": ["A={{.Nope}}"]}), "nothing is called .Nope"),
        (json!({"environment_vars": ["{{.Host}}"]}), "Environment variable not in format 'key=value': mock.test"),
        (json!({"execute_command": "{{.Nope}}"}), "nothing is called .Nope"),
        (json!({"execute_command": "{{.Vars}}", "env": {"A": "{{"}}), "nothing is called "),
    ];
    for (more, expected) in rows {
        let rig = Rig::new(config(more.clone())).await;
        assert_eq!(rig.error().await, expected, "{more}");
        assert!(rig.machine.commands().is_empty() && rig.machine.file("/tmp/x.sh").is_none(), "{more}");
    }

    // A value that holds itself.
    let rig = Rig::new(config(json!({"inline": ["{{.Loop}}"]}))).await;
    let mut machine = rig.machine.machine();
    machine.build_vars.insert("Loop".to_owned(), "x{{.Loop}}".to_owned());
    let error = rig.shell.provision(&rig.cx, &machine).await.unwrap_err().to_string();
    assert_eq!(error, "the template still changes after 10 passes: it seems to hold itself");
}

#[tokio::test(start_paused = true)]
async fn a_script_that_fails_is_removed_all_the_same() {
    let mut rig = Rig::new(config(json!({"execute_command": "run"}))).await;
    rig.machine.reply("run", Reply::code(3));
    assert_eq!(rig.error().await, "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]");
    assert_eq!(rig.machine.commands(), ["run", "rm -f /tmp/x.sh"]);
    assert_eq!(said(&mut rig.events).len(), 1, "the removal went well and is not spoken of");

    // The machine does not answer any more: said, after a short while.
    let mut rig = Rig::new(config(json!({"execute_command": "run"}))).await;
    rig.machine.reply("run", Reply::code(3));
    rig.machine.reply("rm", Reply { delay: Duration::from_hours(1), ..Reply::default() });
    let started = Instant::now();
    assert_eq!(rig.error().await, "Script exited with non-zero exit status: 3. Allowed exit codes are: [0]");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(said(&mut rig.events)[1], "warning: the script may still be on the machine, at /tmp/x.sh");

    let rig = Rig::new(config(json!({"execute_command": "run", "skip_clean": true}))).await;
    rig.machine.reply("run", Reply::code(3));
    rig.error().await;
    assert_eq!(rig.machine.commands(), ["run"]);
}

#[tokio::test(start_paused = true)]
async fn upload_and_start_are_tried_until_they_work() {
    // Uploads that fail, then starts that fail; the script itself may take as long as it likes.
    let rig = Rig::new(config(json!({"execute_command": "run"}))).await;
    rig.machine.fail_uploads(2);
    rig.machine.reply("run", reply(Err("connection lost")));
    rig.machine.reply("run", Reply { delay: Duration::from_hours(2), ..Reply::default() });
    let started = Instant::now();
    rig.run().await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(2 * 60 * 60 + 6));
    assert_eq!(rig.machine.commands(), ["run", "run", "rm -f /tmp/x.sh"]);
    assert_eq!(rig.machine.reconnects(), 3);

    let rig = Rig::new(config(json!({"execute_command": "run", "start_retry_timeout": "9s"}))).await;
    rig.machine.reply("run", reply(Err("connection lost")));
    let started = Instant::now();
    let error = rig.error().await;
    let (name, why) = error.strip_prefix("cannot start the script ").unwrap().split_once(": ").unwrap();
    assert!(name.starts_with("/tmp/packer-shell"));
    assert_eq!(why, "connection lost (tried for 8s; raise `start_retry_timeout` if the machine needs longer)");
    assert_eq!(started.elapsed(), Duration::from_secs(8));
    assert_eq!(rig.machine.commands(), ["run", "run", "run", "run", "run", "rm -f /tmp/x.sh"]);
}

#[tokio::test(start_paused = true)]
async fn a_script_may_restart_the_machine_if_it_says_so() {
    let expected = json!({"expect_disconnect": true, "execute_command": "run"});
    for more in [&expected, &json!({"valid_exit_codes": [0, 2_300_218], "execute_command": "run"})] {
        let rig = Rig::new(config(more.clone())).await;
        rig.machine.reply("run", reply(Ok(ExitStatus::Missing)));
        for _ in 0..10 {
            rig.machine.reply("rm", reply(Err("connection refused")));
        }
        rig.machine.reply("rm", reply(Ok(ExitStatus::Missing)));
        rig.machine.reply("rm", Reply::default());
        let started = Instant::now();
        rig.run().await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(22), "{more}");
        assert_eq!(rig.machine.reconnects(), 12, "before the first rm, and after each that failed");
    }

    // A machine that does not come back, or hangs, is given up.
    for rm in [reply(Err("connection refused")), Reply { delay: Duration::from_hours(1), ..Reply::default() }] {
        let rig = Rig::new(config(expected.clone())).await;
        rig.machine.reply("run", reply(Ok(ExitStatus::Missing)));
        rig.machine.reply("rm", rm);
        let started = Instant::now();
        let error = rig.error().await;
        assert!(error.starts_with("Error removing temporary script at /tmp/x.sh: "), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5 * 60 + 30 + 5), "{:?}", started.elapsed());
    }

    // Nothing more is asked of the machine: it may have been shut down.
    let rig = Rig::new(config(json!({"expect_disconnect": true, "skip_clean": true, "execute_command": "run"}))).await;
    rig.machine.reply("run", reply(Ok(ExitStatus::Missing)));
    rig.run().await.unwrap();
    assert_eq!((rig.machine.commands(), rig.machine.reconnects()), (vec!["run".to_owned()], 0));

    let rig = Rig::new(config(json!({"execute_command": "run"}))).await;
    rig.machine.reply("run", reply(Ok(ExitStatus::Missing)));
    assert!(rig.error().await.starts_with("Script disconnected unexpectedly."));
}

#[tokio::test]
async fn a_script_that_cannot_be_removed_is_an_error() {
    let rows = [
        (Reply { stderr: "rm: not permitted\r\n".into(), ..Reply::code(1) }, "rm: not permitted"),
        (Reply::code(1), "exit status 1"),
    ];
    for (reply, why) in rows {
        let rig = Rig::new(config(json!({"execute_command": "run"}))).await;
        rig.machine.reply("rm", reply);
        let expected =
            format!("Error removing temporary script at /tmp/x.sh: {why}; set \"skip_clean\": true to leave it there");
        assert_eq!(rig.error().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn it_pauses_at_the_end() {
    let mut rig = Rig::new(config(json!({"pause_after": "90s"}))).await;
    let started = Instant::now();
    rig.run().await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(90));
    assert_eq!(said(&mut rig.events)[1..], ["==> Pausing 1m30s after this provisioner..."]);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_ends_every_wait_and_removes_the_script() {
    let hour = || Reply { delay: Duration::from_hours(1), ..Reply::default() };
    let rows = [
        ("while the script runs", json!({}), ("run", hour()), vec!["run", "rm -f /tmp/x.sh"]),
        (
            "while it waits to try again",
            json!({}),
            ("run", reply(Err("refused"))),
            vec!["run", "run", "run", "rm -f /tmp/x.sh"],
        ),
        ("while it pauses", json!({"pause_after": "1h"}), ("none", hour()), vec!["run", "rm -f /tmp/x.sh"]),
    ];
    for (when, more, (command, answer), commands) in rows {
        let mut config = config(more);
        config["execute_command"] = json!("run");
        let rig = Rig::new(config).await;
        rig.machine.reply(command, answer);
        let started = Instant::now();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            rig.cx.cancel.raise(Stage::Cancelled);
        };
        let (ended, ()) = tokio::join!(rig.run(), cancel);
        assert!(ended.unwrap_err().is_cancelled(), "{when}");
        assert_eq!(started.elapsed(), Duration::from_secs(5), "{when}");
        assert_eq!(rig.machine.commands(), commands, "{when}");
    }

    // Hurried, nobody waits for the removal.
    let rig = Rig::new(config(json!({"execute_command": "run"}))).await;
    rig.machine.reply("r", hour());
    let started = Instant::now();
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.cx.cancel.raise(Stage::Cancelled);
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.cx.cancel.raise(Stage::Hurried);
    };
    let (ended, ()) = tokio::join!(rig.run(), cancel);
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[test]
fn it_is_registered_with_its_keys() {
    let registry = builder_core::Registry::linked().unwrap();
    let about = registry.provisioners["shell"].about;
    let schema = (about.schema)();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap();
    assert_eq!((about.fields)().len(), properties.len());
    for key in ["inline", "env", "execute_command", "start_retry_timeout"] {
        assert!(properties.contains_key(key), "{key}");
    }
}
