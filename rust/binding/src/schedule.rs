//! `outhaul._core.Schedule`: the run queue by itself, without a clock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use outhaul_core::model::constraint::Needs;
use outhaul_core::model::{Fault, FaultCode, TaskKey, UnixMillis};
use outhaul_core::schedule::{Config, Entry, LaneId, Schedule, ScheduleError, Waiting};
use pyo3::prelude::*;

use crate::error::raise;

#[pyclass(frozen, name = "Schedule", module = "outhaul._core")]
pub(crate) struct PySchedule(Mutex<Schedule>);

impl PySchedule {
    // LOCKING: taken only while detached, for one call, never across a call into Python.
    // A panic leaves the schedule whole, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(py: Python<'_>, refused: ScheduleError) -> PyErr {
    let code = match refused {
        ScheduleError::Duplicate(_) => FaultCode::AlreadyQueued,
        ScheduleError::Full { .. } => FaultCode::QueueFull,
    };
    raise(py, Fault::new(code, "task_id", refused.to_string()))
}

#[pymethods]
impl PySchedule {
    #[new]
    #[pyo3(signature = (*, capacity=1_000_000, running_max=64, ageing_ms=60_000))]
    fn new(capacity: usize, running_max: usize, ageing_ms: u32) -> Self {
        let ageing_ms = ageing_ms.into();
        let config = Config { capacity, running_max, ageing_ms, ..Config::default() };
        Self(Mutex::new(Schedule::new(config)))
    }

    #[pyo3(signature = (task_id, *, due_ms, priority=0, lane=0, needs=0, now_ms=0))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only, and Python names each")]
    fn push(
        &self,
        py: Python<'_>,
        task_id: TaskKey,
        due_ms: UnixMillis,
        priority: i32,
        lane: LaneId,
        needs: Needs,
        now_ms: UnixMillis,
    ) -> PyResult<()> {
        let entry = Entry { key: task_id, due_ms, priority, lane, needs };
        py.detach(|| self.lock().push(entry, now_ms)).map_err(|refused| refuse(py, refused))
    }

    fn cancel(&self, py: Python<'_>, task_id: TaskKey) -> bool {
        py.detach(|| self.lock().cancel(task_id))
    }

    #[pyo3(signature = (task_id, *, due_ms, now_ms=0))]
    fn reschedule(
        &self,
        py: Python<'_>,
        task_id: TaskKey,
        due_ms: UnixMillis,
        now_ms: UnixMillis,
    ) -> bool {
        py.detach(|| self.lock().reschedule(task_id, due_ms, now_ms))
    }

    #[pyo3(signature = (task_id, *, priority))]
    fn reprioritise(&self, py: Python<'_>, task_id: TaskKey, priority: i32) -> bool {
        py.detach(|| self.lock().reprioritise(task_id, priority))
    }

    fn set_unmet(&self, py: Python<'_>, unmet: Needs) {
        py.detach(|| self.lock().set_unmet(unmet));
    }

    #[pyo3(signature = (lane, *, running_max))]
    fn set_lane_limit(&self, py: Python<'_>, lane: LaneId, running_max: Option<usize>) {
        let running_max = running_max.unwrap_or(usize::MAX);
        py.detach(|| self.lock().set_lane_limit(lane, running_max));
    }

    #[pyo3(signature = (*, now_ms))]
    fn take(&self, py: Python<'_>, now_ms: UnixMillis) -> Option<TaskKey> {
        py.detach(|| {
            let mut schedule = self.lock();
            schedule.advance(now_ms);
            schedule.take()
        })
    }

    fn release(&self, py: Python<'_>, lane: LaneId) -> bool {
        py.detach(|| self.lock().release(lane))
    }

    fn occupy(&self, py: Python<'_>, lane: LaneId) {
        py.detach(|| self.lock().occupy(lane));
    }

    #[pyo3(signature = (*, now_ms, limit))]
    fn pop_due(&self, py: Python<'_>, now_ms: UnixMillis, limit: usize) -> Vec<TaskKey> {
        py.detach(|| self.lock().pop_due(now_ms, limit))
    }

    fn next_due_ms(&self, py: Python<'_>) -> Option<UnixMillis> {
        py.detach(|| self.lock().next_due_ms())
    }

    fn waiting(&self, py: Python<'_>, task_id: TaskKey) -> Option<&'static str> {
        let waiting = py.detach(|| self.lock().waiting(task_id))?;
        Some(match waiting {
            Waiting::Time => "time",
            Waiting::Constraint(_) => "constraint",
            Waiting::Slot => "slot",
        })
    }

    fn counts(&self, py: Python<'_>) -> (usize, usize, usize, usize) {
        let counts = py.detach(|| self.lock().counts());
        (counts.delayed, counts.ready, counts.parked, counts.running)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.lock().len())
    }
}
