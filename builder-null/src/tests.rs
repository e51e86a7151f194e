use builder_core::decode::decode_json;
use builder_core::engine::{Outcome, Placed, PlannedBuild, PlannedProvisioner};
use builder_core::ledger::{EntryState, LedgerStore as _, Lifetime, Resource};
use builder_core::node::Node;
use builder_core::render::Verbatim;
use builder_core::testing::{
    MemoryStore, MockCommunicator, MockProvisioner, MockProvisionerConfig, Reply, context, run, said,
};
use builder_core::{Communicator, Deferred, GoDuration, ProvisionerPlugin as _, Stage};
use serde_json::json;

use super::*;

/// A network connector to a mock machine, with what the user gave.
#[derive(Clone, Debug)]
struct Given {
    machine: MockCommunicator,
    host: Option<&'static str>,
    username: Option<&'static str>,
    authentication: Authentication,
    port: Option<u16>,
}

fn given() -> Given {
    Given {
        machine: MockCommunicator::default(),
        host: Some("10.0.0.7"),
        username: Some("core"),
        authentication: Authentication::Given,
        port: Some(2222),
    }
}

#[async_trait]
impl Connector for Given {
    fn kind(&self) -> &'static str {
        "ssh"
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn host(&self) -> Option<&str> {
        self.host
    }

    fn username(&self) -> Option<&str> {
        self.username
    }

    fn authentication(&self) -> Authentication {
        self.authentication
    }

    async fn connect(&self, cx: &BuildContext, target: Target<'_>) -> Result<Arc<dyn Communicator>, BuildError> {
        let address = target.address.address().await?.unwrap_or_default();
        cx.events.say(format!("Using SSH communicator to connect: {address}"));
        cx.cancel.sleep(Duration::from_secs(1)).await?;
        if address == "refused" {
            return Err(BuildError::failed("connection refused"));
        }
        Ok(Arc::new(self.machine.clone()))
    }
}

fn prepare(connector: Given) -> Result<Null, Problems> {
    let cx = PrepareContext { build_name: "null", build_type: "null", force: false };
    Null::prepare(decode_json(&json!({})).unwrap(), Arc::new(connector), cx)
}

fn provisioner(config: MockProvisionerConfig) -> PlannedProvisioner {
    let cx = PrepareContext { build_name: "null", build_type: "null", force: false };
    let it: Box<dyn builder_core::Provisioner> = Box::new(MockProvisioner::prepare(config, cx).unwrap());
    PlannedProvisioner {
        kind: "mock".to_owned(),
        provisioner: Placed { component: "provisioner `mock`".to_owned(), node: Node::from(&json!({})), it },
        pause_before: None,
        timeout: None,
        max_retries: 0,
    }
}

fn command(text: &str) -> PlannedProvisioner {
    provisioner(MockProvisionerConfig { command: Deferred::new(text), ..MockProvisionerConfig::default() })
}

fn build(connector: &Given, provisioners: Vec<PlannedProvisioner>) -> PlannedBuild {
    let it: Box<dyn Builder> = Box::new(prepare(connector.clone()).unwrap());
    PlannedBuild {
        name: "null".to_owned(),
        build_type: "null".to_owned(),
        builder: Placed { component: "builder `null`".to_owned(), node: Node::from(&json!({})), it },
        connector: Arc::new(connector.clone()),
        provisioners,
        error_cleanup: None,
        post_processors: Vec::new(),
        renderer: Arc::new(Verbatim),
        secrets: Vec::new(),
    }
}

/// Runs a build, cancelled after a time if there is one; gives its outcome and what was said.
async fn outcome(store: &MemoryStore, build: PlannedBuild, cancel_after: Option<Duration>) -> (Outcome, Vec<String>) {
    let (run, mut events) = run(store);
    let cancel = run.cancel.clone();
    let cancelling = async {
        if let Some(after) = cancel_after {
            tokio::time::sleep(after).await;
            cancel.raise(Stage::Cancelled);
        }
    };
    let (mut outcomes, ()) = tokio::join!(run.run(vec![build]), cancelling);
    (outcomes.remove(0), said(&mut events))
}

#[test]
fn host_user_and_login_must_be_given_for_a_network() {
    let must = |what: &str| format!("{what} must be specified, please reference your communicator documentation");
    let rows = [
        (given(), vec![]),
        (Given { host: None, ..given() }, vec![(must("a Host"), "give ssh_host")]),
        (Given { username: None, ..given() }, vec![(must("a Username"), "give ssh_username")]),
        (
            Given { authentication: Authentication::NeedsKeyPair, host: None, ..given() },
            vec![
                (must("a Host"), "give ssh_host"),
                (must("one authentication method"), "give ssh_password, ssh_private_key_file or ssh_agent_auth"),
            ],
        ),
        (Given { authentication: Authentication::Agent, ..given() }, vec![]),
        (Given { authentication: Authentication::KeyFile, ..given() }, vec![]),
        // The communicator `none`.
        (Given { port: None, host: None, username: None, authentication: Authentication::None, ..given() }, vec![]),
    ];
    for (connector, expected) in rows {
        let shown = format!("{connector:?}");
        let problems = prepare(connector).err().unwrap_or_default().0;
        let found: Vec<_> = problems.into_iter().map(|p| (p.message, p.help.unwrap())).collect();
        assert_eq!(found, expected.into_iter().map(|(m, h)| (m, h.to_owned())).collect::<Vec<_>>(), "{shown}");
    }
}

