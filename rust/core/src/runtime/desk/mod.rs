//! The desk: admits what was called, in the order of the calls.
//!
//! One thread sits at it. Opening a file may take for ever (a network mount whose server is gone), and a
//! thread in such a call cannot be stopped: then its caller is refused, and another thread takes the
//! desk over. What comes back at last finds its chair taken and goes.

mod parts;

use std::collections::VecDeque;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::watch::Watch;
use crate::engine::NewTask;
use crate::model::{Fault, FaultCode};
use parts::Parts;

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

/// Checks one encoded specification at a time; may take for ever.
pub(super) type Admit = Box<dyn Fn(&Bytes) -> Result<NewTask, Fault> + Send + Sync>;

/// How long a file may take to open before its enqueue is refused, or its attempt ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Where one has not opened and still does not, others have but this part of the time (5 s): those that
/// hang on the same mount are not to hold up everybody one after the other.
const PATIENCE_LEFT: u32 = 6;

/// So many threads may be lost to files that do not open; then no file is opened until one does.
const LOST_MAX: u32 = 16;

/// What the threads share of which one sits at the desk.
pub(super) struct Desk {
    admit: Admit,
    patience: Duration,
    arrivals: Mutex<Receiver<Call>>,
    /// How many calls are on their way, with the one that is being worked on.
    calls: AtomicUsize,
    // LOCKING: held for moments, never while a file is opened.
    state: Mutex<State>,
    watch: Watch,
}

#[derive(Default)]
struct State {
    /// How often the desk was taken over: who began under another number has lost it.
    term: u32,
    /// How many threads have not come back.
    lost: u32,
    /// Whether a call is being worked on.
    is_busy: bool,
    /// What it asks for.
    to_admit: VecDeque<(Ticket, Specs)>,
    /// What of it was admitted.
    admitted: Vec<Op>,
    /// The task that is being looked at.
    under_way: Option<UnderWay>,
    /// What was admitted of enqueues that are yet to be made.
    parts: Parts,
}

/// A task that is being looked at.
#[derive(Clone, Copy)]
struct UnderWay {
    since: Instant,
    ticket: Ticket,
    place: Place,
}

/// Where a task stands in the enqueue that brings it.
#[derive(Clone, Copy)]
enum Place {
    Alone,
    /// At a position of several, in a part of so many.
    Among {
        at: usize,
        part: usize,
    },
}

/// What an enqueue brings at once.
enum Specs {
    /// Its only task.
    Alone(Bytes),
    /// Some of several, after so many others.
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

impl Desk {
    pub(super) fn new(
        admit: Admit,
        patience: Duration,
        arrivals: Receiver<Call>,
        watch: Watch,
    ) -> Self {
        Self {
            admit,
            patience,
            arrivals: Mutex::new(arrivals),
            calls: AtomicUsize::new(0),
            state: Mutex::default(),
            watch,
        }
    }

    /// Starts the thread that sits at it.
    pub(super) fn open(self: &Arc<Self>) -> Result<(), Fault> {
        self.seat(0)
    }

    fn seat(self: &Arc<Self>, term: u32) -> Result<(), Fault> {
        let desk = Arc::clone(self);
        self.watch.spawn("outhaul-admit", move || desk.sit(term)).map(drop)
    }

    /// A call is about to be sent.
    pub(super) fn expect(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether every call has passed: what is pushed now overtakes none.
    pub(super) fn is_free(&self) -> bool {
        self.calls.load(Ordering::Acquire) == 0
    }

    /// Gives the desk to another thread where the one that sits at it has waited too long for a file.
    /// Called now and then.
    pub(super) fn relieve(self: &Arc<Self>) -> Result<(), Fault> {
        let mut state = self.state();
        let patience = if state.lost == 0 { self.patience } else { self.patience / PATIENCE_LEFT };
        let hangs = |under_way: &UnderWay| under_way.since.elapsed() > patience;
        let Some(UnderWay { ticket, place, .. }) = state.under_way.filter(hangs) else {
            return Ok(());
        };
        // Waits for the state. Where there is no thread nothing has changed, and it is tried again.
        self.seat(state.term + 1)?;
        state.under_way = None;
        state.lost += 1;
        state.term += 1;
        self.refuse(&mut state, ticket, place, Fault::invalid("file_path", not_answered(patience)));
        Ok(())
    }

    /// Works until the calls end or the desk is another's.
    fn sit(&self, term: u32) {
        while self.admit_all(term) {
            let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Admits what was begun, by this thread or by the one before it. False where the desk is another's.
    fn admit_all(&self, term: u32) -> bool {
        let mut state = self.state();
        while let Some((ticket, specs)) = state.to_admit.pop_front() {
            drop(state);
            let checked = self.check(term, ticket, &specs);
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
                    // The caller was told, and the room given back, when the desk was taken over.
                    state.lost -= 1;
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

    /// All of them, or the first refusal. None where the desk was taken over meanwhile.
    ///
    /// Each has its own time: many files that open take as long as they take.
    fn check(
        &self,
        term: u32,
        ticket: Ticket,
        specs: &Specs,
    ) -> Option<Result<Vec<NewTask>, (Place, Fault)>> {
        let mut admitted = Vec::with_capacity(specs.as_slice().len());
        for (at, spec) in specs.as_slice().iter().enumerate() {
            let place = specs.place(at);
            let under_way = UnderWay { since: Instant::now(), ticket, place };
            let lost = self.looks_at(term, Some(under_way))?;
            match if lost == LOST_MAX { Err(none_left()) } else { (self.admit)(spec) } {
                Ok(task) => admitted.push(task),
                Err(fault) => {
                    self.looks_at(term, None)?;
                    return Some(Err((place, fault)));
                }
            }
        }
        self.looks_at(term, None)?;
        Some(Ok(admitted))
    }

    /// Notes what is looked at now; says how many threads are lost. None where the desk is another's.
    fn looks_at(&self, term: u32, under_way: Option<UnderWay>) -> Option<u32> {
        let mut state = self.state();
        if state.term != term {
            return None;
        }
        state.under_way = under_way;
        Some(state.lost)
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
        &self.watch.inbox
    }

    fn completions(&self) -> &Completions {
        &self.watch.completions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of a file that does not open.
pub(super) fn not_answered(patience: Duration) -> String {
    format!(
        "cannot be opened: its file system has not answered for {} s; look after the mount",
        patience.as_secs()
    )
}

fn none_left() -> Fault {
    let message = format!(
        "{LOST_MAX} files do not open, as on a mount whose server is gone: look after the mounts, and \
         enqueue this again"
    );
    Fault::new(FaultCode::QueueFull, "", message)
}

#[cfg(test)]
mod tests;
