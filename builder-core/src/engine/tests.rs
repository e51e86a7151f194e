use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::cancel::Stage;
use crate::decode::{Decoding, decode_json};
use crate::ledger::{EntryState, OpenReclaimer, Reclaimer};
use crate::plugin::{PostProcessorPlugin, PrepareContext, ProvisionerPlugin};
use crate::registry::{
    CommunicatorEntry, PostProcessorEntry, ProvisionerEntry, ReclaimerEntry, Registry, unknown_type,
};
use crate::render::Verbatim;
use crate::testing::{
    MemoryStore, MockBuilder, MockCloud, MockCommunicator, MockConnector, MockPostProcessor, MockProvisioner, Reply,
    Scenario, check_properties, run, said,
};

const CX: PrepareContext<'_> = PrepareContext { build_name: "mock", build_type: "mock", force: false };

fn placed<T>(component: &str, json: &serde_json::Value, it: T) -> Placed<T> {
    Placed { component: component.to_owned(), node: Node::from(json), it }
}

fn provisioner(json: &serde_json::Value) -> PlannedProvisioner {
    let it = MockProvisioner::prepare(decode_json(json).unwrap(), CX).unwrap();
    PlannedProvisioner {
        kind: "mock".into(),
        provisioner: placed("provisioner `mock`", json, Box::new(it) as Box<dyn Provisioner>),
        pause_before: None,
        timeout: None,
        max_retries: 0,
    }
}

fn post_processor(json: &serde_json::Value, keep_input: Option<bool>) -> PlannedPostProcessor {
    let it = MockPostProcessor::prepare(decode_json(json).unwrap(), CX).unwrap();
    let post_processor = placed("post-processor `mock`", json, Box::new(it) as Box<dyn PostProcessor>);
    PlannedPostProcessor { kind: "mock".into(), name: "mock".into(), keep_input, post_processor }
}

struct Rig {
    cloud: MockCloud,
    machine: MockCommunicator,
    store: MemoryStore,
}

impl Rig {
    fn new() -> Self {
        Self { cloud: MockCloud::default(), machine: MockCommunicator::default(), store: MemoryStore::default() }
    }

    fn build(&self, name: &str) -> PlannedBuild {
        let connector: Arc<dyn Connector> = Arc::new(MockConnector { communicator: self.machine.clone() });
        let builder = MockBuilder { connector: connector.clone(), ..MockBuilder::on(&self.cloud) };
        PlannedBuild {
            name: name.to_owned(),
            build_type: "mock".to_owned(),
            builder: placed("builder `mock`", &json!({}), Box::new(builder) as Box<dyn Builder>),
            connector,
            provisioners: vec![provisioner(&json!({"command": "provision"}))],
            error_cleanup: None,
            post_processors: Vec::new(),
            renderer: Arc::new(Verbatim),
            secrets: Vec::new(),
        }
    }

