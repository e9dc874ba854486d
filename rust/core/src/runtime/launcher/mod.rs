//! Begins and stops attempts: native ones on tokio, Python ones by asking the bridge.

mod openings;
mod prepare;
mod threads;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::runtime::Runtime as Tokio;
use tokio::task::AbortHandle;

use super::admission_queue::FILE_OPEN_TIMEOUT;
use super::completions::{CallbackRequest, Completions, SecretRequest};
use super::inbox::{Inbox, Op};
use super::progress_board::ProgressBoard;
use super::situation::SharedSituation;
use crate::engine::StopReason;
use crate::model::spec::{TaskSpec, WorkerSpec};
use crate::model::{ErrorCode, Failure, Fault, FaultCode, Outcome, TaskKey};
use crate::source::PathPolicy;
use crate::store::Body;
use crate::sync;
use crate::transfer::{Targets, Transfers};
use openings::Openings;
use prepare::secrets_of;

/// Threads that could not be had are not asked for again within this.
const THREADS_AGAIN: Duration = Duration::from_secs(5);

/// One attempt that is to begin.
pub(super) struct Attempt {
    pub(super) key: TaskKey,
    pub(super) number: u32,
    pub(super) mark_percent: u8,
    pub(super) task_id: String,
    pub(super) spec: TaskSpec,
    pub(super) body: Body,
}

/// Why the secrets of an attempt cannot be had.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// For people; never a secret.
    pub message: String,
    /// Whether they may be had later.
    pub retry: bool,
}

/// What the transfers of a manager have in common.
pub(super) struct TransferOptions {
    pub(super) targets: Arc<Targets>,
    pub(super) paths: Arc<PathPolicy>,
    pub(super) client: Transfers,
}

/// Begins and stops attempts.
pub(super) struct Launcher {
    shared: Arc<Shared>,
    /// Made by the first native attempt: a manager that only queues starts no threads.
    tokio: OnceLock<Tokio>,
    /// Why there are no threads, and since when.
    refused: Mutex<Option<(Instant, Fault)>>,
    native: Mutex<Natives>,
}

/// What an attempt under way needs.
struct Shared {
    options: TransferOptions,
    board: Arc<ProgressBoard>,
    inbox: Arc<Inbox>,
    completions: Completions,
    situation: Arc<SharedSituation>,
    openings: Openings,
}

/// The native attempts that are under way, by task and number.
type Natives = FxHashMap<(TaskKey, u32), Native>;

enum Native {
    /// Waits for the bridge to resolve its secrets.
    Waiting(Box<Attempt>),
    /// On tokio.
    Running(AbortHandle),
}

impl Launcher {
    pub(super) fn new(
        options: TransferOptions,
        board: Arc<ProgressBoard>,
        inbox: Arc<Inbox>,
        completions: Completions,
        situation: Arc<SharedSituation>,
    ) -> Self {
        let openings = Openings::new(FILE_OPEN_TIMEOUT);
        let shared = Shared { options, board, inbox, completions, situation, openings };
        Self {
            shared: Arc::new(shared),
            tokio: OnceLock::new(),
            refused: Mutex::default(),
            native: Mutex::default(),
        }
    }

    /// Begins an attempt. Its outcome arrives in the inbox.
    pub(super) fn start(&self, attempt: Attempt) {
        match &attempt.spec.worker {
            WorkerSpec::Python(python) => {
                let request = CallbackRequest {
                    key: attempt.key,
                    attempt: attempt.number,
                    callback_id: python.callback_id.clone(),
                    input: python.input.clone(),
                    task_id: attempt.task_id,
                };
                self.shared.completions.push(|batch| batch.callbacks.push_back(request));
            }
            WorkerSpec::HttpUpload(upload) => {
                let secrets = secrets_of(upload);
                if secrets.is_empty() {
                    return self.launch(&mut self.lock(), attempt, Vec::new());
                }
                let (key, number) = (attempt.key, attempt.number);
                self.lock().insert((key, number), Native::Waiting(Box::new(attempt)));
                let request = SecretRequest { key, attempt: number, secrets };
                self.shared.completions.push(|batch| batch.secrets.push_back(request));
            }
        }
    }

