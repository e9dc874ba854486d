//! The newest progress of every transfer, and the calls that wait for it.
//!
//! One value a task, never a queue: a slow reader skips. A finished transfer stays on the board
//! until [`DONE_KEPT`] later ones have finished, so that a reader who comes late sees its 100 %.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::completions::{Completions, Reply, Ticket};
use super::replies::pack;
use crate::model::TaskKey;
use crate::progress::{Mark, Update};
use crate::sync;

/// How many finished transfers stay on the board.
const DONE_KEPT: usize = 1024;

/// Whose progress is asked for.
#[derive(Clone, Debug, Default)]
pub struct ProgressFilter {
    /// That of one task.
    pub key: Option<TaskKey>,
    /// That of tasks with this id.
    pub task_id: Option<String>,
    /// That of tasks with this tag.
    pub tag: Option<String>,
}

#[derive(Debug)]
struct Line {
    version: u64,
    task_id: String,
    tag: Option<String>,
    update: Update,
}

impl Line {
    fn new(task_id: &str, tag: Option<&str>, update: Update) -> Self {
        Self { version: 0, task_id: task_id.to_owned(), tag: tag.map(str::to_owned), update }
    }

    fn matches(&self, key: TaskKey, want: &ProgressFilter) -> bool {
        want.key.is_none_or(|wanted| wanted == key)
            && want.task_id.as_ref().is_none_or(|task_id| self.task_id == *task_id)
            && want.tag.as_ref().is_none_or(|tag| self.tag.as_ref() == Some(tag))
    }
}

#[derive(Debug)]
struct WaitingCall {
    ticket: Ticket,
    after: u64,
    want: ProgressFilter,
}

/// Progress that the store is to remember: of which task, which attempt, how many percent.
pub(super) type AttemptPercent = (TaskKey, u32, u8);

#[derive(Debug, Default)]
struct Board {
    version: u64,
    lines: FxHashMap<TaskKey, Line>,
    done: VecDeque<TaskKey>,
    waiting: Vec<WaitingCall>,
    /// What waits to be remembered by the store before it is shown, with the number of its attempt.
    held: Lines,
    /// What the store is remembering just now. What is held meanwhile is newer.
    storing: Lines,
}

type Lines = FxHashMap<TaskKey, (u32, Line)>;

/// The board, shared by the transfers that write it and the calls that read it.
#[derive(Debug)]
pub struct ProgressBoard {
    board: Mutex<Board>,
    completions: Completions,
}

/// What a call for progress is answered: the newest values, and where the next call goes on.
#[derive(Serialize)]
struct News<'a> {
    version: u64,
    updates: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    key: TaskKey,
    task_id: &'a str,
    percent: u8,
    bytes_sent: u64,
    bytes_acknowledged: u64,
    bytes_total: u64,
    rate_bytes_per_s: f64,
    remaining_ms: Option<u64>,
}

impl ProgressBoard {
    /// An empty board.
    pub fn new(completions: Completions) -> Self {
        Self { board: Mutex::default(), completions }
    }

    /// Shows progress that the store knows already: where an attempt begins.
    pub fn show(&self, key: TaskKey, task_id: &str, tag: Option<&str>, update: Update) {
        let mut board = self.lock();
        board.show(key, Line::new(task_id, tag, update));
        self.answer(board);
    }

    /// Holds progress until the store remembers it: what has been shown once is never taken back,
    /// not even by a crash. A newer value takes the place of one that is still held.
    pub fn hold(
        &self,
        key: TaskKey,
        attempt: u32,
        task_id: &str,
        tag: Option<&str>,
        update: Update,
    ) {
        self.lock().held.insert(key, (attempt, Line::new(task_id, tag, update)));
    }

    /// Progress that waits to be stored. Drops that of attempts that are not under way any more.
    /// What was given before and not released is given again, unless something newer is held.
    ///
    /// 100 % is not among it: that is shown with the completion of its task, and only then, since a
    /// crash in between would take it back.
    pub(super) fn held(&self, is_under_way: impl Fn(TaskKey, u32) -> bool) -> Vec<AttemptPercent> {
        let board = &mut *self.lock();
        for (key, line) in board.storing.drain() {
            board.held.entry(key).or_insert(line);
        }
        board.held.retain(|key, (attempt, _)| is_under_way(*key, *attempt));
        board.storing.extend(board.held.extract_if(|_, (_, line)| line.update.percent < 100));
        let held = |(key, (attempt, line)): (&TaskKey, &(u32, Line))| {
            (*key, *attempt, line.update.percent)
        };
        board.storing.iter().map(held).collect()
    }

    /// The store remembers these: shows what was held up to there.
    pub(super) fn release(&self, remembered: &[AttemptPercent]) {
        if remembered.is_empty() {
            return;
        }
        let mut board = self.lock();
        for remembered in remembered {
            let earlier = take_known(&mut board.storing, remembered);
            let later = take_known(&mut board.held, remembered);
            for line in earlier.into_iter().chain(later) {
                board.show(remembered.0, line);
            }
        }
        self.answer(board);
    }

    /// Where the counters of a task stand, if an attempt of it was made here: the next one goes on
    /// from them, so that nobody sees them go back.
    pub fn mark(&self, key: TaskKey) -> Option<Mark> {
        let board = self.lock();
        let Update { percent, bytes_sent, bytes_acknowledged, .. } = board.lines.get(&key)?.update;
        Some(Mark { percent, bytes_sent, bytes_acknowledged })
    }

