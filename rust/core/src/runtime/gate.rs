//! The admission thread: calls pass through it in the order they were made, so that a cancel never
//! overtakes the enqueue before it.

use std::collections::{HashMap, HashSet};
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

/// A call on its way to the engine loop.
enum Call {
    /// Enqueues of a task each that were made together, and whether others follow at once.
    Enqueue(Vec<(Ticket, Vec<u8>)>, bool),
    /// One enqueue of several tasks.
    EnqueueAll(Ticket, Vec<Vec<u8>>),
    /// Tasks of an enqueue that is yet to be made: so many that they come in parts.
    Part(Ticket, Vec<Vec<u8>>),
    /// A part found no room: the whole enqueue is refused, which has been said.
    Refused(Ticket),
    /// An enqueue will not be made.
    Abandon(Ticket),
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
    inbox: Arc<Inbox>,
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
        let callbacks = Arc::new(RwLock::new(callbacks));
        let mut desk = Desk {
            admission,
            callbacks: Arc::clone(&callbacks),
            inbox: Arc::clone(&inbox),
            completions: completions.clone(),
            situation,
            parts: HashMap::new(),
        };
        watch.spawn("outhaul-admit", move || desk.run(&arrivals))?;
        Ok(Self { calls, inbox, callbacks, completions })
    }

    /// Enqueues of one turn of the event loop, of a task each; `more` says whether others of that turn
    /// follow.
    pub(super) fn enqueue(&self, enqueues: Vec<(Ticket, Vec<u8>)>, more: bool) {
        if let Err(waiting) = self.inbox.reserve(enqueues.len()) {
            return self.refuse(enqueues.iter().map(|(ticket, _)| *ticket), &full(waiting));
        }
        let call = Call::Enqueue(enqueues, more);
        if let Err(SendError(Call::Enqueue(enqueues, _))) = self.calls.send(call) {
            self.inbox.release(enqueues.len());
            self.refuse(enqueues.iter().map(|(ticket, _)| *ticket), &closed());
        }
    }

    /// One enqueue of several tasks, all or none; those of its parts come first.
    pub(super) fn enqueue_all(&self, ticket: Ticket, specs: Vec<Vec<u8>>) {
        let number = specs.len();
        if let Err(waiting) = self.inbox.reserve(number) {
            return self.refuse([ticket], &full(waiting));
        }
        if self.calls.send(Call::EnqueueAll(ticket, specs)).is_err() {
            self.inbox.release(number);
            self.refuse([ticket], &closed());
        }
    }

    /// Tasks of an enqueue that is made later, under that ticket. A refusal answers it.
    pub(super) fn enqueue_part(&self, ticket: Ticket, specs: Vec<Vec<u8>>) {
        match self.inbox.reserve(specs.len()) {
            Ok(()) => drop(self.calls.send(Call::Part(ticket, specs))),
            Err(waiting) => {
                drop(self.calls.send(Call::Refused(ticket)));
                self.completions.reply(ticket, Err(full(waiting)));
            }
        }
    }

    /// The enqueue under that ticket will not be made.
    pub(super) fn abandon(&self, ticket: Ticket) {
        drop(self.calls.send(Call::Abandon(ticket)));
    }

    fn refuse(&self, tickets: impl IntoIterator<Item = Ticket>, fault: &Fault) {
        self.completions.push(|batch| {
            batch.replies.extend(tickets.into_iter().map(|ticket| (ticket, Err(fault.clone()))));
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
    /// What has come of enqueues that are made in parts; `None` where one of them was refused.
    parts: HashMap<Ticket, Option<Vec<Vec<u8>>>>,
}

impl Desk {
    fn run(&mut self, calls: &Receiver<Call>) {
        for call in calls {
            match call {
                Call::Enqueue(enqueues, more) => {
                    let admit = |(ticket, spec)| self.admit(ticket, &[spec]);
                    let admitted = enqueues.into_iter().filter_map(admit).collect();
                    self.inbox.push_turn(admitted, more);
                }
                Call::EnqueueAll(ticket, rest) => {
                    if let Some(specs) = self.whole(ticket, rest)
                        && let Some(op) = self.admit(ticket, &specs)
                    {
                        self.inbox.push(op);
                    }
                }
                Call::Part(ticket, specs) => {
                    match self.parts.entry(ticket).or_insert_with(|| Some(Vec::new())) {
                        Some(before) => before.extend(specs),
                        None => self.inbox.release(specs.len()),
                    }
                }
                Call::Refused(ticket) => {
                    let before = self.parts.insert(ticket, None).flatten();
                    self.inbox.release(before.map_or(0, |specs| specs.len()));
                }
                Call::Abandon(ticket) => {
                    let before = self.parts.remove(&ticket).flatten();
                    self.inbox.release(before.map_or(0, |specs| specs.len()));
                }
                Call::Pass(op) => self.inbox.push(op),
            }
        }
    }

    /// The tasks of an enqueue with those that came before in parts; none if a part was refused.
    fn whole(&mut self, ticket: Ticket, rest: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        match self.parts.remove(&ticket) {
            Some(Some(mut before)) => {
                before.extend(rest);
                Some(before)
            }
            Some(None) => {
                self.inbox.release(rest.len());
                None
            }
            None => Some(rest),
        }
    }

    fn admit(&self, ticket: Ticket, specs: &[Vec<u8>]) -> Option<Op> {
        match self.admit_all(specs) {
            Ok(tasks) => Some(Op::Enqueue { ticket, tasks }),
            Err(fault) => {
                self.inbox.release(specs.len());
                self.completions.reply(ticket, Err(fault));
                None
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

fn full(waiting: usize) -> Fault {
    let message = format!("{waiting} tasks wait to be stored; await some of them first");
    Fault::new(FaultCode::QueueFull, "", message)
}
