//! The steps of a build, each a function that the builder calls in order. None keeps state or cleans up.

pub(crate) mod connect;
pub(crate) mod copy;
pub(crate) mod find;
pub(crate) mod image;
pub(crate) mod key_pair;
pub(crate) mod launch;
pub(crate) mod network;
pub(crate) mod replace;
pub(crate) mod security_group;
pub(crate) mod share;
pub(crate) mod stop;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types::Filter;
use builder_core::ledger::{CreateError, Created, NewResource};
use builder_core::render::render_map;
use builder_core::{BuildContext, BuildError, Cancelled, Deferred, DeferredMap, RenderData};

use crate::api_error::ApiError;
use crate::cloud::{Cloud, Regional};
use crate::config::Settings;

/// What every step has at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage<'a> {
    /// The build.
    pub(crate) cx: &'a BuildContext,
    /// What it is to do.
    pub(crate) settings: &'a Settings,
    /// EC2.
    pub(crate) cloud: &'a Arc<Cloud>,
    /// EC2 in the build region.
    pub(crate) home: &'a Arc<Regional>,
}

impl Stage<'_> {
    /// Renders tags.
    pub(crate) fn tags(
        &self,
        what: &str,
        map: &DeferredMap,
        data: &RenderData,
    ) -> Result<Vec<(String, String)>, BuildError> {
        Ok(render_map(what, map, &*self.cx.renderer, data)?)
    }

    /// Creates a resource through the ledger. A cancellation lets the call come to its end, since one that is dropped on its way may
    /// still take effect; only hurry drops it, and then the clean-up looks for what it made.
    pub(crate) async fn create<T>(
        &self,
        new: NewResource,
        call: impl Future<Output = Result<Created<T>, CreateError>>,
    ) -> Result<T, BuildError> {
        let cancel = self.cx.cancel.for_cleanup();
        let call = async {
            let cut_short = |e: Cancelled| CreateError { error: e.into(), refused: false };
            cancel.run(Box::pin(call)).await.map_err(cut_short)?
        };
        let created = self.cx.ledger.create(new, call).await;
        // A wait inside the call that was cut short ends with EC2's last word, which is not why the build ends.
        created.map_err(|e| if self.cx.cancel.is_cancelled() { BuildError::Cancelled } else { e })
    }

    /// Renders a text.
    pub(crate) fn text(&self, text: &Deferred, data: &RenderData) -> Result<String, BuildError> {
        Ok(text.render(&*self.cx.renderer, data)?)
    }
}

/// Runs two steps at once; what the second one says comes after what the first one says. Both are seen to their end, since a create
/// that is dropped on its way may still take effect.
pub(crate) async fn both<A, B, F: Future<Output = Result<B, BuildError>>>(
    cx: &BuildContext,
    first: impl Future<Output = Result<A, BuildError>>,
    second: impl FnOnce(BuildContext) -> F,
) -> Result<(A, B), BuildError> {
    let (events, held) = cx.events.hold();
    // The SDK's futures are large: on the heap, they do not fill the stack of whoever polls them.
    let second = Box::pin(second(cx.with_events(events)));
    let first = Box::pin(async {
        let result = first.await;
        held.release().await;
        result
    });
    let (first, second) = tokio::join!(first, second);
    Ok((first?, second?))
}

/// Repeats a call while EC2 answers with one of these codes, which it does for a moment after something was made.
pub(crate) async fn once_visible<T, F: Future<Output = Result<T, ApiError>>>(
    cx: &BuildContext,
    codes: &[&str],
    mut call: impl FnMut() -> F,
) -> Result<T, ApiError> {
    let mut pause = Duration::from_millis(200);
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match call().await {
            Err(e) if e.is(codes) && tokio::time::Instant::now() < until => {
                if cx.cancel.sleep(pause).await.is_err() {
                    return Err(e);
                }
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            result => return result,
        }
    }
}

/// A create that failed after an earlier try of it may have taken effect: the clean-up has to look.
pub(crate) fn unsure(error: ApiError) -> CreateError {
    CreateError { error: error.into(), refused: false }
}

/// A filter of a Describe call with one value.
pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// The filters of a template: several values are separated by commas.
pub(crate) fn filters<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<Filter> {
    let filter = |(name, values): (&String, &String)| {
        Filter::builder().name(name).set_values(Some(values.split(',').map(str::to_owned).collect())).build()
    };
    map.into_iter().map(filter).collect()
}

/// Filters, in the words of an error.
pub(crate) fn in_words<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    map.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
