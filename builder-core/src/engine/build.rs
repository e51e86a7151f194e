//! One build: builder and provisioners, commit, reclaim, post-processors.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::post_process::{Chains, post_process};
use super::provision::Hook;
use super::{Answer, OnError, Outcome, PlannedBuild, Run};
use crate::artifact::Artifact;
use crate::context::BuildContext;
use crate::error::BuildError;
use crate::event::{ArtifactSummary, EventKind};
use crate::ledger::{Ledger, LedgerError, LeftBehind, ReclaimContext, Record, VERSION, reclaim};
use crate::secret::ExposeSecret as _;

impl Run {
    /// Runs one build to its end. A bug in one build is that build's failure: the others go on, and its ledger is kept.
    pub(super) async fn build_or_bug(&self, planned: PlannedBuild) -> Outcome {
        let build_name = planned.name.clone();
        let ended = caught(async { Ok(self.build(planned).await) }).await;
        ended.unwrap_or_else(|bug| {
            let error = bug.to_string();
            self.events.for_build(&build_name).emit(EventKind::BuildFailed {
                error: error.clone(),
                artifacts: Vec::new(),
                elapsed: std::time::Duration::ZERO,
                cancelled: false,
            });
            Outcome {
                build_name,
                build_id: String::new(),
                artifacts: Vec::new(),
                error: Some(error),
                cancelled: false,
                left_behind: Vec::new(),
            }
        })
    }

    /// Runs one build to its end, whatever that is.
    async fn build(&self, planned: PlannedBuild) -> Outcome {
        for secret in &planned.secrets {
            self.redactor.add(secret.expose_secret());
        }
        let build_id = self.names.build_id(&self.clock);
        let begun = tokio::time::Instant::now();
        let events = self.events.for_build(&planned.name);
        let mut outcome = Outcome {
            build_name: planned.name.clone(),
            build_id: build_id.clone(),
            artifacts: Vec::new(),
            error: None,
            cancelled: false,
            left_behind: Vec::new(),
        };
        events.emit(EventKind::BuildStarted { build_id: build_id.clone(), build_type: planned.build_type.clone() });
        let ended = match self.context(&planned, &build_id).await {
            Ok(cx) => self.stages(planned, &cx, &mut outcome).await,
            Err(e) => Err(e.into()),
        };
        let elapsed = begun.elapsed();
        if !outcome.left_behind.is_empty() {
            let resources = outcome.left_behind.clone();
            events.emit(EventKind::LeftBehind { build_id, resources });
        }
        let artifacts = outcome.artifacts.clone();
        match ended {
            Ok(()) => events.emit(EventKind::BuildFinished { artifacts, elapsed }),
            Err(e) => {
                outcome.cancelled = e.is_cancelled();
                let error = self.redactor.redact(&e.to_string());
                outcome.error = Some(error.clone());
                events.emit(EventKind::BuildFailed { error, artifacts, elapsed, cancelled: outcome.cancelled });
            }
        }
        outcome
    }

    async fn context(&self, planned: &PlannedBuild, build_id: &str) -> Result<BuildContext, LedgerError> {
        let events = self.events.for_build(&planned.name);
        let begin = Record::Begin {
            version: VERSION,
            build_id: build_id.to_owned(),
            build_name: planned.name.clone(),
            build_type: planned.build_type.clone(),
            started: self.clock.now(),
            pid: std::process::id(),
        };
        let ledger = Ledger::begin(self.store.create(build_id)?, events.clone(), begin).await?;
        Ok(BuildContext {
            build_id: build_id.into(),
            build_name: planned.name.as_str().into(),
            build_type: planned.build_type.as_str().into(),
            events,
            ledger,
            clock: self.clock,
            cancel: self.cancel.clone(),
            renderer: planned.renderer.clone(),
            redactor: self.redactor.clone(),
            names: self.names.clone(),
            environment: self.environment.clone(),
            force: self.force,
        })
    }

