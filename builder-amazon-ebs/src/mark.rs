//! The mark of a build on everything it makes, and the tag specifications that carry it.

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use builder_core::BuildContext;
use jiff::ToSpan as _;

/// The tag that says which build made a resource.
pub(crate) const BUILD_TAG: &str = "gaia:build";

/// The tag that says from when on a resource is surely forgotten.
pub(crate) const EXPIRES_TAG: &str = "gaia:expires";

/// Tags for temporary resources: the user's, then the build's mark, which nobody overrides.
pub(crate) fn marked(cx: &BuildContext, tags: &[(String, String)]) -> Vec<(String, String)> {
    let expires = cx.clock.start().checked_add(24.hours()).unwrap_or_else(|_| cx.clock.start());
    let mut tags: Vec<_> = tags.iter().filter(|(k, _)| k != BUILD_TAG && k != EXPIRES_TAG).cloned().collect();
    tags.push((BUILD_TAG.to_owned(), cx.build_id.to_string()));
    tags.push((EXPIRES_TAG.to_owned(), expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
    tags
}

/// The mark in an image's description, until the user's own description takes its place.
///
/// An image carries the user's tags and no others from its first moment, since the policy that a build must do with has no
/// `ec2:DeleteTags` to take a bookkeeping tag off again; so its mark stands here.
pub(crate) fn description(build_id: &str) -> String {
    format!("{BUILD_TAG}={build_id}")
}

/// A tag of the SDK.
pub(crate) fn tag((key, value): &(String, String)) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Tags for one type of resource in a create call; none if there are none, as EC2 refuses an empty list.
pub(crate) fn specification(resource: ResourceType, tags: &[(String, String)]) -> Option<TagSpecification> {
    let specification =
        TagSpecification::builder().resource_type(resource).set_tags(Some(tags.iter().map(tag).collect()));
    (!tags.is_empty()).then(|| specification.build())
}
