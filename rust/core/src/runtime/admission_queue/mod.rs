//! Calls on their way to the engine loop, admitted in the order they were made.
//!
//! One thread works on them. Opening a file may hang forever (a network mount whose server is
//! gone), and a thread in such a call cannot be stopped: its caller is refused, and another thread
//! takes over. The old one ends when its call returns.

mod partial;

use std::collections::VecDeque;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::supervisor::Supervisor;
use crate::engine::NewTask;
use crate::model::{Fault, FaultCode};
use crate::sync;
use partial::PartialEnqueues;

/// A call on its way to the engine loop.
pub(super) enum Call {
    /// Enqueues of a task each that were made together.
    Enqueue(Vec<(Ticket, Bytes)>),
    /// Some tasks of one enqueue of several, which is yet to be made.
    Part(Ticket, Vec<Bytes>),
    /// The enqueue whose parts came before.
    EnqueueAll(Ticket),
    /// A part found no room: the whole enqueue is refused, which has been said.
    Refused(Ticket),
    /// An enqueue will not be made.
    Abandon(Ticket),
    Pass(Op),
}

/// Checks one encoded specification at a time; may take forever.
pub(super) type Admit = Box<dyn Fn(&Bytes) -> Result<NewTask, Fault> + Send + Sync>;

/// How long a file may take to open before its enqueue is refused, or its attempt ends.
pub(super) const FILE_OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where one has not opened and still does not, others have but this part of the time (5 s): those
/// that hang on the same mount are not to hold up everybody one after the other.
const SHARE_WHILE_HUNG: u32 = 6;

/// At most this many threads may hang on files that do not open; then no file is opened until one
/// does.
const HUNG_MAX: u32 = 16;

/// What the thread that works shares with those that hang.
pub(super) struct AdmissionQueue {
    admit: Admit,
    timeout: Duration,
    arrivals: Mutex<Receiver<Call>>,
    /// How many calls are on their way, with the one that is being worked on.
    calls: AtomicUsize,
    // LOCKING: held for moments, never while a file is opened.
    state: Mutex<State>,
    supervisor: Supervisor,
}

#[derive(Default)]
struct State {
    /// How often another thread has taken over. A thread of an earlier generation has nothing to
    /// say.
    generation: u32,
    /// How many threads hang.
    hung: u32,
    /// Whether a call is being worked on.
    is_busy: bool,
    /// What it asks for.
    to_admit: VecDeque<(Ticket, Specs)>,
    /// What of it was admitted.
    admitted: Vec<Op>,
    /// The task that is being looked at.
    current: Option<Current>,
    /// What was admitted of enqueues that are yet to be made.
    parts: PartialEnqueues,
}

/// A task that is being looked at.
#[derive(Clone, Copy)]
struct Current {
    since: Instant,
    ticket: Ticket,
    place: Place,
}

/// Where a task stands in the enqueue that brings it.
#[derive(Clone, Copy)]
enum Place {
    Alone,
    /// At a position of several, in a part of that many.
    Among {
        at: usize,
        part: usize,
    },
}

/// What an enqueue brings at once.
enum Specs {
    /// Its only task.
    Alone(Bytes),
    /// Some of several, after that many others.
    Part(usize, Vec<Bytes>),
}

impl Specs {
    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::Alone(spec) => slice::from_ref(spec),
            Self::Part(_, specs) => specs,
        }
    }

    fn place(&self, at: usize) -> Place {
        match self {
            Self::Alone(_) => Place::Alone,
            Self::Part(before, specs) => Place::Among { at: before + at, part: specs.len() },
        }
    }
}

