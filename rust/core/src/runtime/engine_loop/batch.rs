//! One transaction: what has arrived is decided in order, and stored.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;

use super::EngineLoop;
use super::publish::{Action, Claim, Publication};
use crate::engine::{Arrival, Decision, Effect, End, Input, NewTask, Scheduled};
use crate::model::task_id::{id_of, next_key};
use crate::model::{Fault, FaultCode, Now, TaskKey, TaskStatus};
use crate::runtime::completions::{self, FailedTask, Reply};
use crate::runtime::inbox::Op;
use crate::runtime::progress_board::AttemptPercent;
use crate::runtime::replies::pack;
use crate::store::{Selection, Store, StoreError};

impl EngineLoop {
    /// One transaction. What it leads to happens only once it is on disk.
    pub(super) fn batch(
        &mut self,
        ops: &[Op],
        held: &[AttemptPercent],
        now: Now,
    ) -> Result<(), StoreError> {
        self.parts.store.begin()?;
        self.has_begun = true;
        if self.is_superseded()? {
            self.give_way();
        }
        let mut publication = Publication::default();
        self.transact(ops, held, now, &mut publication)?;
        self.parts.board.release(held);
        self.publish(publication);
        Ok(())
    }

    /// Decides and commits, in a transaction that has begun.
    fn transact(
        &mut self,
        ops: &[Op],
        held: &[AttemptPercent],
        now: Now,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        self.foreign_news()?;
        // Others may have taken keys since our last transaction.
        self.last_key = 0;
        let mut effects = self.catch_up(now, publication)?;
        for &(key, attempt, percent) in held {
            let input = Input::Progress { key, attempt, percent };
            self.engine.handle(input, now, &mut effects);
        }
        self.store(&mut effects, publication)?;
        for op in ops {
            self.decide(op, now, &mut effects, publication)?;
            self.store(&mut effects, publication)?;
        }
        self.engine.handle(Input::Tick, now, &mut effects);
        self.store(&mut effects, publication)?;
        // Without a change this costs no disk access, and what others did counts as seen.
        self.parts.store.commit()
    }

    /// Tells the engine what other processes have committed since it was last told.
    pub(super) fn catch_up(
        &mut self,
        now: Now,
        publication: &mut Publication,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut effects = Vec::new();
        for key in self.parts.store.foreign_changes()? {
            if self.is_runner() {
                let row = self.parts.store.live(key)?;
                if row.is_none() {
                    publication.ended.push(key);
                }
                effects.extend(self.engine.catch_up(key, row, now));
            }
        }
        Ok(effects)
    }

    /// Lets the engine decide about one op.
    fn decide(
        &mut self,
        op: &Op,
        now: Now,
        effects: &mut Vec<Effect>,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        match op {
            Op::Enqueue { ticket, task } => {
                let rows = self.enqueue(slice::from_ref(task), now, effects)?;
                publication.replies.push((*ticket, rows.and_then(only)));
            }
            Op::EnqueueAll { ticket, tasks } => {
                let rows = self.enqueue(tasks, now, effects)?;
                publication.replies.push((*ticket, rows.and_then(|rows| pages(&rows))));
            }
            Op::Cancel { ticket, selection, before } => {
                let number = self.cancel(selection, now, effects)?;
                let before = before.as_ref().map_or(0, |before| before.load(Ordering::Relaxed));
                publication.replies.push((*ticket, pack(&(before + number))));
            }
            Op::CancelStored { selection, count } => {
                count.store(self.cancel(selection, now, effects)?, Ordering::Relaxed);
            }
            Op::Outcome { key, attempt, outcome } => {
                let Some(running) = self.running.get(key).filter(|u| u.number == *attempt) else {
                    return Ok(());
                };
                publication.outcomes.push(*key);
                let (key, attempt, outcome) = (*key, *attempt, outcome.clone());
                let input = Input::Outcome { key, attempt, outcome, retry: running.retry };
                self.engine.handle(input, now, effects);
            }
            Op::Signals { unmet } => {
                self.engine.handle(Input::Signals { unmet: *unmet }, now, effects);
            }
            Op::Register { .. }
            | Op::Drain { .. }
            | Op::WaitIdle { .. }
            | Op::Abandon { .. }
            | Op::Close { .. }
            | Op::Wake => {}
        }
        Ok(())
    }

