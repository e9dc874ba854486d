//! The way in: calls pass in the order they were made, so that a cancel never overtakes the enqueue
//! before it. What opens no file passes at once, where nothing is before it; the rest by way of the
//! admission queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender, channel};

use bytes::Bytes;

use super::admission::Admission;
use super::admission_queue::{AdmissionQueue, Call, FILE_OPEN_TIMEOUT};
use super::completions::{Completions, Ticket};
use super::inbox::{Count, Inbox, Op};
use super::replies::closed;
use super::supervisor::Supervisor;
use crate::model::{Fault, FaultCode};
use crate::store::Selection;

/// A task to store, and the call that asks for it.
type Enqueue = (Ticket, Bytes);

/// Where calls are handed in.
pub(super) struct Ingress {
    calls: Sender<Call>,
    admissions: Arc<AdmissionQueue>,
    admission: Arc<Admission>,
    inbox: Arc<Inbox>,
    completions: Completions,
}

impl Ingress {
    pub(super) fn new(admission: Admission, supervisor: Supervisor) -> Self {
        let (inbox, completions) = (Arc::clone(&supervisor.inbox), supervisor.completions.clone());
        let (calls, arrivals) = channel();
        let admission = Arc::new(admission);
        let to_admit_by = Arc::clone(&admission);
        let admit = Box::new(move |spec: &Bytes| to_admit_by.admit(spec));
        let admissions =
            Arc::new(AdmissionQueue::new(admit, FILE_OPEN_TIMEOUT, arrivals, supervisor));
        Self { calls, admissions, admission, inbox, completions }
    }

    /// The queue behind it, which has to be started, and whose hung threads have to be replaced.
    pub(super) fn admissions(&self) -> Arc<AdmissionQueue> {
        Arc::clone(&self.admissions)
    }

    /// Enqueues of a task each.
    pub(super) fn enqueue(&self, enqueues: Vec<Enqueue>) {
        if let Err(waiting) = self.inbox.reserve(enqueues.len()) {
            return self.refuse(enqueues.iter().map(|(ticket, _)| *ticket), &full(waiting));
        }
        let mut left = VecDeque::from(enqueues);
        if self.admissions.is_empty() {
            self.admit_at_once(&mut left);
            if left.is_empty() {
                return;
            }
        }
        let call = Call::Enqueue(left.into());
        if let Err(SendError(Call::Enqueue(left))) = self.send(call) {
            self.inbox.release(left.len());
            self.refuse(left.iter().map(|(ticket, _)| *ticket), &closed());
        }
    }

    /// Admits those before the first that has to open a file.
    fn admit_at_once(&self, enqueues: &mut VecDeque<Enqueue>) {
        let now_ms = self.admission.now_ms();
        let mut admitted = Vec::with_capacity(enqueues.len());
        let mut before = None;
        while let Some((ticket, spec)) = enqueues.front() {
            match self.admission.admit_at_once(spec, now_ms, &mut before) {
                Some(Ok(task)) => {
                    admitted.push(Op::Enqueue { ticket: *ticket, task });
                }
                Some(Err(fault)) => {
                    self.inbox.release(1);
                    self.completions.reply(*ticket, Err(fault));
                }
                None => break,
            }
            enqueues.pop_front();
        }
        self.inbox.push_all(admitted);
    }

    #[expect(clippy::result_large_err, reason = "what was not sent comes back")]
    fn send(&self, call: Call) -> Result<(), SendError<Call>> {
        self.admissions.expect();
        self.calls.send(call)
    }

    /// Tasks of an enqueue that is made later, under that ticket. A refusal answers it.
    pub(super) fn enqueue_part(&self, ticket: Ticket, specs: Vec<Bytes>) {
        match self.inbox.reserve(specs.len()) {
            Ok(()) => drop(self.send(Call::Part(ticket, specs))),
            Err(waiting) => {
                drop(self.send(Call::Refused(ticket)));
                self.completions.reply(ticket, Err(full(waiting)));
            }
        }
    }

    /// One enqueue of what came in parts, all or none.
    pub(super) fn enqueue_all(&self, ticket: Ticket) {
        if self.send(Call::EnqueueAll(ticket)).is_err() {
            self.refuse([ticket], &closed());
        }
    }

    /// The enqueue under that ticket will not be made.
    pub(super) fn abandon(&self, ticket: Ticket) {
        drop(self.send(Call::Abandon(ticket)));
    }

    fn refuse(&self, tickets: impl IntoIterator<Item = Ticket>, fault: &Fault) {
        self.completions.push(|batch| {
            batch.replies.extend(tickets.into_iter().map(|ticket| (ticket, Err(fault.clone()))));
        });
    }

    /// Ends tasks: those that are stored at once, since no file on a dead mount may hold that up,
    /// and in its turn those whose enqueue was called before.
    pub(super) fn cancel(&self, ticket: Ticket, selection: Selection) {
        let is_stored = matches!(selection, Selection::Key(_)); // its enqueue was answered long ago
        if is_stored || self.admissions.is_empty() {
            return self.inbox.push(Op::Cancel { ticket, selection, before: None });
        }
        let count = Count::default();
        let before = Some(Arc::clone(&count));
        self.inbox.push(Op::CancelStored { selection: selection.clone(), count });
        self.pass(Op::Cancel { ticket, selection, before });
    }

    /// An op that must not overtake the enqueues before it. Lost only once the loop has ended,
    /// whose calls are refused by the manager.
    pub(super) fn pass(&self, op: Op) {
        if self.admissions.is_empty() {
            self.inbox.push(op);
        } else {
            drop(self.send(Call::Pass(op)));
        }
    }

