//! The threads, the clock, the queues: where decisions meet the world.
//!
//! ```text
//! calls ──▶ ingress, admissions (admission) ──▶ inbox ──▶ engine loop ──▶ store (one fsync a batch)
//!                                  ▲             │
//!                    launcher ─────┘◀────────────┤ starts, stops
//!                    (tokio)                     ▼
//! questions ──▶ readers ───────────────▶ completions ──▶ eventfd ──▶ Python
//! ```

mod admission;
mod admission_queue;
mod checkpoints;
mod clock;
mod completions;
mod engine_loop;
mod inbox;
mod ingress;
mod launcher;
mod lock;
mod progress_board;
mod readers;
mod replies;
mod reporter;
mod situation;
mod supervisor;
mod upload_body;

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::engine::Limits;
use crate::model::constraint::{NETWORK, Needs, SIGNALS_KNOWN};
use crate::model::{Clock, Fault, FaultCode, Outcome, TaskKey};
use crate::source::PathPolicy;
use crate::store::sqlite::{Durability, Retention, SqliteStore};
use crate::store::{RunnerInfo, Selection};
use crate::transfer::{AddressPolicy, Config, IDLE_MAX, Targets, Transfers};
use admission::Admission;
use checkpoints::Checkpoints;
use engine_loop::{EngineLoop, LoopParts};
use inbox::{Inbox, Op};
use ingress::Ingress;
use launcher::{Launcher, TransferOptions};
use lock::LockSlot;
use readers::Readers;
use situation::SharedSituation;
use supervisor::Supervisor;

pub use admission::KnownCallbacks;
pub use clock::{ManualClock, SystemClock};
pub use completions::{
    Batch, CallbackRequest, Completions, Reply, ReplyValue, SecretRequest, Ticket,
};
pub use launcher::Withheld;
pub use lock::release_locks_after_fork;
pub use progress_board::{ProgressBoard, ProgressFilter};
pub use readers::Query;

/// How a manager is opened.
pub struct Options {
    /// Where the store is.
    pub path: PathBuf,
    /// What a commit survives.
    pub durability: Durability,
    /// The bounds.
    pub limits: Limits,
    /// How long what has ended is kept.
    pub keep: Retention,
    /// Whether this process runs tasks, as soon as no other does.
    pub run: bool,
    /// Where files may lie; empty means anywhere.
    pub allowed_roots: Vec<PathBuf>,
    /// Where bytes may go.
    pub addresses: AddressPolicy,
    /// Whether `http://` may leave the host.
    pub allow_http: bool,
    /// Certificates to trust instead of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The callbacks that tasks may name.
    pub callbacks: KnownCallbacks,
    /// Of these, the ones registered here.
    pub registered: Vec<String>,
    /// The constraint bits that do not hold until `set_unmet` says which do.
    pub unmet: Needs,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// This process, for people who read the store.
    pub runner: RunnerInfo,
}

/// An open manager, as its binding sees it. Every method returns at once; answers are completions.
pub struct Runtime {
    ingress: Ingress,
    inbox: Arc<Inbox>,
    readers: Arc<Readers>,
    /// The engine loop's: gone with it, and with it the threads and connections of transfers.
    launcher: Weak<Launcher>,
    board: Arc<ProgressBoard>,
    situation: Arc<SharedSituation>,
    completions: Completions,
    is_forked: AtomicBool,
}

impl Runtime {
    /// Opens the store, takes up what it has, and starts the threads. Blocks on the disk.
    pub fn open(options: Options) -> Result<Self, Fault> {
        let store = SqliteStore::open(&options.path, options.durability)?;
        // As SQLite names its files: two spellings of one store must not be two locks.
        let path = canonical(&options.path)?;
        let completions = Completions::new()?;
        let inbox = Arc::new(Inbox::default());
        let board = Arc::new(ProgressBoard::new(completions.clone()));
        let situation = Arc::new(SharedSituation::new(
            Arc::clone(&options.clock),
            options.unmet | SIGNALS_KNOWN,
        ));
        let paths = Arc::new(path_policy(&options.allowed_roots)?);
        let lock = LockSlot::new();
        let supervisor = Supervisor {
            completions: completions.clone(),
            inbox: Arc::clone(&inbox),
            lock: lock.clone(),
        };
        let readers = Readers::start(&path, Arc::clone(&situation), supervisor.clone())?;
        let readers = Arc::new(readers);
        let targets = Arc::new(Targets::new(options.addresses.clone()));
        let transfers = TransferOptions {
            targets: Arc::clone(&targets),
            paths: Arc::clone(&paths),
            client: Transfers::new(transfer_config(&options))?,
        };
        let launcher = Arc::new(Launcher::new(
            transfers,
            Arc::clone(&board),
            Arc::clone(&inbox),
            completions.clone(),
            Arc::clone(&situation),
        ));
        let weak_launcher = Arc::downgrade(&launcher);
        let admission = Admission {
            paths,
            targets,
            allow_http: options.allow_http,
            callbacks: options.callbacks,
            situation: Arc::clone(&situation),
        };
        let ingress = Ingress::new(admission, supervisor.clone());
        let engine_loop = EngineLoop::open(LoopParts {
            store,
            checkpoints: Checkpoints::new(path.clone()),
            path,
            limits: options.limits,
            seed: u64::try_from(situation.now().wall_ms).unwrap_or_default(),
            keep: options.keep,
            run: options.run,
            runner: options.runner,
            callbacks: options.registered,
            inbox: Arc::clone(&inbox),
            completions: completions.clone(),
            readers: Arc::clone(&readers),
            launcher,
            board: Arc::clone(&board),
            situation: Arc::clone(&situation),
            lock,
            admissions: ingress.admissions(),
        })?;
        ingress.admissions().start()?;
        let launcher = weak_launcher;
        supervisor.spawn_loop("outhaul-engine", move || engine_loop.run())?;
        let is_forked = AtomicBool::new(false);
        Ok(Self { ingress, inbox, readers, launcher, board, situation, completions, is_forked })
    }

