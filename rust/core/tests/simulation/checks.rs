//! What has to hold between any two steps.

use std::collections::BTreeMap;

use outhaul_core::engine::{Live, lane_of_callback};
use outhaul_core::model::{TaskKey, TaskStatus};

use super::world::{CALLBACKS, World};

impl World {
    /// What has to hold between any two steps.
    pub fn check(&self) {
        let live: BTreeMap<_, _> = self.store.committed_live().map(|row| (row.key, row)).collect();
        assert_eq!(live.len() + self.store.done_len(), self.book.tasks.len());
        for key in live.keys() {
            assert_eq!(self.book.tasks[key].ended, None, "task {key} lives and has ended");
            assert_eq!(self.store.ended(*key), None, "task {key} lives and has ended");
        }
        if !self.foreign.is_empty() {
            return; // The runner has still to hear of it.
        }
        assert_eq!(self.engine.table().len(), live.len());
        for row in live.values() {
            assert_eq!(self.engine.table().get(row.key), Some(*row));
            let runner = if row.status == TaskStatus::Running { self.epoch } else { 0 };
            assert_eq!(row.epoch, runner, "{row:?}");
        }
        let running: BTreeMap<_, _> = live
            .values()
            .filter(|row| row.status == TaskStatus::Running)
            .map(|row| (row.key, row.attempt))
            .collect();
        assert_eq!(running, self.underway);
        self.check_limits(&live);
    }

    fn check_limits(&self, live: &BTreeMap<TaskKey, &Live>) {
        let counts = self.engine.counts();
        assert_eq!(counts.running, self.underway.len());
        assert_eq!(
            counts.delayed + counts.ready + counts.parked + counts.running,
            live.len(),
            "a task is in no queue"
        );
        assert!(self.underway.len() <= self.limits.running_max);
        let is_suspect = |key: &&TaskKey| !live[*key].native && live[*key].crashes > 1;
        assert!(self.underway.keys().filter(is_suspect).count() <= 1, "{:?}", self.underway);
        let mut lanes: BTreeMap<u32, usize> = BTreeMap::new();
        for key in self.underway.keys() {
            *lanes.entry(live[key].lane).or_default() += 1;
        }
        for (lane, running) in lanes {
            match CALLBACKS.iter().position(|callback| lane_of_callback(callback) == lane) {
                Some(at) => assert!(at < self.registered, "{} is unknown", CALLBACKS[at]),
                None => assert!(running <= self.limits.per_host_max),
            }
        }
    }
}