    /// The task has ended: its line goes once enough others have ended after it.
    pub fn retire(&self, key: TaskKey) {
        let mut board = self.lock();
        board.held.remove(&key);
        board.storing.remove(&key);
        if !board.lines.contains_key(&key) {
            return;
        }
        board.done.push_back(key);
        if board.done.len() > DONE_KEPT
            && let Some(oldest) = board.done.pop_front()
        {
            board.lines.remove(&oldest);
        }
    }

    /// Answers with everything newer than `after` that matches: with `follow` as soon as there is
    /// any, otherwise now.
    pub fn ask(&self, ticket: Ticket, after: u64, want: ProgressFilter, follow: bool) {
        let call = WaitingCall { ticket, after, want };
        let mut board = self.lock();
        let Some(reply) = board.news(&call, follow) else {
            board.waiting.push(call);
            return;
        };
        drop(board);
        self.completions.reply(ticket, reply);
    }

    /// Takes back a call that nobody waits for any more.
    pub fn abandon(&self, ticket: Ticket) {
        self.lock().waiting.retain(|waiting| waiting.ticket != ticket);
    }

    /// Answers the calls that can be answered now.
    fn answer(&self, mut board: MutexGuard<'_, Board>) {
        let ready = board.take_ready();
        drop(board);
        for (ticket, reply) in ready {
            self.completions.reply(ticket, reply);
        }
    }

    // LOCKING: held for look-ups in memory, never across a call.
    fn lock(&self) -> MutexGuard<'_, Board> {
        sync::lock(&self.board)
    }
}

impl Board {
    fn show(&mut self, key: TaskKey, line: Line) {
        self.version += 1;
        self.lines.insert(key, Line { version: self.version, ..line });
    }

    /// The calls that can be answered, with their answers.
    fn take_ready(&mut self) -> Vec<(Ticket, Reply)> {
        let mut ready = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for call in waiting {
            match self.news(&call, true) {
                Some(reply) => ready.push((call.ticket, reply)),
                None => self.waiting.push(call),
            }
        }
        ready
    }

    fn news(&self, call: &WaitingCall, follow: bool) -> Option<Reply> {
        let newer = |(key, line): (&TaskKey, &Line)| {
            line.version > call.after && line.matches(*key, &call.want)
        };
        let mut lines: Vec<(TaskKey, &Line)> = match call.want.key {
            Some(key) => self.lines.get(&key).into_iter().map(|line| (key, line)).collect(),
            None => self.lines.iter().map(|(key, line)| (*key, line)).collect(),
        };
        lines.retain(|(key, line)| newer((key, line)));
        if lines.is_empty() && follow {
            return None;
        }
        lines.sort_unstable_by_key(|(_, line)| line.version);
        let updates = lines.iter().map(|(key, line)| item(*key, line)).collect();
        Some(pack(&News { version: self.version, updates }))
    }
}

/// Takes a line out that says no more than the store remembers.
fn take_known(lines: &mut Lines, (key, number, percent): &AttemptPercent) -> Option<Line> {
    let (attempt, line) = lines.get(key)?;
    if attempt != number || line.update.percent > *percent {
        return None;
    }
    lines.remove(key).map(|(_, line)| line)
}

fn item(key: TaskKey, line: &Line) -> Item<'_> {
    Item {
        key,
        task_id: &line.task_id,
        percent: line.update.percent,
        bytes_sent: line.update.bytes_sent,
        bytes_acknowledged: line.update.bytes_acknowledged,
        bytes_total: line.update.bytes_total,
        rate_bytes_per_s: line.update.rate_bytes_per_s,
        remaining_ms: line.update.remaining_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TaskKey = 7;

    fn held(board: &ProgressBoard) -> Vec<u8> {
        board.held(|_, _| true).into_iter().map(|(_, _, percent)| percent).collect()
    }

    fn hold(board: &ProgressBoard, percent: u8) {
        let update = Update {
            percent,
            bytes_sent: 0,
            bytes_acknowledged: 0,
            bytes_total: 100,
            rate_bytes_per_s: 0.0,
            remaining_ms: None,
        };
        board.hold(KEY, 1, "x", None, update);
    }

    fn shown(board: &ProgressBoard) -> Option<u8> {
        board.mark(KEY).map(|mark| mark.percent)
    }

    #[test]
    fn what_the_store_remembers_is_shown_although_there_is_more_by_then() {
        let board = ProgressBoard::new(Completions::new().unwrap());
        hold(&board, 10);
        assert_eq!(held(&board), [10]);
        hold(&board, 20);
        assert_eq!(shown(&board), None);
        board.release(&[(KEY, 1, 10)]);
        assert_eq!(shown(&board), Some(10));
        assert_eq!(held(&board), [20]);
        hold(&board, 100);
        board.release(&[(KEY, 1, 20)]);
        assert_eq!((shown(&board), held(&board)), (Some(20), vec![]));
        board.release(&[(KEY, 1, 100)]);
        assert_eq!(shown(&board), Some(100));
    }

    #[test]
    fn what_the_store_could_not_remember_is_given_to_it_again_unless_there_is_more() {
        let board = ProgressBoard::new(Completions::new().unwrap());
        hold(&board, 10);
        assert_eq!((held(&board), held(&board)), (vec![10], vec![10]));
        hold(&board, 20);
        assert_eq!(held(&board), [20]);
        board.release(&[(KEY, 2, 20)]); // another attempt's
        assert_eq!(shown(&board), None);
    }
}
