//! The admission thread: calls pass through it in the order they were made, so that a cancel never
//! overtakes the enqueue before it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};

use super::admission::Admission;
use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::replies::closed;
use super::situation::SharedSituation;
use super::watch::Watch;
use crate::engine::NewTask;
use crate::model::{Fault, FaultCode};

/// At most this many tasks wait for admission; one more is refused.
const BACKLOG_MAX: usize = 1_000_000;

/// A call on its way to the engine loop.
enum Call {
    /// Enqueues that were made together; each is a decision of its own.
    Enqueue(Vec<(Ticket, Vec<Vec<u8>>)>),
    Pass(Op),
}

/// Which Python callbacks may be named by a task.
#[derive(Debug, Default)]
pub struct KnownCallbacks {
    names: HashSet<String>,
    elsewhere: bool,
}

impl KnownCallbacks {
    /// These; or any, where another process runs them.
    pub fn new(names: impl IntoIterator<Item = String>, elsewhere: bool) -> Self {
        Self { names: names.into_iter().collect(), elsewhere }
    }
}

/// The admission thread, from outside.
pub(super) struct Gate {
    calls: Sender<Call>,
    backlog: Arc<AtomicUsize>,
    callbacks: Arc<RwLock<KnownCallbacks>>,
    completions: Completions,
}

impl Gate {
    pub(super) fn start(
        admission: Admission,
        callbacks: KnownCallbacks,
        inbox: Arc<Inbox>,
        watch: &Watch,
        situation: Arc<SharedSituation>,
    ) -> Result<Self, Fault> {
        let completions = watch.completions.clone();
        let (calls, arrivals) = channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let callbacks = Arc::new(RwLock::new(callbacks));
        let desk = Desk {
            admission,
            callbacks: Arc::clone(&callbacks),
            inbox,
            completions: completions.clone(),
            situation,
            backlog: Arc::clone(&backlog),
        };
        watch.spawn("outhaul-admit", move || desk.run(&arrivals))?;
        Ok(Self { calls, backlog, callbacks, completions })
    }

    pub(super) fn enqueue(&self, enqueues: Vec<(Ticket, Vec<Vec<u8>>)>) {
        let number = enqueues.iter().map(|(_, specs)| specs.len()).sum();
        let waiting = self.backlog.fetch_add(number, Ordering::Relaxed);
        if waiting.saturating_add(number) > BACKLOG_MAX {
            self.backlog.fetch_sub(number, Ordering::Relaxed);
            let message = format!("{waiting} tasks wait to be stored; await some of them first");
            return self.refuse(enqueues, &Fault::new(FaultCode::QueueFull, "", message));
        }
        if let Err(SendError(Call::Enqueue(enqueues))) = self.calls.send(Call::Enqueue(enqueues)) {
            self.refuse(enqueues, &closed());
        }
    }

    fn refuse(&self, enqueues: Vec<(Ticket, Vec<Vec<u8>>)>, fault: &Fault) {
        self.completions.push(|batch| {
            batch
                .replies
                .extend(enqueues.into_iter().map(|(ticket, _)| (ticket, Err(fault.clone()))));
        });
    }

    /// An op that must not overtake the enqueues before it. Lost only once the loop has ended, whose
    /// calls are refused by the manager.
    pub(super) fn pass(&self, op: Op) {
        drop(self.calls.send(Call::Pass(op)));
    }

    pub(super) fn register(&self, callback_id: &str) {
        let mut callbacks = self.callbacks.write().unwrap_or_else(PoisonError::into_inner);
        callbacks.names.insert(callback_id.to_owned());
    }
}

/// The admission thread, from inside.
struct Desk {
    admission: Admission,
    callbacks: Arc<RwLock<KnownCallbacks>>,
    inbox: Arc<Inbox>,
    completions: Completions,
    situation: Arc<SharedSituation>,
    backlog: Arc<AtomicUsize>,
}

impl Desk {
    fn run(self, calls: &Receiver<Call>) {
        for call in calls {
            match call {
                Call::Enqueue(enqueues) => {
                    let admitted = enqueues.into_iter().filter_map(|(ticket, specs)| {
                        self.backlog.fetch_sub(specs.len(), Ordering::Relaxed);
                        match self.admit_all(&specs) {
                            Ok(tasks) => Some(Op::Enqueue { ticket, tasks }),
                            Err(fault) => {
                                self.completions.reply(ticket, Err(fault));
                                None
                            }
                        }
                    });
                    self.inbox.push_all(admitted.collect());
                }
                Call::Pass(op) => self.inbox.push(op),
            }
        }
    }

    /// All of them, or the first refusal.
    fn admit_all(&self, specs: &[Vec<u8>]) -> Result<Vec<NewTask>, Fault> {
        let now_ms = self.situation.now().wall_ms;
        let callbacks = self.callbacks.read().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &str| callbacks.elsewhere || callbacks.names.contains(name);
        let admit = |(at, spec): (usize, &Vec<u8>)| {
            self.admission.admit(spec, &known, now_ms).map_err(|mut fault| {
                if specs.len() > 1 {
                    fault.argument = format!("tasks[{at}].{}", fault.argument);
                }
                fault
            })
        };
        specs.iter().enumerate().map(admit).collect()
    }
}
