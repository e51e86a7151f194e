use std::sync::Mutex;

use builder_core::decode::decode_json;
use builder_core::render::{Field, RenderError};
use builder_core::testing::{context_with, said};
use builder_core::{Deferred, Renderer, Stage, Taggable};
use serde_json::{Value, json};

use super::*;

/// Puts the text fields in; a field that is not there is an error.
#[derive(Debug)]
struct Fields;

impl Renderer for Fields {
    fn render(&self, template: &str, data: &RenderData) -> Result<String, RenderError> {
        let put = |text: String, (name, field): (&String, &Field)| match field {
            Field::Text(value) => text.replace(&format!("{{{{.{name}}}}}"), value),
            Field::Map(_) => text,
        };
        let text = data.fields.iter().fold(template.to_owned(), put);
        if text.contains("{{") {
            return Err(RenderError { message: format!("cannot render {text}"), offset: None });
        }
        Ok(text)
    }

    fn check(&self, _template: &str) -> Result<(), RenderError> {
        Ok(())
    }
}

/// An image that keeps its tags; tagging it takes a second.
#[derive(Debug, Default)]
struct Image {
    tags: Mutex<Tags>,
    refuses: bool,
    untaggable: bool,
}

#[async_trait]
impl Artifact for Image {
    fn builder_id(&self) -> &'static str {
        "test.cloud"
    }

    fn id(&self) -> String {
        "here:image-1".to_owned()
    }

    fn describe(&self) -> String {
        "an image".to_owned()
    }

    async fn destroy(&self, _cx: &BuildContext) -> Result<(), BuildError> {
        panic!("an artifact that was tagged is not thrown away");
    }

    fn as_taggable(&self) -> Option<&dyn Taggable> {
        (!self.untaggable).then_some(self)
    }
}

#[async_trait]
impl Taggable for Image {
    fn tag_data(&self) -> RenderData {
        RenderData::default().with("SourceAMI", "image-0")
    }

    async fn tag(&self, cx: &BuildContext, tags: &Tags) -> Result<(), BuildError> {
        cx.events.say("Adding tags to AMI (image-1)...");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if self.refuses {
            return Err(BuildError::failed("the cloud refuses the tag \"aws:x\""));
        }
        tags.clone_into(&mut self.tags.lock().unwrap());
        Ok(())
    }
}

fn prepare(config: &Value) -> Result<TagArtifact, Problems> {
    let cx = PrepareContext { build_name: "test", build_type: "test", force: false };
    TagArtifact::prepare(decode_json(config).unwrap(), cx)
}

#[test]
fn a_config_without_tags_is_refused() {
    let rows = [
        (json!({}), "", "there is nothing to tag with"),
        (json!({"tags": {}, "snapshot_tags": {}}), "", "there is nothing to tag with"),
        (json!({"tags": {"": "x"}}), "tags", "tags: a tag needs a key"),
        (json!({"tags": {"a": ""}, "snapshot_tags": {"": "x"}}), "snapshot_tags", "snapshot_tags: a tag needs a key"),
    ];
    for (json, path, message) in rows {
        let problems = prepare(&json).unwrap_err().0;
        assert_eq!(
            problems.iter().map(|p| (p.path.as_str(), p.message.as_str())).collect::<Vec<_>>(),
            [(path, message)]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tags_are_rendered_in_order_and_the_artifact_goes_on() {
    let rows = [
        (
            json!({"tags": {"Version": 7, "Name": "{{.BuildName}}_{{.SourceAMI}}", "Empty": ""}}),
            vec![("Version", "7"), ("Name", "test_image-0"), ("Empty", "")],
            vec![],
        ),
        (json!({"snapshot_tags": {"{{.BuilderType}}": "a"}}), vec![], vec![("test", "a")]),
        (json!({"tags": {"a": "1"}, "snapshot_tags": {"a": "2"}}), vec![("a", "1")], vec![("a", "2")]),
    ];
    for (json, tags, snapshot_tags) in rows {
        let (cx, mut events) = context_with(Arc::new(Fields)).await;
        let image = Arc::new(Image::default());
        let artifact: Arc<dyn Artifact> = image.clone();
        let done = prepare(&json).unwrap().post_process(&cx, artifact.clone()).await.unwrap();
        assert!(Arc::ptr_eq(&done.artifact.unwrap(), &artifact), "{json}");
        assert!(done.keep_input && done.must_keep_input, "{json}");
        let owned = |tags: Vec<(&str, &str)>| tags.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let expected = Tags { tags: owned(tags), snapshot_tags: owned(snapshot_tags) };
        assert_eq!(*image.tags.lock().unwrap(), expected, "{json}");
        assert_eq!(said(&mut events), ["==> Adding tags to AMI (image-1)..."], "{json}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_tagged_is_said_by_name_and_stays_untagged() {
    let good = || Image::default();
    let rows = [
        (
            json!({"tags": {"a": "1"}}),
            Image { untaggable: true, ..good() },
            "the artifact \"here:image-1\" of test.cloud cannot be tagged: leave its build out with `except`",
        ),
        (json!({"tags": {"a": "{{.Nope}}"}}), good(), "tags: cannot render {{.Nope}}"),
        (
            json!({"tags": {"a": "1"}, "snapshot_tags": {"{{.Nope}}": ""}}),
            good(),
            "snapshot_tags: cannot render {{.Nope}}",
        ),
        (json!({"tags": {"a": "1"}}), Image { refuses: true, ..good() }, "the cloud refuses the tag \"aws:x\""),
        (
            json!({"snapshot_tags": {"image-0": "1", "{{.SourceAMI}}": "2"}}),
            good(),
            "snapshot_tags: two tags have the key \"image-0\", one of them from `{{.SourceAMI}}`",
        ),
    ];
    for (json, image, expected) in rows {
        let (cx, _events) = context_with(Arc::new(Fields)).await;
        let image = Arc::new(image);
        let error = prepare(&json).unwrap().post_process(&cx, image.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{json}");
        assert_eq!(*image.tags.lock().unwrap(), Tags::default(), "{json}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_renders_to_nothing_is_refused() {
    let (mut cx, _events) = context_with(Arc::new(Fields)).await;
    cx.build_name = "".into();
    let config = Config { tags: [("{{.BuildName}}".into(), Deferred::new("x"))].into(), ..Config::default() };
    let error = TagArtifact(config).post_process(&cx, Arc::new(Image::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "tags: the key `{{.BuildName}}` is empty once it is rendered");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_does_not_wait_for_the_cloud() {
    let (cx, _events) = context_with(Arc::new(Fields)).await;
    let tags = prepare(&json!({"tags": {"a": "1"}})).unwrap();
    let image = Arc::new(Image::default());
    let cancel = async { cx.cancel.raise(Stage::Cancelled) };
    let (ended, ()) = tokio::join!(tags.post_process(&cx, image.clone()), cancel);
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(*image.tags.lock().unwrap(), Tags::default());
}
