//! The build type `motd`: its image is a text file, made of what the template says.
//!
//! Small as it is, it does what every builder does: a typed config, a pure `prepare`, every create through the ledger,
//! and a reclaimer by which a failed build and `gaia cleanup` take away what it made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use builder_core::ledger::{CreateError, Created, Entry, Lifetime, NewResource, ReclaimContext, Reclaimer};
use builder_core::{
    Artifact, BuildContext, BuildError, Builder, BuilderPlugin, Connector, Machine, PrepareContext, Problems,
    Provision, Target,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The config: what stands beside `"type": "motd"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The file to make.
    pub target: String,
    /// What to write.
    pub message: String,
}

/// The builder.
#[derive(Debug)]
pub struct Motd {
    config: Config,
    connector: Arc<dyn Connector>,
}

builder_core::register_builder!(Motd);
builder_core::register_reclaimer!("motd", |_access, _environment| Box::pin(async {
    Ok(Arc::new(Files) as Arc<dyn Reclaimer>)
}));

impl BuilderPlugin for Motd {
    const TYPE: &'static str = "motd";
    const ABOUT: &'static str = "writes a message of the day, as an example of a third party's builder";
    const COMMUNICATES: bool = true;
    type Config = Config;

    fn prepare(config: Config, connector: Arc<dyn Connector>, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.target.is_empty() {
            problems.add("target", "`target` must name the file to write");
        }
        if config.message.is_empty() {
            problems.add("message", "`message` must say something");
        }
        problems.ok(Self { config, connector })
    }
}

#[async_trait]
impl Builder for Motd {
    async fn run(&self, cx: &BuildContext, provision: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        let target = PathBuf::from(&self.config.target);
        cx.ledger.set_access("motd", serde_json::Value::Null).await?;
        cx.events.say(format!("Writing {}", target.display()));
        let file = NewResource {
            kind: "file",
            name: self.config.target.clone(),
            region: "this host".to_owned(),
            lifetime: Lifetime::Artifact,
            details: BTreeMap::new(),
        };
        let write = async {
            match std::fs::write(&target, &self.config.message) {
                Ok(()) => Ok(Created { id: self.config.target.clone(), value: () }),
                Err(e) => {
                    let error = BuildError::failed(format!("cannot write {}: {e}", target.display()));
                    Err(CreateError { error, refused: true })
                }
            }
        };
        cx.ledger.create(file, write).await?;

        // Provisioners of the template run on whatever the communicator reaches.
        let host = self.connector.host().unwrap_or("localhost").to_owned();
        let communicator = self.connector.connect(cx, Target { address: &host, private_key: None }).await?;
        let machine =
            Machine { communicator, build_vars: BTreeMap::from([("ID".to_owned(), self.config.target.clone())]) };
        provision.provision(cx, &machine).await?;
        Ok(Some(Box::new(MotdFile { target })))
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Ok(Arc::new(Files))
    }
}

/// Takes files away.
#[derive(Debug)]
struct Files;

#[async_trait]
impl Reclaimer for Files {
    fn after(&self, _kind: &str) -> &'static [&'static str] {
        &[]
    }

    async fn reclaim(&self, cx: &ReclaimContext, entry: &Entry) -> Result<(), BuildError> {
        let name = &entry.resource.name;
        cx.events.say(format!("Deleting {name}"));
        match std::fs::remove_file(name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(BuildError::failed(format!("cannot delete {name}: {e}")))
            }
            _ => Ok(()),
        }
    }
}

/// The artifact.
#[derive(Debug)]
struct MotdFile {
    target: PathBuf,
}

#[async_trait]
impl Artifact for MotdFile {
    fn builder_id(&self) -> &'static str {
        "example.motd"
    }

    fn id(&self) -> String {
        "motd".to_owned()
    }

    fn describe(&self) -> String {
        format!("A message of the day was written: {}", self.target.display())
    }

    fn files(&self) -> Vec<String> {
        vec![self.target.display().to_string()]
    }

    async fn destroy(&self, _cx: &BuildContext) -> Result<(), BuildError> {
        std::fs::remove_file(&self.target)
            .map_err(|e| BuildError::failed(format!("cannot delete {}: {e}", self.target.display())))
    }
}
