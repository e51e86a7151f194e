//! A gaia with the mock plugins linked in, as a third party's binary has its own: the tests of the whole command run it.
//!
//! Beside `mock` it has the build type `stubborn`, whose clean-up goes wrong in the way that the template asks for.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use builder_core::ledger::{Created, Entry, Lifetime, NewResource, ReclaimContext, Reclaimer};
use builder_core::testing::{MockBuilder, MockCloud, MockConnector, MockPostProcessor, MockProvisioner};
use builder_core::{
    Artifact, BuildContext, BuildError, Builder, BuilderPlugin, Connector, EventKind, PrepareContext, Problems,
    Provision,
};
use schemars::JsonSchema;
use serde::Deserialize;

builder_core::register_builder!(MockBuilder);
builder_core::register_provisioner!(MockProvisioner);
builder_core::register_post_processor!(MockPostProcessor);
builder_core::register_communicator!(MockConnector);
builder_core::register_builder!(Stubborn);
builder_core::register_reclaimer!("mock", |_, _| Box::pin(async {
    Ok(Arc::new(MockCloud::default()) as Arc<dyn Reclaimer>)
}));
// A later `gaia cleanup` succeeds unless its environment says otherwise.
builder_core::register_reclaimer!("stubborn", |_, environment: BTreeMap<String, String>| Box::pin(async move {
    Ok(Arc::new(Stubborn::new(environment.get("STUBBORN").map_or("", String::as_str))) as Arc<dyn Reclaimer>)
}));

fn main() -> ExitCode {
    gaia_cli::main()
}

/// What a template may say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// How the clean-up goes: `slow` waits until it is hurried, `deaf` keeps every worker busy for ever, `stuck` fails.
    cleanup: String,
    /// Writes so many long lines first.
    chatter: u32,
    /// Ends at once, well.
    finish: bool,
    /// Ends at once with this error.
    error: Option<String>,
}

/// Makes a thing that is hard to get rid of, then sleeps until it is cancelled.
#[derive(Debug)]
struct Stubborn {
    config: Config,
}

impl Stubborn {
    fn new(cleanup: &str) -> Self {
        Self { config: Config { cleanup: cleanup.to_owned(), ..Config::default() } }
    }
}

impl BuilderPlugin for Stubborn {
    const TYPE: &'static str = "stubborn";
    const ABOUT: &'static str = "makes a thing that is hard to get rid of, for tests";
    const COMMUNICATES: bool = false;
    type Config = Config;

    fn prepare(config: Config, _connector: Arc<dyn Connector>, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        Ok(Self { config })
    }
}

#[async_trait]
impl Builder for Stubborn {
    async fn run(&self, cx: &BuildContext, _hook: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        cx.ledger.set_access("stubborn", serde_json::Value::Null).await?;
        let thing = NewResource {
            kind: "thing",
            name: format!("thing-of-{}", cx.build_id),
            region: "nowhere".to_owned(),
            lifetime: Lifetime::Temporary,
            details: BTreeMap::new(),
        };
        cx.ledger.create(thing, async { Ok(Created { id: "thing-1".to_owned(), value: () }) }).await?;
        for n in 0..self.config.chatter {
            cx.cancel.run(cx.events.output(EventKind::Stdout(format!("line {n}{}", " and so on".repeat(100))))).await?;
        }
        if let Some(error) = &self.config.error {
            return Err(BuildError::failed(error.clone()));
        }
        if !self.config.finish {
            cx.events.say("Going to sleep");
            cx.cancel.sleep(Duration::from_secs(3600)).await?;
        }
        Ok(None)
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Ok(Arc::new(Self::new(&self.config.cleanup)))
    }
}

#[async_trait]
impl Reclaimer for Stubborn {
    fn after(&self, _kind: &str) -> &'static [&'static str] {
        &[]
    }

    async fn reclaim(&self, cx: &ReclaimContext, entry: &Entry) -> Result<(), BuildError> {
        cx.events.say(format!("Deleting {}", entry.id_or_name()));
        match self.config.cleanup.as_str() {
            "stuck" => return Err(BuildError::failed("it is in use")),
            "slow" => {
                let waited = cx.cancel.sleep(Duration::from_secs(3600)).await;
                waited.map_err(|_| BuildError::failed("not waited for"))?;
            }
            "deaf" => {
                // What no clean-up should do: it holds a worker and never looks at the cancellation.
                for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                    tokio::spawn(async { busy() });
                }
                busy();
            }
            _ => {}
        }
        Ok(())
    }
}

fn busy() {
    loop {
        std::hint::spin_loop();
    }
}