    async fn stages(&self, planned: PlannedBuild, cx: &BuildContext, outcome: &mut Outcome) -> Result<(), BuildError> {
        let hook = Hook::new(&planned, self);
        let built = match cx.cancel.check() {
            Ok(()) => caught(planned.builder.it.run(cx, &hook)).await,
            Err(cancelled) => Err(cancelled.into()),
        };
        let (built, reclaims) = match built {
            // From here on the artifact is the user's, whatever fails after it.
            Ok(artifact) => {
                if let Err(e) = cx.ledger.commit().await {
                    cx.events.warning(e.to_string());
                }
                (Ok(artifact), true)
            }
            Err(e) => {
                let reclaims = self.after_error(&planned, &hook, cx, &e).await;
                (Err(e), reclaims)
            }
        };
        drop(hook);
        outcome.left_behind = if reclaims { self.reclaim(&planned, cx).await } else { remaining(&cx.ledger) };
        let processed = match built {
            Ok(Some(artifact)) => self.post_process(&planned, cx, artifact.into(), outcome).await,
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        // A journal that cannot be closed stays for `gaia cleanup`, which then finds nothing to do.
        if let Err(e) = cx.ledger.end() {
            cx.events.warning(e.to_string());
        }
        processed
    }

    /// What `-on-error` asks for; gives whether to reclaim.
    async fn after_error(
        &self,
        planned: &PlannedBuild,
        hook: &Hook<'_>,
        cx: &BuildContext,
        error: &BuildError,
    ) -> bool {
        if !error.is_cancelled() {
            cx.events.error(error.to_string());
        }
        let choice = match self.on_error {
            OnError::Ask if error.is_cancelled() => OnError::Cleanup,
            OnError::Ask => {
                let answer = match hook.answer() {
                    Some(answer) => Some(answer),
                    None => self.ask.ask(&planned.name, &error.to_string(), false).await,
                };
                if answer == Some(Answer::Abort) { OnError::Abort } else { OnError::Cleanup }
            }
            other => other,
        };
        if choice != OnError::Abort && !error.is_cancelled() {
            hook.run_error_cleanup(cx).await;
        }
        choice == OnError::Cleanup
    }

    async fn reclaim(&self, planned: &PlannedBuild, cx: &BuildContext) -> Vec<String> {
        if cx.ledger.replay().remaining().is_empty() {
            return Vec::new();
        }
        let cx = cx.for_cleanup();
        let why_not = match caught(planned.builder.it.reclaimer(&cx)).await {
            Ok(reclaimer) => {
                let reclaiming = ReclaimContext {
                    build_id: cx.build_id.clone(),
                    events: cx.events.clone(),
                    cancel: cx.cancel.clone(),
                    recent: true,
                };
                let left = reclaim(&cx.ledger, &*reclaimer, &reclaiming).await;
                return left.iter().map(LeftBehind::to_string).collect();
            }
            Err(e) => e.to_string(),
        };
        cx.events.error(format!("cannot clean up: {why_not}"));
        remaining(&cx.ledger)
    }

    async fn post_process(
        &self,
        planned: &PlannedBuild,
        cx: &BuildContext,
        artifact: Arc<dyn Artifact>,
        outcome: &mut Outcome,
    ) -> Result<(), BuildError> {
        if let Err(cancelled) = cx.cancel.check() {
            outcome.artifacts = vec![artifact.summary()];
            return Err(cancelled.into());
        }
        let Chains { kept, error } = post_process(&planned.post_processors, cx, artifact).await;
        outcome.artifacts = kept.iter().map(|a| a.summary()).collect::<Vec<ArtifactSummary>>();
        error.map_or(Ok(()), Err)
    }
}

fn remaining(ledger: &Ledger) -> Vec<String> {
    ledger.replay().remaining().iter().map(ToString::to_string).collect()
}

/// The result of a plugin's work; a panic in it is a bug that must not cost the clean-up.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, BuildError>>) -> Result<T, BuildError> {
    std::panic::AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref().cloned());
        let text = text.unwrap_or_else(|| "no message".to_owned());
        Err(BuildError::failed(format!("a bug in gaia or in a plugin ended the build: {text}; please report it")))
    })
}
