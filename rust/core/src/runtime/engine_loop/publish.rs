//! What a batch leads to, once it is on disk: answers, starts, stops, news.

use super::{EngineLoop, RunningAttempt};
use crate::engine::StopReason;
use crate::model::spec::{RetrySpec, TaskSpec, WorkerSpec};
use crate::model::task_id::id_of;
use crate::model::{ErrorCode, Failure, Outcome, TaskKey};
use crate::runtime::completions::{FailedTask, Reply, Ticket};
use crate::runtime::inbox::Op;
use crate::runtime::launcher::Attempt;
use crate::runtime::progress_board::AttemptPercent;
use crate::store::Body;

/// What one batch leads to, once it is on disk.
#[derive(Default)]
pub(super) struct Publication {
    pub(super) replies: Vec<(Ticket, Reply)>,
    pub(super) actions: Vec<Action>,
    /// Attempts whose outcome is on disk.
    pub(super) outcomes: Vec<TaskKey>,
    pub(super) ended: Vec<TaskKey>,
    /// Attempts that completed their task, whose 100 % may be shown.
    pub(super) completed: Vec<AttemptPercent>,
    /// Tasks that have failed.
    pub(super) failed: Vec<FailedTask>,
    /// Whether an event was recorded.
    pub(super) news: bool,
}

/// What is to be done about attempts, in the order it was decided: one batch may begin an attempt
/// and stop it again.
pub(super) enum Action {
    /// Begin one.
    Start(Claim),
    /// Stop one, whose outcome nobody waits for.
    Stop { key: TaskKey, number: u32, why: StopReason },
}

/// An attempt that begins once its claim is on disk.
pub(super) struct Claim {
    pub(super) key: TaskKey,
    pub(super) number: u32,
    pub(super) mark_percent: u8,
    pub(super) body: Option<Body>,
}

impl Claim {
    fn attempt(self) -> Result<Attempt, String> {
        let Self { key, number, mark_percent, body } = self;
        let body = body.ok_or("Unknown error: the stored task has lost its body")?;
        let spec = TaskSpec::read(&body.spec)
            .map_err(|error| format!("Unknown error: the stored task cannot be read ({error})"))?;
        let task_id = id_of(key, body.task_id.as_deref());
        Ok(Attempt { key, number, mark_percent, task_id, spec, body })
    }
}

impl EngineLoop {
    /// It is on disk: answers, starts, stops, tells.
    pub(super) fn publish(&mut self, publication: Publication) {
        if !self.is_runner() {
            self.engine.forget();
        }
        for key in &publication.outcomes {
            self.running.remove(key);
        }
        self.parts.board.release(&publication.completed);
        for key in &publication.ended {
            self.parts.board.retire(*key);
        }
        let replies = publication.replies;
        self.parts.completions.push(|batch| batch.replies.extend(replies));
        self.parts.completions.tell_failed(publication.failed);
        for action in publication.actions {
            match action {
                Action::Start(claim) => self.start(claim),
                Action::Stop { key, number, why } => {
                    let native = self.running.remove(&key).is_none_or(|running| running.native);
                    self.parts.launcher.stop(key, number, native, why);
                }
            }
        }
        if publication.news {
            self.parts.readers.committed(Some(publication.ended));
        }
        self.checkpoint();
    }

    /// Sees to the WAL after a commit.
    pub(super) fn checkpoint(&mut self) {
        if let Err(fault) = self.parts.checkpoints.after_commit(&self.parts.store) {
            self.parts.completions.report(fault);
        }
    }

    /// Begins an attempt whose claim is on disk. A body that cannot be read fails its own task
    /// only.
    fn start(&mut self, claim: Claim) {
        let (key, number) = (claim.key, claim.number);
        match claim.attempt() {
            Ok(attempt) => {
                let native = matches!(attempt.spec.worker, WorkerSpec::HttpUpload(_));
                let running = RunningAttempt { number, native, retry: attempt.spec.retry };
                self.running.insert(key, running);
                self.parts.launcher.start(attempt);
            }
            Err(message) => {
                let retry = RetrySpec {
                    max_retries: 0,
                    initial_delay_ms: 0,
                    multiplier: 1.0,
                    max_delay_ms: 0,
                };
                self.running.insert(key, RunningAttempt { number, native: true, retry });
                let outcome = Outcome::Failed(Failure::new(ErrorCode::Unknown, message));
                self.parts.inbox.push(Op::Outcome { key, attempt: number, outcome });
            }
        }
    }
}