    pub(super) fn register(&self, callback_id: &str) {
        self.admission.callbacks.register(callback_id);
    }
}

fn full(waiting: usize) -> Fault {
    let message = format!("{waiting} tasks wait to be stored; await some of them first");
    Fault::new(FaultCode::QueueFull, "", message)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::NewTask;
    use crate::model::spec::{
        ConstraintsSpec, ExistingPolicy, PythonSpec, RetrySpec, TaskSpec, TriggerSpec, WorkerSpec,
    };
    use crate::runtime::KnownCallbacks;
    use crate::runtime::SystemClock;
    use crate::runtime::lock::LockSlot;
    use crate::runtime::situation::SharedSituation;
    use crate::source::PathPolicy;
    use crate::transfer::{AddressPolicy, Targets};

    /// One whose admission queue has no thread yet.
    fn ingress() -> Ingress {
        let supervisor = Supervisor {
            completions: Completions::new().unwrap(),
            inbox: Arc::default(),
            lock: LockSlot::new(),
        };
        let admission = Admission {
            paths: Arc::new(PathPolicy::anywhere()),
            targets: Arc::new(Targets::new(AddressPolicy::permissive())),
            allow_http: false,
            callbacks: KnownCallbacks::new(["noop".to_owned()], false),
            situation: Arc::new(SharedSituation::new(Arc::new(SystemClock::new()), 0)),
        };
        Ingress::new(admission, supervisor)
    }

    fn python(callback: &str, bytes: usize) -> Bytes {
        let spec = TaskSpec {
            task_id: None,
            worker: WorkerSpec::Python(PythonSpec {
                callback_id: callback.to_owned(),
                input: vec![0; bytes],
            }),
            trigger: TriggerSpec::OneTime { initial_delay_ms: 0 },
            constraints: ConstraintsSpec { network_type: None, battery_not_low: false },
            existing_policy: ExistingPolicy::Keep,
            retry: RetrySpec {
                max_retries: 0,
                initial_delay_ms: 0,
                multiplier: 1.0,
                max_delay_ms: 0,
            },
            tag: None,
            priority: 0,
        };
        rmp_serde::to_vec(&spec).unwrap().into()
    }

    /// In place of the ticket of what has none.
    const AT_ONCE: Ticket = 0;

    impl Ingress {
        fn taken(&self) -> Vec<Ticket> {
            let ticket = |op: &Op| match op {
                Op::Enqueue { ticket, .. } | Op::Cancel { ticket, .. } => *ticket,
                Op::CancelStored { .. } => AT_ONCE,
                other => panic!("{other:?}"),
            };
            self.inbox.take(100, Duration::ZERO).iter().map(ticket).collect()
        }
    }

    #[test]
    fn what_opens_no_file_passes_without_waiting_for_admission() {
        let ingress = ingress();
        ingress.enqueue(vec![(1, python("noop", 10)), (2, python("unknown", 10))]);
        assert_eq!(ingress.taken(), [1]);
        let mut replies = ingress.completions.drain(8).replies;
        let [(2, Err(fault))] = replies.make_contiguous() else { panic!("{replies:?}") };
        assert_eq!(fault.code, FaultCode::UnknownCallback);
    }

    #[test]
    fn tasks_that_come_together_are_admitted_as_each_would_be_alone() {
        let specs = [
            python("noop", 10),
            python("noop", 300),
            python("noop", 0),
            python("unknown", 10),
            python("noop", 10),
        ];
        let outcome = |ingresses: &[Ingress]| {
            let judged = |ingress: &Ingress| {
                let tasks =
                    ingress.inbox.take(100, Duration::ZERO).into_iter().map(|op| match op {
                        Op::Enqueue { ticket, task } => (ticket, NewTask { run_at: 0, ..task }),
                        other => panic!("{other:?}"),
                    });
                (tasks.collect::<Vec<_>>(), ingress.completions.drain(100).replies)
            };
            let (tasks, replies): (Vec<_>, Vec<_>) = ingresses.iter().map(judged).unzip();
            (tasks.concat(), replies.into_iter().flatten().collect::<Vec<_>>())
        };
        let together = ingress();
        together.enqueue((1..).zip(specs.clone()).collect());
        let alone = (1..).zip(specs).map(|call| {
            let ingress = ingress();
            ingress.enqueue(vec![call]);
            ingress
        });
        let (tasks, replies) = outcome(&alone.collect::<Vec<_>>());
        assert_eq!((tasks.len(), replies.len()), (4, 1));
        assert_eq!(outcome(&[together]), (tasks, replies));
    }

    #[test]
    fn nothing_overtakes_what_waits_for_admission() {
        let ingress = ingress();
        let large = python("noop", 32 * 1024);
        ingress.enqueue(vec![(1, python("noop", 1)), (2, large), (3, python("noop", 1))]);
        ingress.enqueue(vec![(4, python("noop", 1))]);
        ingress.cancel(5, Selection::All);
        ingress.cancel(7, Selection::Key(1));
        assert_eq!(ingress.taken(), [1, AT_ONCE, 7]); // which end what is stored
        ingress.admissions().start().unwrap();
        let (began, mut taken) = (Instant::now(), Vec::new());
        while taken.len() < 4 {
            assert!(began.elapsed() < Duration::from_secs(20), "{taken:?}");
            taken.extend(ingress.taken());
        }
        assert_eq!(taken, [2, 3, 4, 5]);
        while !ingress.admissions.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        ingress.enqueue(vec![(6, python("noop", 1))]);
        assert_eq!(ingress.taken(), [6]);
    }
}