    /// Runs one build; gives its outcome and what was said.
    async fn run(&self, build: PlannedBuild, with: impl FnOnce(&mut Run)) -> (Outcome, Vec<String>) {
        let (mut run, mut stream) = run(&self.store);
        with(&mut run);
        let outcome = run.run(vec![build]).await.remove(0);
        (outcome, said(&mut stream))
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_leaves_its_image_and_nothing_else() {
    let rig = Rig::new();
    let (outcome, said) = rig.run(rig.build("mock"), |_| {}).await;
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.artifacts[0].id, "image-3");
    assert_eq!(rig.cloud.resources(), ["image-3"]);
    assert_eq!(
        said,
        [
            "==> Creating network",
            "==> Creating machine",
            "==> Creating image",
            "==> Deleting machine",
            "==> Deleting network"
        ]
    );
    assert_eq!(rig.store.list().unwrap(), Vec::<String>::new(), "a ledger with nothing left is taken away");
}

#[tokio::test(start_paused = true)]
async fn every_failure_gives_everything_back_and_says_why() {
    type Fault = fn(&Rig, &mut PlannedBuild);
    let rows: [(&str, Fault, &str); 6] = [
        ("refused", |rig, _| rig.cloud.refuse("machine"), "the cloud refused to create a machine"),
        ("reply lost", |rig, _| rig.cloud.lose_reply("machine"), "no answer to the creation of a machine"),
        ("image reply lost", |rig, _| rig.cloud.lose_reply("image"), "no answer to the creation of a image"),
        ("script", |rig, _| rig.machine.reply("provision", Reply::code(3)), "`provision` ended with exit status 3"),
        (
            "bug in a provisioner",
            |_, b| b.provisioners = vec![provisioner(&json!({"panic": true}))],
            "a bug in gaia or in a plugin ended the build: a panic by request; please report it",
        ),
        (
            "timeout next to pause_before",
            |_, b| {
                b.provisioners = vec![PlannedProvisioner {
                    pause_before: Some(Duration::from_secs(5)),
                    timeout: Some(Duration::from_secs(60)),
                    ..provisioner(&json!({"delay": "1h"}))
                }];
            },
            "provisioner `mock` was still running after its timeout of 1m0s",
        ),
    ];
    for (name, fault, expected) in rows {
        let rig = Rig::new();
        let mut build = rig.build("mock");
        fault(&rig, &mut build);
        let (outcome, _) = rig.run(build, |_| {}).await;
        assert_eq!(outcome.error.as_deref(), Some(expected), "{name}");
        assert_eq!(rig.cloud.resources(), Vec::<String>::new(), "{name}");
        assert_eq!(outcome.left_behind, Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_and_the_last_error_is_told() {
    let rig = Rig::new();
    let mut build = rig.build("mock");
    build.provisioners[0].max_retries = 2;
    rig.machine.reply("provision", Reply::code(1));
    rig.machine.reply("provision", Reply::code(2));
    rig.machine.reply("provision", Reply::code(3));
    let (outcome, said) = rig.run(build, |_| {}).await;
    assert_eq!(outcome.error.as_deref(), Some("retry limit reached: `provision` ended with exit status 3"));
    assert!(said.contains(
        &"==> Provisioner failed with \"`provision` ended with exit status 1\", retrying with 2 trie(s) left".into()
    ));
    assert!(said.contains(
        &"==> Provisioner failed with \"`provision` ended with exit status 2\", retrying with 1 trie(s) left".into()
    ));
    assert_eq!(rig.machine.commands().len(), 3);
}

/// Gives its answer once: nobody is asked twice.
#[derive(Debug)]
struct Says(Mutex<Option<Answer>>);

#[async_trait]
impl Ask for Says {
    async fn ask(&self, _build: &str, _error: &str, retry: bool) -> Option<Answer> {
        let answer = self.0.lock().unwrap().take();
        assert!(answer.is_some() && (retry || answer != Some(Answer::Retry)));
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn on_error_decides_what_stays() {
    // mode, answer, commands on the machine, resources left
    let rows: [(OnError, Answer, &[&str], usize); 6] = [
        (OnError::Cleanup, Answer::Cleanup, &["provision", "save logs"], 0),
        (OnError::Abort, Answer::Cleanup, &["provision"], 2),
        (OnError::RunCleanupProvisioner, Answer::Cleanup, &["provision", "save logs"], 2),
        (OnError::Ask, Answer::Cleanup, &["provision", "save logs"], 0),
        (OnError::Ask, Answer::Abort, &["provision"], 2),
        (OnError::Ask, Answer::Retry, &["provision", "provision"], 1),
    ];
    for (mode, answer, commands, left) in rows {
        let rig = Rig::new();
        let mut build = rig.build("mock");
        build.error_cleanup = Some(provisioner(&json!({"command": "save logs"})));
        rig.machine.reply("provision", Reply::code(3));
        rig.machine.reply("provision", Reply::code(0));
        let (outcome, _) = rig
            .run(build, |run| {
                run.on_error = mode;
                run.ask = Arc::new(Says(Mutex::new(Some(answer))));
            })
            .await;
        assert_eq!(rig.machine.commands(), commands, "{mode:?} {answer:?}");
        assert_eq!(rig.cloud.resources().len(), left, "{mode:?} {answer:?}");
        assert_eq!(outcome.left_behind.len(), if left == 2 { 2 } else { 0 }, "{mode:?} {answer:?}");
    }
}

/// What opens a reclaimer holds no data of its own: it finds its cloud by what the ledger says, and in the next test here.
static CLOUD: OnceLock<MockCloud> = OnceLock::new();

#[tokio::test(start_paused = true)]
async fn what_abort_left_cleanup_takes_away() {
    let rig = Rig::new();
    rig.machine.reply("provision", Reply::code(3));
    let (outcome, _) = rig.run(rig.build("mock"), |run| run.on_error = OnError::Abort).await;
    assert_eq!(outcome.left_behind, ["machine machine-2 in nowhere", "network network-1 in nowhere"]);

    CLOUD.set(rig.cloud.clone()).unwrap();
    let open: OpenReclaimer =
        |_, _| Box::pin(async { Ok(Arc::new(CLOUD.get().unwrap().clone()) as Arc<dyn Reclaimer>) });
    let (run, mut stream) = run(&rig.store);
    let mut cleanup = Cleanup {
        store: run.store.clone(),
        registry: Arc::default(),
        events: run.events.clone(),
        cancel: run.cancel.clone(),
        clock: run.clock,
        environment: BTreeMap::new(),
    };
    let unknown = cleanup.build(&outcome.build_id).await.unwrap_err().to_string();
    assert!(unknown.contains("used `mock`, which is not linked into this binary"), "{unknown}");

    let mut registry = Registry::default();
    registry.add_reclaimer(ReclaimerEntry { provider: "mock", krate: "test", open }).unwrap();
    cleanup.registry = Arc::new(registry);
    let cleaned = cleanup.build(&outcome.build_id).await.unwrap();
    assert_eq!((cleaned.found, cleaned.left), (outcome.left_behind, vec![]));
    assert_eq!(said(&mut stream), ["==> Deleting machine", "==> Deleting network"]);
    assert_eq!(rig.cloud.resources(), Vec::<String>::new());
    assert_eq!(rig.store.list().unwrap(), Vec::<String>::new());
    let again = cleanup.build(&outcome.build_id).await.unwrap_err().to_string();
    assert!(again.starts_with("there is no ledger of build"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_back_is_named_and_the_rest_is_given_back() {
    let rig = Rig::new();
    rig.cloud.stick("network");
    let (outcome, _) = rig.run(rig.build("mock"), |_| {}).await;
    assert_eq!(outcome.error, None, "the image is there");
    assert_eq!(outcome.left_behind, ["network network-1 in nowhere: the cloud does not let go of the network"]);
    assert_eq!(rig.cloud.resources(), ["image-3", "network-1"]);
    let (replay, running) = rig.store.read(&outcome.build_id).unwrap();
    assert!(!running && replay.committed);
    let states: Vec<_> = replay.entries.iter().map(|e| &e.state).collect();
    assert_eq!(
        states,
        [&EntryState::Created("network-1".into()), &EntryState::Reclaimed, &EntryState::Created("image-3".into())]
    );
}

#[tokio::test(start_paused = true)]
async fn post_processors_keep_and_spend_artifacts_as_in_packer_but_lose_none_to_an_error() {
    type Chain = Vec<(serde_json::Value, Option<bool>)>;
    let plain = || (json!({}), None);
    let keep = || (json!({"keep_input": true}), None);
    let through = || (json!({"pass_through": true}), None);
    let fail = || (json!({"error": "no"}), None);
    // chains, artifacts that exist at the end, whether the builder's image still exists
    let rows: [(&str, Vec<Chain>, &[&str], bool); 10] = [
        ("none", vec![], &["image-3"], true),
        ("one that wraps", vec![vec![plain()]], &["wrapped image-3"], false),
        ("one that keeps", vec![vec![keep()]], &["image-3", "wrapped image-3"], true),
        ("the user keeps", vec![vec![(json!({}), Some(true))]], &["image-3", "wrapped image-3"], true),
        ("the user overrules", vec![vec![(json!({"keep_input": true}), Some(false))]], &["wrapped image-3"], false),
        ("forced", vec![vec![(json!({"pass_through": true}), Some(false))]], &["image-3"], true),
        (
            "one chain keeps",
            vec![vec![plain()], vec![keep()]],
            &["image-3", "wrapped image-3", "wrapped image-3"],
            true,
        ),
        ("in a chain", vec![vec![through(), plain()]], &["image-3", "wrapped image-3"], true),
        ("the first fails", vec![vec![fail(), plain()]], &["image-3"], true),
        ("the second fails", vec![vec![plain(), fail()]], &["image-3", "wrapped image-3"], true),
    ];
    for (name, chains, expected, image) in rows {
        let rig = Rig::new();
        let mut build = rig.build("mock");
        build.post_processors =
            chains.iter().map(|c| c.iter().map(|(json, keep)| post_processor(json, *keep)).collect()).collect();
        let (outcome, _) = rig.run(build, |_| {}).await;
        let ids: Vec<_> = outcome.artifacts.iter().map(|a| a.id.as_str()).collect();
        assert_eq!(ids, expected, "{name}");
        assert_eq!(!rig.cloud.resources().is_empty(), image, "{name}");
        assert_eq!(outcome.error.is_some(), name.ends_with("fails"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_builds_run_at_once_or_one_by_one() {
    for (parallel, seconds) in [(3, 1), (1, 3)] {
        let rig = Rig::new();
        let (mut run, _stream) = run(&rig.store);
        run.parallel = parallel;
        let begun = tokio::time::Instant::now();
        let outcomes = run.run(["a", "b", "c"].map(|name| rig.build(name)).into()).await;
        assert_eq!(outcomes.iter().map(|o| o.build_name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(begun.elapsed().as_secs(), seconds);
        assert_eq!(rig.cloud.resources().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn preflight_finds_everything_before_anything_is_created() {
    let rig = Rig::new();
    let mut build = rig.build("mock");
    build.provisioners = vec![provisioner(&json!({"missing_file": true})), provisioner(&json!({"missing_file": true}))];
    let found = Run::preflight(&[build]).await;
    assert_eq!(found.to_string(), "error: provisioner `mock`: no such file by request");
    assert!(rig.cloud.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn hurrying_leaves_nothing_unasked() {
    let rig = Rig::new();
    let (run, _stream) = run(&rig.store);
    run.cancel.raise(Stage::Cancelled);
    let outcome = run.run(vec![rig.build("mock")]).await.remove(0);
    assert!(outcome.cancelled && rig.cloud.calls().is_empty(), "cancelled before the start: nothing is created");

    let (run, _stream) = crate::testing::run(&rig.store);
    let cancel = run.cancel.clone();
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.raise(Stage::Hurried);
    };
    let (outcomes, ()) = tokio::join!(run.run(vec![rig.build("mock")]), later);
    assert!(outcomes[0].cancelled);
    assert_eq!(rig.cloud.resources(), Vec::<String>::new());
}

#[test]
fn a_key_that_two_crates_claim_names_both() {
    let mut registry = Registry::default();
    let entry = |krate| ProvisionerEntry::of::<MockProvisioner>(krate);
    registry.add_provisioner(entry("zeta 1.0.0")).unwrap();
    let error = registry.add_provisioner(entry("alpha 2.0.0")).unwrap_err().to_string();
    assert_eq!(
        error,
        "provisioner `mock` is registered twice, by alpha 2.0.0 and by zeta 1.0.0: link only one of them"
    );
}

#[test]
fn linked_plugins_are_listed_and_prepared_by_key() {
    let registry = Registry::linked().unwrap();
    assert_eq!(registry.communicators.keys().collect::<Vec<_>>(), [&"none"]);
    let entry = PostProcessorEntry::of::<MockPostProcessor>("test 0.0.0");
    assert_eq!((entry.about.fields)(), ["error", "keep_input", "pass_through"]);
    let how = Decoding { component: "post-processor `mock`", renderer: &Verbatim, elsewhere: &[] };
    let refused = (entry.prepare)(&Node::from(&json!({"eror": "x"})), CX, &how).unwrap_err();
    assert_eq!(refused.0[0].help.as_deref(), Some("did you mean `error`?"));
    let communicator = CommunicatorEntry::of::<MockConnector>("test 0.0.0");
    assert_eq!((communicator.about.fields)(), ["mock_username"]);
    let (message, help) = unknown_type("builder", "amazon-esb", ["amazon-ebs", "null"]);
    assert_eq!((message.as_str(), help.as_str()), ("unknown builder type `amazon-esb`", "did you mean `amazon-ebs`?"));
}

#[derive(Debug)]
struct Mock;

#[async_trait]
impl Scenario for Mock {
    type Cloud = MockCloud;

    fn cloud(&self) -> MockCloud {
        MockCloud::default()
    }

    fn build(&self, cloud: &MockCloud) -> PlannedBuild {
        Rig { cloud: cloud.clone(), ..Rig::new() }.build("mock")
    }

    fn reclaimer(&self, cloud: &MockCloud) -> Box<dyn Reclaimer> {
        Box::new(cloud.clone())
    }

    async fn resources(&self, cloud: &MockCloud) -> Vec<String> {
        cloud.resources()
    }
}

#[tokio::test(start_paused = true)]
async fn the_mock_builder_has_the_properties_of_every_builder() {
    let points = check_properties(&Mock).await;
    assert!(points > 50, "{points} points");
}
