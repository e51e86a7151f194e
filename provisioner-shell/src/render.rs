//! Rendering as Packer does it while provisioning: again and again until nothing changes any more, so that a value
//! that holds a template is rendered too.

use builder_core::{BuildContext, BuildError, Deferred, RenderData};

/// How often a text is rendered at most; one that still changes refers to itself.
const PASSES: usize = 10;

pub(crate) fn until_stable(text: &Deferred, cx: &BuildContext, data: &RenderData) -> Result<String, BuildError> {
    let mut text = text.clone();
    for _ in 0..PASSES {
        let rendered = text.render(&*cx.renderer, data)?;
        if rendered == text.template || !rendered.contains("{{") {
            return Ok(rendered);
        }
        text.template = rendered;
    }
    let place = if text.place.is_empty() { String::new() } else { format!("{}: ", text.place) };
    Err(BuildError::failed(format!("{place}the template still changes after {PASSES} passes: it seems to hold itself")))
}