    /// The bridge has resolved the secrets of an attempt, with their prefixes, or says why not.
    pub(super) fn provide(
        &self,
        key: TaskKey,
        number: u32,
        secrets: Result<Vec<String>, Withheld>,
    ) {
        // One lock from the look to the launch: a stop comes before both or after both.
        let mut native = self.lock();
        let Some(Native::Waiting(attempt)) = native.remove(&(key, number)) else { return };
        match secrets {
            Ok(values) => self.launch(&mut native, *attempt, values),
            Err(Withheld { message, retry }) => {
                let failure = Failure::new(ErrorCode::SecretUnavailable, message);
                let outcome =
                    if retry { Outcome::Retry(failure) } else { Outcome::Failed(failure) };
                self.shared.ended(key, number, outcome);
            }
        }
    }

    /// Stops an attempt; nobody waits for its outcome any more.
    pub(super) fn stop(&self, key: TaskKey, number: u32, native: bool, why: StopReason) {
        if !native {
            return self.shared.completions.push(|batch| batch.stops.push((key, number, why)));
        }
        if let Some(Native::Running(handle)) = self.lock().remove(&(key, number)) {
            handle.abort();
        }
    }

    /// The attempt has ended by itself.
    pub(super) fn forget(&self, key: TaskKey, number: u32) {
        self.lock().remove(&(key, number));
    }

    fn launch(&self, native: &mut Natives, attempt: Attempt, secrets: Vec<String>) {
        let (key, number) = (attempt.key, attempt.number);
        let tokio = match self.tokio() {
            Ok(tokio) => tokio,
            Err(fault) => {
                // It is the host's state, and no fault of the task.
                let failure = Failure::new(ErrorCode::Unknown, fault.to_string());
                return self.shared.ended(key, number, Outcome::Retry(failure));
            }
        };
        let shared = Arc::clone(&self.shared);
        let work = tokio.spawn(async move {
            let panic_report = PanicReport { shared: &shared, key, number };
            let outcome = shared.transfer(attempt, secrets).await;
            drop(panic_report);
            shared.ended(key, number, outcome);
        });
        native.insert((key, number), Native::Running(work.abort_handle()));
    }

    fn tokio(&self) -> Result<&Tokio, Fault> {
        if let Some(tokio) = self.tokio.get() {
            return Ok(tokio);
        }
        let mut refused = sync::lock(&self.refused);
        if let Some((at, fault)) = &*refused
            && at.elapsed() < THREADS_AGAIN
        {
            return Err(fault.clone());
        }
        match threads::of_transfers() {
            Ok(tokio) => Ok(self.tokio.get_or_init(|| tokio)),
            Err(fault) => {
                *refused = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// The connections that nobody uses are closed.
    pub(super) fn forget_idle(&self) {
        self.shared.options.client.forget_idle();
    }

    // LOCKING: held for look-ups and for spawning, never across an await.
    fn lock(&self) -> MutexGuard<'_, Natives> {
        sync::lock(&self.native)
    }
}

impl Drop for Launcher {
    /// Ends the threads of the transfers; what they still do is given up.
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

/// Ends an attempt whose transfer panics. One that is stopped by us is dropped without an outcome.
struct PanicReport<'a> {
    shared: &'a Shared,
    key: TaskKey,
    number: u32,
}

impl Drop for PanicReport<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = Failure::new(
                ErrorCode::Unknown,
                "Unknown error: a mistake of outhaul's own ended the transfer; please report what \
                 stands on the standard error stream",
            );
            // It may have to do with the moment: another attempt tells.
            self.shared.ended(self.key, self.number, Outcome::Retry(failure));
        }
    }
}

impl Shared {
    fn ended(&self, key: TaskKey, attempt: u32, outcome: Outcome) {
        self.inbox.push(Op::Outcome { key, attempt, outcome });
    }

    /// One native attempt, from opening the file to the server's answer.
    async fn transfer(&self, attempt: Attempt, secrets: Vec<String>) -> Outcome {
        let WorkerSpec::HttpUpload(upload) = &attempt.spec.worker else {
            let message = "a worker that is not native was started as one";
            return Outcome::Failed(Failure::new(ErrorCode::Unknown, message));
        };
        let job = match self.prepare(&attempt, upload, secrets).await {
            Ok(job) => job,
            Err(outcome) => return outcome,
        };
        let outcome = self.options.client.upload(job.upload).await;
        if matches!(outcome, Outcome::Succeeded(_)) {
            job.reporter.answered();
        }
        outcome
    }
}