    /// Readable while there are completions.
    pub fn descriptor(&self) -> RawFd {
        self.completions.descriptor()
    }

    /// Takes completions, of each kind at most `max`; the descriptor tells if more are left.
    pub fn drain_completions(&self, max: usize) -> Batch {
        self.completions.drain(max)
    }

    /// Stores a task for each ticket.
    pub fn enqueue(&self, enqueues: Vec<(Ticket, Bytes)>) {
        self.ingress.enqueue(enqueues);
    }

    /// Some tasks of an enqueue of several, which are admitted as they come.
    pub fn enqueue_part(&self, ticket: Ticket, specs: Vec<Bytes>) {
        self.ingress.enqueue_part(ticket, specs);
    }

    /// Stores the tasks of the parts before, all or none. Answer: encoded pages of (key, accepted,
    /// id).
    pub fn enqueue_all(&self, ticket: Ticket) {
        self.ingress.enqueue_all(ticket);
    }

    /// Ends tasks. Answer: how many.
    pub fn cancel(&self, ticket: Ticket, selection: Selection) {
        self.ingress.cancel(ticket, selection);
    }

    /// Asks the store.
    pub fn ask(&self, ticket: Ticket, query: Query) {
        self.readers.ask(ticket, query);
    }

    /// Asks for progress newer than a version: with `follow` as soon as there is any.
    pub fn progress(&self, ticket: Ticket, after: u64, want: ProgressFilter, follow: bool) {
        self.board.ask(ticket, after, want, follow);
    }

    /// Nobody waits for this answer any more.
    pub fn abandon(&self, ticket: Ticket) {
        self.board.abandon(ticket);
        self.readers.abandon(ticket);
        self.ingress.abandon(ticket);
        self.inbox.push(Op::Abandon { ticket });
    }

    /// Callbacks have ended.
    pub fn finish(&self, ended: Vec<(TaskKey, u32, Outcome)>) {
        let op = |(key, attempt, outcome)| Op::Outcome { key, attempt, outcome };
        self.inbox.push_all(ended.into_iter().map(op).collect());
    }

    /// The secrets of an attempt, with prefixes, in the order they were asked for, or why not.
    pub fn provide(&self, key: TaskKey, attempt: u32, secrets: Result<Vec<String>, Withheld>) {
        if let Some(launcher) = self.launcher.upgrade() {
            launcher.provide(key, attempt, secrets);
        }
    }

    /// These constraint bits do not hold now; all others do.
    pub fn set_unmet(&self, unmet: Needs) {
        let before = self.situation.set_unmet(unmet);
        if (before ^ unmet) & NETWORK != 0
            && let Some(launcher) = self.launcher.upgrade()
        {
            launcher.forget_idle();
        }
        self.inbox.push(Op::Signals { unmet });
    }

    /// A callback is registered now.
    pub fn register(&self, callback_id: &str) {
        self.ingress.register(callback_id);
        self.inbox.push(Op::Register { callback_id: callback_id.to_owned() });
    }

    /// Claims no more; answers when nothing runs.
    pub fn drain(&self, ticket: Ticket) {
        self.ingress.pass(Op::Drain { ticket });
    }

    /// Answers when nothing runs and nothing is due.
    pub fn wait_idle(&self, ticket: Ticket) {
        self.ingress.pass(Op::WaitIdle { ticket });
    }

    /// Stops everything within the grace period; the answer is the last one.
    pub fn close(&self, ticket: Ticket, grace: Duration) {
        // Past the ingress, which a file on a dead mount may hold up: what waits there is refused.
        self.inbox.push(Op::Close { ticket, grace });
    }

    /// Somebody has moved the clock.
    pub fn poke(&self) {
        self.inbox.push(Op::Wake);
    }

    /// In a forked child, after [`release_locks_after_fork`]. No other method may follow.
    pub fn after_fork(&self) {
        self.is_forked.store(true, Ordering::Relaxed);
    }
}

impl Drop for Runtime {
    /// A manager that was never closed lets go of everything; what ran will run again.
    fn drop(&mut self) {
        // A forked child has no thread to tell, and a lock that one held at the fork stays held.
        if self.is_forked.load(Ordering::Relaxed) {
            return;
        }
        self.inbox.push(Op::Close { ticket: supervisor::EVERYBODY, grace: Duration::ZERO });
    }
}

fn transfer_config(options: &Options) -> Config {
    Config {
        addresses: options.addresses.clone(),
        ca_file: options.ca_file.clone(),
        // Between two commits none may be in use: the next attempts take them.
        idle_per_host: options.limits.per_host_max,
        idle_max: options.limits.running_max.max(IDLE_MAX),
        ..Config::new(Arc::clone(&options.clock))
    }
}

/// The store's one name: without links.
fn canonical(path: &Path) -> Result<PathBuf, Fault> {
    path.canonicalize().map_err(|error| {
        let message = format!("the store {} cannot be found: {error}", path.display());
        Fault::new(FaultCode::StoreUnavailable, "path", message)
    })
}

fn path_policy(roots: &[PathBuf]) -> Result<PathPolicy, Fault> {
    if roots.is_empty() {
        return Ok(PathPolicy::anywhere());
    }
    PathPolicy::beneath(roots.to_vec()).map_err(|error| {
        Fault::invalid("allowed_roots", format!("cannot be opened: {error}; give directories"))
    })
}