impl AdmissionQueue {
    pub(super) fn new(
        admit: Admit,
        timeout: Duration,
        arrivals: Receiver<Call>,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            admit,
            timeout,
            arrivals: Mutex::new(arrivals),
            calls: AtomicUsize::new(0),
            state: Mutex::default(),
            supervisor,
        }
    }

    /// Starts the first thread.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), Fault> {
        self.spawn(0)
    }

    fn spawn(self: &Arc<Self>, generation: u32) -> Result<(), Fault> {
        let admissions = Arc::clone(self);
        self.supervisor.spawn("outhaul-admit", move || admissions.run(generation)).map(drop)
    }

    /// A call is about to be sent.
    pub(super) fn expect(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether every call has passed: what is pushed now overtakes none.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.load(Ordering::Acquire) == 0
    }

    /// Lets another thread take over where the one that works has waited too long for a file.
    /// Called now and then.
    pub(super) fn replace_hung_thread(self: &Arc<Self>) -> Result<(), Fault> {
        let mut state = self.state();
        let timeout = if state.hung == 0 { self.timeout } else { self.timeout / SHARE_WHILE_HUNG };
        let hangs = |current: &Current| current.since.elapsed() > timeout;
        let Some(Current { ticket, place, .. }) = state.current.filter(hangs) else {
            return Ok(());
        };
        // Waits for the state. Where there is no thread nothing has changed, and it is tried again.
        self.spawn(state.generation + 1)?;
        state.current = None;
        state.hung += 1;
        state.generation += 1;
        self.refuse(&mut state, ticket, place, Fault::invalid("file_path", not_answered(timeout)));
        Ok(())
    }

    /// Works until the calls end or another thread has taken over.
    fn run(&self, generation: u32) {
        while self.admit_all(generation) {
            let arrivals = sync::lock(&self.arrivals);
            let Ok(call) = arrivals.recv() else { return };
            drop(arrivals);
            self.begin(call);
        }
    }

    fn begin(&self, call: Call) {
        let mut state = self.state();
        state.is_busy = true;
        match call {
            Call::Enqueue(enqueues) => {
                let alone = |(ticket, spec)| (ticket, Specs::Alone(spec));
                state.to_admit = enqueues.into_iter().map(alone).collect();
            }
            Call::Part(ticket, specs) => match state.parts.number(ticket) {
                Some(before) => state.to_admit.push_back((ticket, Specs::Part(before, specs))),
                None => self.inbox().release(specs.len()),
            },
            Call::EnqueueAll(ticket) => {
                let admitted = state.parts.take(ticket);
                state.admitted.extend(admitted.map(|tasks| Op::EnqueueAll { ticket, tasks }));
            }
            Call::Refused(ticket) => self.inbox().release(state.parts.refuse(ticket).len()),
            Call::Abandon(ticket) => {
                self.inbox().release(state.parts.take(ticket).unwrap_or_default().len());
            }
            Call::Pass(op) => self.inbox().push(op),
        }
    }

    /// Admits what was begun, by this thread or by the one before it. False where another has taken
    /// over.
    fn admit_all(&self, generation: u32) -> bool {
        let mut state = self.state();
        while let Some((ticket, specs)) = state.to_admit.pop_front() {
            drop(state);
            let checked = self.check(generation, ticket, &specs);
            state = self.state();
            match checked {
                Some(Ok(tasks)) => match specs {
                    Specs::Alone(_) => {
                        let one = |task| Op::Enqueue { ticket, task };
                        state.admitted.extend(tasks.into_iter().map(one));
                    }
                    Specs::Part(..) => state.parts.add(ticket, tasks),
                },
                Some(Err((place, fault))) => self.refuse(&mut state, ticket, place, fault),
                None => {
                    // The caller was told, and the room given back, when another thread took over.
                    state.hung -= 1;
                    return false;
                }
            }
        }
        let admitted = std::mem::take(&mut state.admitted);
        let is_done = std::mem::take(&mut state.is_busy);
        drop(state);
        self.inbox().push_all(admitted);
        if is_done {
            self.calls.fetch_sub(1, Ordering::Release);
        }
        true
    }

    /// All of them, or the first refusal. None where another thread took over meanwhile.
    ///
    /// Each has its own time: many files that open take as long as they take.
    fn check(
        &self,
        generation: u32,
        ticket: Ticket,
        specs: &Specs,
    ) -> Option<Result<Vec<NewTask>, (Place, Fault)>> {
        let mut admitted = Vec::with_capacity(specs.as_slice().len());
        for (at, spec) in specs.as_slice().iter().enumerate() {
            let place = specs.place(at);
            let current = Current { since: Instant::now(), ticket, place };
            let hung = self.set_current(generation, Some(current))?;
            match if hung == HUNG_MAX { Err(none_left()) } else { (self.admit)(spec) } {
                Ok(task) => admitted.push(task),
                Err(fault) => {
                    self.set_current(generation, None)?;
                    return Some(Err((place, fault)));
                }
            }
        }
        self.set_current(generation, None)?;
        Some(Ok(admitted))
    }

    /// Notes what is looked at now; says how many threads hang. None where another thread has taken
    /// over.
    fn set_current(&self, generation: u32, current: Option<Current>) -> Option<u32> {
        let mut state = self.state();
        if state.generation != generation {
            return None;
        }
        state.current = current;
        Some(state.hung)
    }

    /// Refuses an enqueue for one of its tasks.
    fn refuse(&self, state: &mut State, ticket: Ticket, place: Place, mut fault: Fault) {
        let mut room = 1;
        if let Place::Among { at, part } = place {
            room = part + state.parts.refuse(ticket).len();
            let of_it = if fault.argument.is_empty() { "" } else { "." };
            fault.argument = format!("tasks[{at}]{of_it}{}", fault.argument);
        }
        self.inbox().release(room);
        self.completions().reply(ticket, Err(fault));
    }

    fn inbox(&self) -> &Inbox {
        &self.supervisor.inbox
    }

    fn completions(&self) -> &Completions {
        &self.supervisor.completions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

/// What is said of a file that does not open.
pub(super) fn not_answered(timeout: Duration) -> String {
    format!(
        "timeout: it cannot be opened, its file system has not answered for {} s; look after the mount",
        timeout.as_secs()
    )
}

fn none_left() -> Fault {
    let message = format!(
        "{HUNG_MAX} files do not open, as on a mount whose server is gone: look after the mounts, and \
         enqueue this again"
    );
    Fault::new(FaultCode::QueueFull, "", message)
}

#[cfg(test)]
mod tests;