fn failed(fault: &Fault) -> Outcome {
    let code = match fault.code {
        FaultCode::FileNotFound => ErrorCode::FileNotFound,
        FaultCode::PermissionDenied => ErrorCode::PermissionDenied,
        FaultCode::SecurityViolation => ErrorCode::SecurityViolation,
        _ => ErrorCode::Unknown,
    };
    Outcome::Failed(Failure::new(code, fault.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::model::spec::{
        BodyKind, ConstraintsSpec, ExistingPolicy, HttpUploadSpec, RetrySpec, TriggerSpec,
        UploadMethod,
    };
    use crate::model::{Clock, Now};
    use crate::runtime::KnownCallbacks;
    use crate::runtime::SystemClock;
    use crate::runtime::admission::Admission;
    use crate::transfer::{AddressPolicy, Config};

    /// A clock that works for nobody who moves bytes.
    struct Broken(SystemClock);

    impl Clock for Broken {
        fn now(&self) -> Now {
            let is_transfer = std::thread::current().name() == Some("outhaul-transfer");
            assert!(!is_transfer, "as a mistake would");
            self.0.now()
        }
    }

    fn shared(clock: Arc<dyn Clock>) -> Shared {
        let completions = Completions::new().unwrap();
        Shared {
            options: TransferOptions {
                targets: Arc::new(Targets::new(AddressPolicy::permissive())),
                paths: Arc::new(PathPolicy::anywhere()),
                client: Transfers::new(Config::new(Arc::clone(&clock))).unwrap(),
            },
            board: Arc::new(ProgressBoard::new(completions.clone())),
            inbox: Arc::default(),
            completions,
            situation: Arc::new(SharedSituation::new(clock, 0)),
            openings: Openings::new(FILE_OPEN_TIMEOUT),
        }
    }

    /// An attempt to send that file.
    fn attempt(file: &Path, situation: Arc<SharedSituation>) -> Attempt {
        let upload = HttpUploadSpec {
            url: "http://127.0.0.1:9/".to_owned(),
            file_path: file.to_str().unwrap().to_owned(),
            method: UploadMethod::Post,
            body: BodyKind::Raw,
            field_name: "file".to_owned(),
            file_name: None,
            mime_type: None,
            headers: Vec::new(),
            fields: Vec::new(),
            connect_timeout_ms: 1000,
            stall_timeout_ms: 1000,
            response_timeout_ms: 1000,
        };
        let retry =
            RetrySpec { max_retries: 0, initial_delay_ms: 0, multiplier: 1.0, max_delay_ms: 0 };
        let spec = TaskSpec {
            task_id: None,
            worker: WorkerSpec::HttpUpload(upload),
            trigger: TriggerSpec::OneTime { initial_delay_ms: 0 },
            constraints: ConstraintsSpec { network_type: None, battery_not_low: false },
            existing_policy: ExistingPolicy::Keep,
            retry,
            tag: None,
            priority: 0,
        };
        let admission = Admission {
            paths: Arc::new(PathPolicy::anywhere()),
            targets: Arc::new(Targets::new(AddressPolicy::permissive())),
            allow_http: false,
            callbacks: KnownCallbacks::new([], false),
            situation,
        };
        let task = admission.admit(&rmp_serde::to_vec(&spec).unwrap().into()).unwrap();
        let body = Body { task_id: None, tag: None, spec: task.spec, admitted: task.admitted };
        Attempt { key: 7, number: 2, mark_percent: 0, task_id: "x".to_owned(), spec, body }
    }

    #[test]
    fn an_attempt_whose_transfer_panics_on_its_own_thread_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shared = Arc::new(shared(Arc::new(Broken(SystemClock::new()))));
        let launcher = Launcher {
            refused: Mutex::default(),
            shared: Arc::clone(&shared),
            tokio: OnceLock::new(),
            native: Mutex::default(),
        };
        launcher.start(attempt(file.path(), Arc::clone(&shared.situation)));
        let ops = shared.inbox.take(8, Duration::from_secs(20));
        let [Op::Outcome { key: 7, attempt: 2, outcome: Outcome::Retry(failure) }] = ops.as_slice()
        else {
            panic!("{ops:?}")
        };
        assert!(failure.message.contains("a mistake of outhaul's own"), "{}", failure.message);
    }

    #[test]
    fn a_transfer_that_is_stopped_has_no_outcome() {
        let shared = shared(Arc::new(SystemClock::new()));
        drop(PanicReport { shared: &shared, key: 7, number: 2 });
        assert!(shared.inbox.take(8, Duration::ZERO).is_empty());
    }
}
