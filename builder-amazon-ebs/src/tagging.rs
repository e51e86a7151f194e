//! Tags of images and snapshots: rendered, checked against EC2's limits, and set. The builder's own `tags` and the tags
//! post-processor both come here.

use async_trait::async_trait;
use builder_core::artifact::{Taggable, Tags};
use builder_core::{BuildContext, BuildError, RenderData};

use crate::api_error::Named as _;
use crate::artifact::{Ami, RegionalImage};
use crate::mark;
use crate::steps::once_visible;

/// What an image and its snapshots carry in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinalTags {
    /// On the image.
    pub(crate) image: Vec<(String, String)>,
    /// On each snapshot.
    pub(crate) snapshots: Vec<(String, String)>,
}

impl FinalTags {
    /// The tags of a build: snapshots get those of the image, their own winning.
    pub(crate) fn new(tags: &Tags) -> Self {
        Self {
            image: tags.tags.clone(),
            snapshots: crate::steps::launch::merged(&tags.tags, tags.snapshot_tags.clone()),
        }
    }
}

/// Checks EC2's limits: 50 tags, keys of 1 to 128 characters, values of up to 256, no `aws:` before a key.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>
pub(crate) fn check(what: &str, tags: &[(String, String)]) -> Result<(), BuildError> {
    let fail = |text: String| Err(BuildError::failed(format!("{what}: {text}")));
    if tags.len() > 50 {
        return fail(format!("{} tags, and EC2 takes at most 50 on a resource", tags.len()));
    }
    for (key, value) in tags {
        let (key_length, value_length) = (key.chars().count(), value.chars().count());
        if !(1..=128).contains(&key_length) {
            return fail(format!("the key {key:?} has {key_length} characters, and EC2 takes 1 to 128"));
        }
        if value_length > 256 {
            return fail(format!("the value of {key:?} has {value_length} characters, and EC2 takes at most 256"));
        }
        if key.to_lowercase().starts_with("aws:") {
            return fail(format!("the key {key:?} begins with `aws:`, which is Amazon's own"));
        }
    }
    Ok(())
}

#[async_trait]
impl Taggable for Ami {
    fn tag_data(&self) -> RenderData {
        self.data.clone()
    }

    async fn tag(&self, cx: &BuildContext, tags: &Tags) -> Result<(), BuildError> {
        check("tags", &tags.tags)?;
        check("snapshot_tags", &FinalTags::new(tags).snapshots)?;
        let tag_one = |image, events| async move { self.tag_one(&cx.with_events(events), image, tags).await };
        cx.events.in_order(&self.images, tag_one).await.into_iter().collect()
    }
}

impl Ami {
    async fn tag_one(&self, cx: &BuildContext, image: &RegionalImage, tags: &Tags) -> Result<(), BuildError> {
        cx.events.say(format!("Adding tags to AMI ({})...", image.id));
        for snapshot in &image.snapshots {
            cx.events.say(format!("Tagging snapshot: {snapshot}"));
        }
        cx.events.say("Creating AMI tags");
        say(cx, &tags.tags);
        cx.events.say("Creating snapshot tags");
        say(cx, &tags.snapshot_tags);
        let all = std::iter::once(&image.id).chain(&image.snapshots).cloned().collect();
        self.set(cx, image, all, &tags.tags).await?;
        self.set(cx, image, image.snapshots.clone(), &tags.snapshot_tags).await
    }

    async fn set(
        &self,
        cx: &BuildContext,
        image: &RegionalImage,
        resources: Vec<String>,
        tags: &[(String, String)],
    ) -> Result<(), BuildError> {
        if tags.is_empty() || resources.is_empty() {
            return Ok(());
        }
        let client = &self.cloud.in_region(&image.region).client;
        let call = client
            .create_tags()
            .set_resources(Some(resources.clone()))
            .set_tags(Some(tags.iter().map(mark::tag).collect()));
        let missing = ["InvalidAMIID.NotFound", "InvalidSnapshot.NotFound", "InvalidSnapshotID.NotFound"];
        let tagged = once_visible(cx, &missing, || async { call.clone().send().await.named("CreateTags") });
        cx.cancel.run(tagged).await?.map(drop).map_err(|e| {
            let resources = resources.join(", ");
            BuildError::failed(format!("Error adding tags to Resources ({resources} in {}): {e}", image.region))
        })
    }
}

fn say(cx: &BuildContext, tags: &[(String, String)]) {
    for (key, value) in tags {
        cx.events.message(format!("Adding tag: {key:?}: {value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn limits_of_ec2() {
        let long = "x".repeat(257);
        let rows = [
            (tags(&[("Name", "")]), None),
            (tags(&[("", "x")]), Some("tags: the key \"\" has 0 characters, and EC2 takes 1 to 128")),
            (
                tags(&[("Name", &long)]),
                Some("tags: the value of \"Name\" has 257 characters, and EC2 takes at most 256"),
            ),
            (tags(&[("AWS:x", "y")]), Some("tags: the key \"AWS:x\" begins with `aws:`, which is Amazon's own")),
            (
                vec![(String::from("k"), String::new()); 51],
                Some("tags: 51 tags, and EC2 takes at most 50 on a resource"),
            ),
        ];
        for (tags, expected) in rows {
            assert_eq!(check("tags", &tags).err().map(|e| e.to_string()).as_deref(), expected);
        }
    }

    #[test]
    fn snapshot_tags_win_on_snapshots() {
        let given = Tags { tags: tags(&[("a", "1"), ("b", "1")]), snapshot_tags: tags(&[("b", "2")]) };
        let all = FinalTags::new(&given);
        assert_eq!(all.image, tags(&[("a", "1"), ("b", "1")]));
        assert_eq!(all.snapshots, tags(&[("a", "1"), ("b", "2")]));
    }
}
