//! The same queue as a list, a ring of lane numbers and no cleverness.

use std::collections::{BTreeMap, BTreeSet};

use outhaul_core::model::TaskKey;
use outhaul_core::model::constraint::Needs;
use outhaul_core::schedule::{Config, Counts, Entry, LaneId, ScheduleError, Waiting};

struct Waiter {
    entry: Entry,
    turn: u64,
    is_due: bool,
}

pub(crate) struct Naive {
    config: Config,
    waiters: Vec<Waiter>,
    running: BTreeMap<LaneId, usize>,
    limits: BTreeMap<LaneId, usize>,
    ring: Vec<LaneId>,
    unmet: Needs,
    turns: u64,
}

impl Naive {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            waiters: Vec::new(),
            running: BTreeMap::new(),
            limits: BTreeMap::new(),
            ring: Vec::new(),
            unmet: 0,
            turns: 0,
        }
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn at(&self, key: TaskKey) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.entry.key == key)
    }

    fn order(&self, waiter: &Waiter) -> (i64, u64) {
        let Entry { due_ms, priority, .. } = waiter.entry;
        let rank = match self.config.ageing_ms {
            0 => -i64::from(priority),
            ageing_ms => due_ms - i64::from(priority) * ageing_ms,
        };
        (rank, waiter.turn)
    }

    /// The waiter that `lane` would run now.
    fn next_of(&self, lane: LaneId) -> Option<&Waiter> {
        let running = self.running.get(&lane).copied().unwrap_or_default();
        if running >= self.limits.get(&lane).copied().unwrap_or(self.config.lane_running_max) {
            return None;
        }
        let ready = self.waiters.iter().filter(|waiter| {
            waiter.is_due && waiter.entry.lane == lane && waiter.entry.needs & self.unmet == 0
        });
        ready.min_by_key(|waiter| self.order(waiter))
    }

    fn settle(&mut self, lane: LaneId) {
        match (self.next_of(lane).is_some(), self.ring.contains(&lane)) {
            (true, false) => self.ring.push(lane),
            (false, true) => self.ring.retain(|other| *other != lane),
            _ => {}
        }
    }

    pub(crate) fn push(&mut self, entry: Entry, now_ms: i64) -> Result<(), ScheduleError> {
        if self.at(entry.key).is_some() {
            return Err(ScheduleError::Duplicate(entry.key));
        }
        if self.waiters.len() >= self.config.capacity {
            return Err(ScheduleError::Full { capacity: self.config.capacity });
        }
        let turn = self.turn();
        self.waiters.push(Waiter { entry, turn, is_due: entry.due_ms <= now_ms });
        self.settle(entry.lane);
        Ok(())
    }

    pub(crate) fn cancel(&mut self, key: TaskKey) -> bool {
        let Some(at) = self.at(key) else { return false };
        let waiter = self.waiters.remove(at);
        self.settle(waiter.entry.lane);
        true
    }

    pub(crate) fn reschedule(&mut self, key: TaskKey, due_ms: i64, now_ms: i64) -> bool {
        let Some(at) = self.at(key) else { return false };
        let mut waiter = self.waiters.remove(at);
        self.settle(waiter.entry.lane);
        waiter.turn = self.turn();
        waiter.entry.due_ms = due_ms;
        waiter.is_due = due_ms <= now_ms;
        let lane = waiter.entry.lane;
        self.waiters.push(waiter);
        self.settle(lane);
        true
    }

    pub(crate) fn reprioritise(&mut self, key: TaskKey, priority: i32) -> bool {
        let Some(at) = self.at(key) else { return false };
        self.waiters[at].entry.priority = priority;
        true
    }

    pub(crate) fn set_unmet(&mut self, unmet: Needs) {
        self.unmet = unmet;
        let lanes: BTreeSet<LaneId> = self.waiters.iter().map(|w| w.entry.lane).collect();
        let mut opened: Vec<((i64, u64), LaneId)> = Vec::new();
        for lane in lanes {
            match self.next_of(lane) {
                Some(next) if !self.ring.contains(&lane) => opened.push((self.order(next), lane)),
                Some(_) => {}
                None => self.ring.retain(|other| *other != lane),
            }
        }
        opened.sort_unstable();
        self.ring.extend(opened.into_iter().map(|(_, lane)| lane));
    }

    pub(crate) fn set_lane_limit(&mut self, lane: LaneId, running_max: usize) {
        self.limits.insert(lane, running_max);
        self.settle(lane);
    }

    pub(crate) fn advance(&mut self, now_ms: i64) {
        loop {
            let due = self
                .waiters
                .iter()
                .enumerate()
                .filter(|(_, waiter)| !waiter.is_due && waiter.entry.due_ms <= now_ms);
            let Some((at, _)) = due.min_by_key(|(_, w)| (w.entry.due_ms, w.turn)) else { return };
            let turn = self.turn();
            self.waiters[at].turn = turn;
            self.waiters[at].is_due = true;
            self.settle(self.waiters[at].entry.lane);
        }
    }

    pub(crate) fn take(&mut self) -> Option<Entry> {
        if self.running() >= self.config.running_max || self.ring.is_empty() {
            return None;
        }
        let lane = self.ring.remove(0);
        let key = self.next_of(lane).unwrap().entry.key;
        let waiter = self.waiters.remove(self.at(key).unwrap());
        *self.running.entry(lane).or_default() += 1;
        self.settle(lane);
        Some(waiter.entry)
    }

    pub(crate) fn release(&mut self, lane: LaneId) -> bool {
        let Some(running) = self.running.get_mut(&lane).filter(|running| **running > 0) else {
            return false;
        };
        *running -= 1;
        self.settle(lane);
        true
    }

    pub(crate) fn occupy(&mut self, lane: LaneId) {
        *self.running.entry(lane).or_default() += 1;
        self.settle(lane);
    }

    pub(crate) fn pop_due(&mut self, now_ms: i64, limit: usize) -> Vec<TaskKey> {
        self.advance(now_ms);
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(entry) = self.take()
        {
            self.release(entry.lane);
            keys.push(entry.key);
        }
        keys
    }

    fn running(&self) -> usize {
        self.running.values().sum()
    }

    pub(crate) fn waiting(&self, key: TaskKey) -> Option<Waiting> {
        let waiter = &self.waiters[self.at(key)?];
        let unmet = waiter.entry.needs & self.unmet;
        Some(match (waiter.is_due, unmet) {
            (false, _) => Waiting::Time,
            (true, 0) => Waiting::Slot,
            (true, unmet) => Waiting::Constraint(unmet),
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        let count = |waiting: fn(Waiting) -> bool| {
            self.waiters.iter().filter(|w| self.waiting(w.entry.key).is_some_and(waiting)).count()
        };
        Counts {
            delayed: count(|waiting| waiting == Waiting::Time),
            ready: count(|waiting| waiting == Waiting::Slot),
            parked: count(|waiting| matches!(waiting, Waiting::Constraint(_))),
            running: self.running(),
        }
    }

    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.waiters.iter().filter(|w| !w.is_due).map(|w| w.entry.due_ms).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }
}