    /// Lets the engine end tasks; says how many.
    fn cancel(
        &mut self,
        selection: &Selection,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<usize, StoreError> {
        let keys = self.meant(selection)?;
        match self.engine.handle(Input::Cancel(keys), now, effects) {
            Decision::Cancelled(number) => Ok(number),
            _ => Ok(0),
        }
    }

    /// Lets the engine decide about new tasks: what becomes of each, or why of none.
    fn enqueue(
        &mut self,
        tasks: &[NewTask],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Result<Vec<Row>, Fault>, StoreError> {
        self.look_how_many_wait()?;
        let arrivals = self.arrivals(tasks, now)?;
        Ok(rows(self.engine.handle(Input::Enqueue(arrivals), now, effects), tasks))
    }

    /// A process that does not run tasks has none in memory: it asks the store how many there are.
    fn look_how_many_wait(&mut self) -> Result<(), StoreError> {
        if self.is_runner() || self.counted.is_some_and(|at| at.elapsed() < COUNT_AGAIN) {
            return Ok(());
        }
        self.counted = Some(Instant::now());
        self.engine.set_waiting_elsewhere(self.parts.store.count_live()?);
        Ok(())
    }

    /// New tasks with their keys, and the live tasks that have their ids.
    fn arrivals(&mut self, tasks: &[NewTask], now: Now) -> Result<Vec<Arrival>, StoreError> {
        let mut last_key = match self.last_key {
            0 => self.parts.store.last_key()?,
            known => known,
        };
        let mut arrivals = Vec::with_capacity(tasks.len());
        for task in tasks {
            last_key = next_key(last_key, now.wall_ms);
            let mut taken_by = None;
            if let Some(task_id) = &task.task_id {
                taken_by = self.parts.store.newest(task_id)?;
                self.show(taken_by)?;
            }
            arrivals.push(Arrival { task: task.clone(), key: last_key, taken_by });
        }
        self.last_key = last_key;
        Ok(arrivals)
    }

    /// The live tasks that a cancel means.
    fn meant(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError> {
        let keys = self.parts.store.select(selection)?;
        for key in &keys {
            self.show(Some(*key))?;
        }
        Ok(keys)
    }

    /// Shows an observer's engine the row that a rule touches. A runner's engine has them all.
    fn show(&mut self, key: Option<TaskKey>) -> Result<(), StoreError> {
        if !self.is_runner()
            && let Some(key) = key
            && self.engine.table().get(key).is_none()
            && let Some(live) = self.parts.store.live(key)?
        {
            self.engine.show(live);
        }
        Ok(())
    }

    /// Stores effects, and notes what they lead to after the commit.
    pub(super) fn store(
        &mut self,
        effects: &mut Vec<Effect>,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        self.parts.store.apply(effects)?;
        for effect in effects.drain(..) {
            match effect {
                Effect::Start { key, attempt, mark_percent, .. } => {
                    let body = self.parts.store.body(key)?;
                    let claim = Claim { key, number: attempt, mark_percent, body };
                    publication.actions.push(Action::Start(claim));
                }
                Effect::Stop { key, attempt: number, why } => {
                    publication.actions.push(Action::Stop { key, number, why });
                }
                Effect::Finish { key, status, attempt, end, .. } => {
                    publication.ended.push(key);
                    match end {
                        End::Success(_) => publication.completed.push((key, attempt, 100)),
                        End::Failure(failure) if status == TaskStatus::Failed => {
                            let named = self.parts.store.body(key)?.and_then(|body| body.task_id);
                            let task_id = id_of(key, named.as_deref());
                            publication.failed.push(FailedTask { key, attempt, task_id, failure });
                        }
                        End::Failure(_) => {}
                    }
                }
                Effect::Record { .. } => publication.news = true,
                Effect::Insert { .. } | Effect::Update(_) => {}
            }
        }
        Ok(())
    }

    /// The transaction failed: calls are told, outcomes are kept for the next one.
    pub(super) fn refuse(&mut self, ops: Vec<Op>, fault: &Fault) {
        let is_too_new = fault.code == FaultCode::StoreTooNew;
        let mut again = Vec::new();
        for op in ops {
            match op {
                Op::Enqueue { ticket, .. }
                | Op::EnqueueAll { ticket, .. }
                | Op::Cancel { ticket, .. } => {
                    self.parts.completions.reply(ticket, Err(fault.clone()));
                }
                // What runs here is another process's now, and so is what holds.
                Op::Outcome { .. } | Op::Signals { .. } if is_too_new => {}
                // The cancel that it belongs to is refused, too, or does all of it in its turn.
                Op::CancelStored { count, .. } => count.store(0, Ordering::Relaxed),
                other => again.push(other),
            }
        }
        self.parts.inbox.put_back(again);
    }
}

/// How old the number of tasks may be that a process judges by which has none in memory.
const COUNT_AGAIN: Duration = Duration::from_secs(1);

/// The answer to an enqueue of many is cut into pieces of this many tasks, so that its reader can
/// pause.
const PAGE: usize = 256;

/// What is told of a new task: its key, whether it was accepted, and its id, where one was chosen.
type Row = (TaskKey, bool, Option<Arc<str>>);

fn rows(decision: Decision, tasks: &[NewTask]) -> Result<Vec<Row>, Fault> {
    match decision {
        Decision::Scheduled(scheduled) => {
            let row = |(scheduled, task): (Scheduled, &NewTask)| {
                let (key, accepted) = match scheduled {
                    Scheduled::Accepted(key) => (key, true),
                    Scheduled::Kept(key) => (key, false),
                };
                (key, accepted, task.task_id.clone())
            };
            Ok(scheduled.into_iter().zip(tasks).map(row).collect())
        }
        Decision::Full(waiting) => Err(Fault::new(
            FaultCode::QueueFull,
            "",
            format!("{waiting} tasks wait already; enqueue fewer, or later"),
        )),
        Decision::None | Decision::Cancelled(_) => Err(unanswered()),
    }
}

/// The answer to an enqueue of one task.
fn only(rows: Vec<Row>) -> Reply {
    let (key, accepted, id) = rows.into_iter().next().ok_or_else(unanswered)?;
    Ok(completions::ReplyValue::Scheduled(key, accepted, id))
}

/// The answer to an enqueue of several: encoded pages.
fn pages(rows: &[Row]) -> Reply {
    let named = |(key, accepted, id): &Row| (*key, *accepted, id_of(*key, id.as_deref()));
    let page = |rows: &[Row]| {
        let rows: Vec<_> = rows.iter().map(named).collect();
        rmp_serde::to_vec_named(&rows).map(ByteBuf::from)
    };
    let pages = rows.chunks(PAGE).map(page).collect::<Result<Vec<_>, _>>();
    pack(&pages.map_err(|error| Fault::new(FaultCode::Internal, "", error.to_string()))?)
}

fn unanswered() -> Fault {
    Fault::new(FaultCode::Internal, "", "an enqueue got no answer")
}
