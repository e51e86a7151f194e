//! What the tests of planning share: a registry of mocks, and a plan in one call.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use builder_core::context::{BuildContext, Names};
use builder_core::ledger::Reclaimer;
use builder_core::none::NoCommunicator;
use builder_core::registry::{BuilderEntry, CommunicatorEntry, PostProcessorEntry, ProvisionerEntry};
use builder_core::source::{Diagnostics, Source};
use builder_core::testing::{MockBuilder, MockConnector, MockPostProcessor, MockProvisioner};
use builder_core::{
    Artifact, BuildError, Builder, BuilderPlugin, Connector, PrepareContext, Problems, Provision, Registry,
};
use schemars::JsonSchema;
use serde::Deserialize;
use template::{Assignment, Plan, PlanInput, Settings, load, parse_argument, parse_file, plan};

/// A builder that has no machine to reach.
#[derive(Debug)]
pub(crate) struct Still {
    _connector: Arc<dyn Connector>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct StillConfig {
    size: u32,
}

impl BuilderPlugin for Still {
    const TYPE: &'static str = "still";
    const ABOUT: &'static str = "makes nothing of nothing";
    const COMMUNICATES: bool = false;
    type Config = StillConfig;

    fn prepare(config: StillConfig, connector: Arc<dyn Connector>, _cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if config.size > 9 {
            problems.add("size", "too large");
        }
        problems.ok(Self { _connector: connector })
    }
}

#[async_trait]
impl Builder for Still {
    async fn run(
        &self,
        _cx: &BuildContext,
        _provision: &dyn Provision,
    ) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        Ok(None)
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Err(BuildError::failed("nothing was made"))
    }
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.add_builder(BuilderEntry::of::<MockBuilder>("test")).expect("a new key");
    registry.add_builder(BuilderEntry::of::<Still>("test")).expect("a new key");
    registry.add_provisioner(ProvisionerEntry::of::<MockProvisioner>("test")).expect("a new key");
    registry.add_post_processor(PostProcessorEntry::of::<MockPostProcessor>("test")).expect("a new key");
    registry.add_communicator(CommunicatorEntry::of::<MockConnector>("test")).expect("a new key");
    registry.add_communicator(CommunicatorEntry::of::<NoCommunicator>("test")).expect("a new key");
    registry
}

/// What the user gives beside the template: `-var-file` (texts), `-var`, `-only` and `-except`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) files: &'a [&'a str],
    pub(crate) vars: &'a [&'a str],
    pub(crate) only: &'a [&'a str],
    pub(crate) except: &'a [&'a str],
}

pub(crate) fn given(given: Given<'_>, text: &str) -> Result<Plan, Diagnostics> {
    let (template, _) = load(Source { name: "t.json".into(), text: text.into() })?;
    let mut assignments: Vec<Assignment> = Vec::new();
    for (n, file) in given.files.iter().enumerate() {
        assignments.extend(parse_file(Source { name: format!("vars{n}.json"), text: (*file).into() })?.0);
    }
    for var in given.vars {
        assignments.push(parse_argument(var)?);
    }
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let input = PlanInput {
        given: &assignments,
        only: &owned(given.only),
        except: &owned(given.except),
        force: false,
        environment: &BTreeMap::from([
            ("HOME".to_owned(), "/root".to_owned()),
            ("TPL".to_owned(), "{{user `a`}}!".to_owned()),
        ]),
        settings: Settings {
            start: builder_core::Clock::fixed().start(),
            template_dir: Some("/templates".into()),
            working_dir: Some("/work".into()),
            names: Names::seeded(1),
        },
    };
    plan(&template, &registry(), &input)
}
