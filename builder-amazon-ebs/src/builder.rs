//! The build, from the first look to the artifact: read it top to bottom.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ec2::types::Image;
use builder_core::artifact::{Taggable as _, Tags};
use builder_core::ledger::{Lifetime, Reclaimer};
use builder_core::{
    Artifact, BuildContext, BuildError, Builder, BuilderPlugin, Connector, ExposeSecret as _, PrepareContext, Problems,
    Provision,
};

use crate::artifact::{Ami, RegionalImage};
use crate::cloud::{Cloud, CloudHandle};
use crate::config::{self, Config, Settings, UserData};
use crate::mark;
use crate::reclaim::{self, Ec2Reclaimer};
use crate::steps::launch::Launch;
use crate::steps::{
    Stage, both, connect, copy, find, image, key_pair, launch, network, replace, security_group, share, stop,
};
use crate::tagging::{self, FinalTags};

/// The amazon-ebs builder with a checked config.
#[derive(Debug)]
pub struct AmazonEbs {
    settings: Settings,
    connector: Arc<dyn Connector>,
    cloud: CloudHandle,
}

impl BuilderPlugin for AmazonEbs {
    const TYPE: &'static str = "amazon-ebs";
    const ABOUT: &'static str = "launches an EBS-backed instance on EC2, provisions it and makes an AMI of it";
    const COMMUNICATES: bool = true;
    type Config = Config;

    fn prepare(config: Config, connector: Arc<dyn Connector>, cx: PrepareContext<'_>) -> Result<Self, Problems> {
        let settings = Settings::check(config, &*connector, cx.force)?;
        let cloud = CloudHandle::new(&settings.access, settings.keys.as_ref());
        Ok(Self { settings, connector, cloud })
    }
}

#[async_trait]
impl Builder for AmazonEbs {
    async fn preflight(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if let UserData::File(path) = &self.settings.user_data {
            match read_user_data(path).await {
                Ok(bytes) => {
                    config::too_large("user_data_file", &format!("user_data_file {path}"), &bytes, &mut problems);
                }
                Err(text) => {
                    problems.add("user_data_file", text);
                }
            }
        }
        problems.ok(())
    }

    async fn run(&self, cx: &BuildContext, provision: &dyn Provision) -> Result<Option<Box<dyn Artifact>>, BuildError> {
        let settings = &self.settings;
        for secret in settings.keys.iter().flat_map(|k| std::iter::once(&k.secret_key).chain(&k.token)) {
            cx.redactor.add(secret.expose_secret());
        }
        let cloud = Box::pin(cx.cancel.run(self.open())).await??;
        let home = cloud.home();
        let stage = Stage { cx, settings, cloud: &cloud, home: &home };

        // Looking: all at once, nothing is made.
        let (old, (source, network)) = both(
            cx,
            async {
                find::regions(&stage).await?;
                find::name(&stage).await
            },
            |cx| async move {
                let stage = Stage { cx: &cx, ..stage };
                tokio::try_join!(find::source(&stage), network::network(&stage))
            },
        )
        .await?;
        let data = source.data();
        let tags = Tags {
            tags: stage.tags("tags", &settings.tags, &data)?,
            snapshot_tags: stage.tags("snapshot_tags", &settings.snapshot_tags, &data)?,
        };
        let image_tags = FinalTags::new(&tags);
        tagging::check("tags", &image_tags.image)?;
        tagging::check("snapshot_tags", &image_tags.snapshots)?;
        let run_tags = mark::marked(cx, &stage.tags("run_tags", &settings.run_tags, &data)?);
        tagging::check("run_tags", &run_tags)?;

        // Making: everything is in the ledger from here on.
        launch::record_access(&stage, None).await?;
        let make_groups = |cx| {
            let (network, run_tags, port) = (&network, &run_tags, self.connector.port());
            async move { security_group::security_groups(&Stage { cx: &cx, ..stage }, network, port, run_tags).await }
        };
        let (key, groups) = both(cx, key_pair::key_pair(&stage, &run_tags), make_groups).await?;
        cx.cancel.check()?;
        let with = Launch { source: &source, network: &network, key: &key, groups: &groups };
        let id = Box::pin(launch::launch(&stage, with)).await?;
        let instance = launch::running(&stage, &id).await?;

        let machine = connect::connect(&stage, &*self.connector, &instance, &source, &key).await?;
        // After an error the connection stays open: the error-cleanup-provisioner may want it.
        provision.provision(cx, &machine).await?;
        machine.communicator.close().await;

        if settings.skip_image {
            cx.events.say("Skipping AMI creation...");
            return Ok(None);
        }
        stop::stop(&stage, &id).await?;
        // Where an old image has the name, the new ones are made under a temporary one first.
        let interim = reclaim::temporary_name(&cx.build_id);
        let replacing = !old.is_empty();
        let named =
            if replacing { (interim.as_str(), Lifetime::Temporary) } else { (&*settings.ami_name, Lifetime::Artifact) };
        let image = Box::pin(image::create(&stage, &id, named, &image_tags)).await?;
        let image = image::with_snapshots(&stage, &home.name, image).await?;
        let mut images = copy::copy(&stage, image.image_id().unwrap_or_default(), named, &image_tags).await?;
        images.push((home.name.clone(), image));
        images.sort_by(|(a, _), (b, _)| a.cmp(b));
        if replacing {
            images = Box::pin(replace::replace(&stage, &old, images, &image_tags)).await?;
        }

        let images = images.iter().map(|(region, image)| regional(settings, region, image)).collect();
        let ami = Ami { images, data, cloud: cloud.clone() };
        let finished = async {
            ami.tag(cx, &tags).await?;
            share::share(&stage, &ami.images, &ami.data).await
        };
        match Box::pin(finished).await {
            // What has taken an old image's place is not taken away again.
            Err(e) if replacing => return Err(BuildError::failed(format!("{e}; the new AMIs are kept: {}", ami.id()))),
            result => result?,
        }
        Ok(Some(Box::new(ami)))
    }

    async fn reclaimer(&self, _cx: &BuildContext) -> Result<Arc<dyn Reclaimer>, BuildError> {
        Ok(Arc::new(Ec2Reclaimer::new(&self.open().await?)))
    }
}

impl AmazonEbs {
    async fn open(&self) -> Result<Arc<Cloud>, BuildError> {
        self.cloud.open(&self.settings.access, self.settings.keys.as_ref()).await
    }
}

/// The content of a user data file, or why it cannot be used. One that is far too large is not read.
async fn read_user_data(path: &str) -> Result<Vec<u8>, String> {
    let file = tokio::fs::metadata(path).await.map_err(|e| format!("user_data_file not found: {path}: {e}"))?;
    if !file.is_file() {
        return Err(format!("user_data_file {path} is not a file"));
    }
    let (size, limit) = (file.len(), config::USER_DATA_LIMIT);
    if size > 16 * limit as u64 {
        return Err(format!(
            "user_data_file {path} has {size} bytes, and EC2 takes at most {limit} bytes of user data"
        ));
    }
    tokio::fs::read(path).await.map_err(|e| format!("cannot read user_data_file {path}: {e}"))
}

/// An image with the snapshots that the build made for it; those that the template names are the user's and left alone.
fn regional(settings: &Settings, region: &str, image: &Image) -> RegionalImage {
    let mut snapshots = image::snapshots(image);
    snapshots.retain(|id| !settings.users_snapshots().any(|users| users == id));
    RegionalImage { region: region.to_owned(), id: image.image_id().unwrap_or_default().to_owned(), snapshots }
}
