//! Post-processors: chains that start from the builder's artifact, and which artifacts are kept.
//!
//! As in Packer, but for one thing: after an error nothing is thrown away.

use std::sync::Arc;

use super::PlannedPostProcessor;
use super::build::caught;
use crate::artifact::Artifact;
use crate::context::BuildContext;
use crate::error::BuildError;

/// What all chains together leave.
pub(super) struct Chains {
    /// The artifacts that exist, the builder's first.
    pub(super) kept: Vec<Arc<dyn Artifact>>,
    /// What went wrong, if something did.
    pub(super) error: Option<BuildError>,
}

/// Runs the chains one after the other. A chain ends at its first error; the others still run.
pub(super) async fn post_process(
    chains: &[Vec<PlannedPostProcessor>],
    cx: &BuildContext,
    artifact: Arc<dyn Artifact>,
) -> Chains {
    let mut errors = Vec::new();
    let mut kept: Vec<Arc<dyn Artifact>> = Vec::new();
    // Destroyed only at the very end, and only if nothing failed.
    let mut spent: Vec<Arc<dyn Artifact>> = Vec::new();
    let mut keep_original = chains.iter().all(Vec::is_empty);
    for chain in chains {
        let mut current = artifact.clone();
        for (i, planned) in chain.iter().enumerate() {
            if cx.cancel.is_cancelled() {
                errors.push(BuildError::Cancelled);
                break;
            }
            cx.events.say(format!("Running post-processor: {}", planned.name));
            let done = match caught(planned.post_processor.it.post_process(cx, current.clone())).await {
                Ok(done) => done,
                Err(e) => {
                    cx.events.error(format!("Post-processor failed: {e}"));
                    errors.push(e);
                    break;
                }
            };
            let keep = done.must_keep_input || planned.keep_input.unwrap_or(done.keep_input);
            match (i, keep) {
                (0, keep) => keep_original |= keep,
                (_, true) => kept.push(current.clone()),
                (_, false) => spent.push(current.clone()),
            }
            match done.artifact {
                Some(next) => current = next,
                None => break,
            }
        }
        kept.push(current);
    }
    if keep_original || !errors.is_empty() {
        kept.insert(0, artifact);
    } else {
        spent.insert(0, artifact);
    }
    if errors.is_empty() {
        spent.retain(|old| !kept.iter().any(|k| Arc::ptr_eq(k, old)));
        for old in &spent {
            if let Err(e) = old.destroy(cx).await {
                errors.push(BuildError::failed(format!("cannot remove the artifact {}: {e}", old.id())));
                kept.push(old.clone());
            }
        }
    } else {
        kept.append(&mut spent);
    }
    Chains { kept: distinct(kept), error: combine(&errors) }
}

/// The same artifact comes up more than once where a post-processor passes it through.
fn distinct(artifacts: Vec<Arc<dyn Artifact>>) -> Vec<Arc<dyn Artifact>> {
    let mut seen: Vec<Arc<dyn Artifact>> = Vec::new();
    for artifact in artifacts {
        if !seen.iter().any(|s| Arc::ptr_eq(s, &artifact)) {
            seen.push(artifact);
        }
    }
    seen
}

fn combine(errors: &[BuildError]) -> Option<BuildError> {
    if errors.is_empty() {
        return None;
    }
    if errors.iter().all(BuildError::is_cancelled) {
        return Some(BuildError::Cancelled);
    }
    let failed: Vec<_> = errors.iter().filter(|e| !e.is_cancelled()).collect();
    let mut text = format!("{} error(s) occurred:", failed.len());
    for error in failed {
        text.push_str("\n\n* Post-processor failed: ");
        text.push_str(&error.to_string());
    }
    Some(BuildError::failed(text))
}
