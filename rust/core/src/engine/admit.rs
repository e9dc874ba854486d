//! What becomes of a new task: accepted, kept, or put in the place of another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::effect::{Arrival, Effect, NewTask, Scheduled};
use super::live::Live;
use super::{Decision, Engine, record};
use crate::model::event::EventDetail;
use crate::model::spec::ExistingPolicy;
use crate::model::{EventKind, Now, TaskKey, TaskStatus};

impl Engine {
    pub(super) fn enqueue(
        &mut self,
        arrivals: Vec<Arrival>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Decision {
        let waiting = self.schedule.len().saturating_add(self.waiting_elsewhere);
        let number = self.additional(&arrivals);
        if number > 0 && waiting.saturating_add(number) > self.limits.pending_max {
            return Decision::Full(waiting);
        }
        if !self.is_runner() {
            self.waiting_elsewhere = waiting.saturating_add(number);
        }
        // Within one call an id may come more than once: who holds it by then is known only here.
        let mut holders: HashMap<Arc<str>, TaskKey> = HashMap::new();
        let mut answers = Vec::with_capacity(arrivals.len());
        for mut new in arrivals {
            let task_id = new.task.task_id.clone();
            if let Some(holder) = task_id.as_ref().and_then(|task_id| holders.get(task_id)) {
                new.taken_by = Some(*holder);
            }
            let scheduled = self.enqueue_one(new, now, effects);
            if let Some(task_id) = task_id {
                let (Scheduled::Accepted(key) | Scheduled::Kept(key)) = scheduled;
                holders.insert(task_id, key);
            }
            answers.push(scheduled);
        }
        Decision::Scheduled(answers)
    }

    /// By how much an enqueue makes the queue longer: a task that is kept does not, nor does one
    /// that replaces a pending one.
    fn additional(&self, arrivals: &[Arrival]) -> usize {
        if let [new] = arrivals {
            return usize::from(self.adds(new) == Some(true));
        }
        let mut named = HashSet::new();
        let mut number = 0_usize;
        for new in arrivals {
            let Some(is_another) = self.adds(new) else { continue };
            // Of two with the same id one goes, in the same call.
            let id = new.task.task_id.as_ref();
            let is_named_again = id.is_some_and(|task_id| !named.insert(task_id));
            number = number.saturating_add(usize::from(is_another && !is_named_again));
        }
        number
    }

    /// Whether this one alone makes the queue longer; `None` where nothing is stored.
    fn adds(&self, new: &Arrival) -> Option<bool> {
        let taken = new.taken_by.and_then(|key| self.table.get(key));
        match admission(&new.task, taken) {
            Admission::Accept => Some(true),
            Admission::Keep(_) => None,
            Admission::Replace(_) => {
                Some(taken.is_some_and(|live| live.status != TaskStatus::Pending))
            }
        }
    }

    fn enqueue_one(&mut self, new: Arrival, now: Now, effects: &mut Vec<Effect>) -> Scheduled {
        let taken = new.taken_by.and_then(|key| self.table.get(key));
        match admission(&new.task, taken) {
            Admission::Keep(key) => return Scheduled::Kept(key),
            Admission::Replace(key) => {
                self.cancel(key, EventKind::Replaced, now, effects);
            }
            Admission::Accept => {}
        }
        let live = new_row(&new.task, new.key);
        let key = live.key;
        self.wait(live.clone(), now);
        effects.push(Effect::Insert { live, task: new.task, at: now.wall_ms });
        record(effects, now, EventKind::Enqueued, key, EventDetail::default());
        Scheduled::Accepted(key)
    }
}

/// What becomes of one new task. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// It is stored.
    Accept,
    /// The task that has its id stays exactly as it is (S-021, C-10).
    Keep(TaskKey),
    /// The task that has its id ends, and this one is stored.
    Replace(TaskKey),
}

/// Decides by the policy and by the live task that has the id, if there is one. Pure.
fn admission(task: &NewTask, taken: Option<&Live>) -> Admission {
    match (taken, task.existing_policy) {
        (None, _) => Admission::Accept,
        (Some(live), ExistingPolicy::Keep) => Admission::Keep(live.key),
        (Some(live), ExistingPolicy::Replace) => Admission::Replace(live.key),
    }
}

/// The narrow row of a new task. Pure.
fn new_row(task: &NewTask, key: TaskKey) -> Live {
    Live {
        key,
        status: TaskStatus::Pending,
        priority: task.priority,
        run_at: task.run_at,
        attempt: 0,
        attempts_max: task.attempts_max,
        crashes: 0,
        epoch: 0,
        lane: task.lane,
        needs: task.needs,
        native: task.native,
        mark_percent: 0,
        failure: None,
    }
}