#[test]
fn it_has_no_keys_of_its_own() {
    assert!(decode_json::<Config>(&json!({"type": "null"})).is_ok());
    assert!(decode_json::<Config>(&json!({"ami_name": "x"})).is_err());
    assert!(builder_core::decode::field_names::<Config>().is_empty());
}

/// Keeps the build variables of the machine that it is given.
#[derive(Debug, Default)]
struct Keeps(std::sync::Mutex<BTreeMap<String, String>>);

#[async_trait]
impl Provision for Keeps {
    async fn provision(&self, _cx: &BuildContext, machine: &Machine) -> Result<(), BuildError> {
        self.0.lock().unwrap().clone_from(&machine.build_vars);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_machine_tells_what_it_is() {
    let (cx, _events) = context().await;
    let build_id = cx.build_id.to_string();
    let none = Given { port: None, host: None, username: None, ..given() };
    for (connector, host, port, user) in [(given(), "10.0.0.7", "2222", "core"), (none, "", "", "")] {
        let kept = Keeps::default();
        prepare(connector).unwrap().run(&cx, &kept).await.unwrap();
        let expected = [
            ("ConnType", "ssh"),
            ("Host", host),
            ("ID", "Null"),
            ("PackerRunUUID", build_id.as_str()),
            ("Port", port),
            ("User", user),
        ];
        let vars = kept.0.lock().unwrap();
        assert_eq!(vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn it_connects_provisions_and_hands_back_nothing_much() {
    let (store, connector) = (MemoryStore::default(), given());
    let (ended, said) = outcome(&store, build(&connector, vec![command("one"), command("two")]), None).await;
    assert_eq!(ended.error, None);
    let artifact = &ended.artifacts[0];
    assert_eq!(
        (artifact.builder_id.as_str(), artifact.id.as_str(), artifact.text.as_str(), artifact.files.as_slice()),
        ("fnoeding.null", "Null", "Did not export anything. This is the null builder", [].as_slice())
    );
    assert_eq!(connector.machine.commands(), ["one", "two"]);
    assert_eq!(said, ["==> Using SSH communicator to connect: 10.0.0.7"]);
    assert_eq!(store.list().unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_the_build_and_leaves_the_connection_for_the_error_cleanup() {
    let (store, connector) = (MemoryStore::default(), given());
    connector.machine.reply("one", Reply::code(3));
    let mut failing = build(&connector, vec![command("one"), command("two")]);
    failing.error_cleanup = Some(command("clean up"));
    let (ended, _) = outcome(&store, failing, None).await;
    assert_eq!(ended.error.as_deref(), Some("`one` ended with exit status 3"));
    assert!(ended.artifacts.is_empty() && ended.left_behind.is_empty());
    assert_eq!(connector.machine.commands(), ["one", "clean up"]);

    let refused = Given { host: Some("refused"), ..given() };
    let (ended, _) = outcome(&store, build(&refused, vec![command("one")]), None).await;
    assert_eq!(ended.error.as_deref(), Some("connection refused"));
    assert!(refused.machine.commands().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_build_says_so() {
    let waits =
        || provisioner(MockProvisionerConfig { delay: GoDuration::from_secs(60), ..MockProvisionerConfig::default() });
    for (when, after) in [("connecting", 500), ("provisioning", 1500)] {
        let (store, connector) = (MemoryStore::default(), given());
        let started = tokio::time::Instant::now();
        let after = Duration::from_millis(after);
        let (ended, _) = outcome(&store, build(&connector, vec![waits()]), Some(after)).await;
        assert!(ended.cancelled && ended.artifacts.is_empty(), "{when}");
        assert_eq!(ended.error.as_deref(), Some("cancelled"), "{when}");
        assert_eq!(store.list().unwrap(), Vec::<String>::new(), "{when}: nothing is left to clean up");
        assert_eq!(started.elapsed(), after, "{when}");
        assert!(connector.machine.commands().is_empty(), "{when}");
    }
}

/// Ends well although it was cancelled meanwhile.
struct Deaf;

#[async_trait]
impl Provision for Deaf {
    async fn provision(&self, cx: &BuildContext, _machine: &Machine) -> Result<(), BuildError> {
        cx.cancel.raise(Stage::Cancelled);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_no_provisioner_saw_counts() {
    let (cx, _events) = context().await;
    assert!(prepare(given()).unwrap().run(&cx, &Deaf).await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn it_takes_nothing_away() {
    let (cx, _events) = context().await;
    let resource = Resource {
        kind: "instance".to_owned(),
        name: "i".to_owned(),
        region: "here".to_owned(),
        lifetime: Lifetime::Temporary,
        details: BTreeMap::new(),
    };
    let entry = Entry { n: 1, resource, state: EntryState::Intended };
    let reclaiming = ReclaimContext {
        build_id: cx.build_id.clone(),
        events: cx.events.clone(),
        cancel: cx.cancel.for_cleanup(),
        recent: false,
    };
    let reclaimer = prepare(given()).unwrap().reclaimer(&cx).await.unwrap();
    let error = reclaimer.reclaim(&reclaiming, &entry).await.unwrap_err().to_string();
    assert_eq!(error, "the null builder creates nothing and cannot take it away: please report this");
}
