"""Durable background work for async Python: uploads that survive crashes and lost networks."""

from outhaul.callbacks import TaskContext
from outhaul.constraints import Constraints
from outhaul.errors import OuthaulError
from outhaul.handle import TaskHandle
from outhaul.manager import WorkManager
from outhaul.model import (
    ErrorCode,
    EventKind,
    ExistingTaskPolicy,
    NetworkType,
    ScheduleResult,
    Stats,
    TaskCompletionEvent,
    TaskEvent,
    TaskProgress,
    TaskRecord,
    TaskResult,
    TaskStatus,
    WaitingOn,
)
from outhaul.policies import AddressPolicy, Retention, RetryPolicy
from outhaul.results import PermanentFailure
from outhaul.secrets import Secret
from outhaul.tasks import Task, task_id_for
from outhaul.triggers import TaskTrigger
from outhaul.workers import NativeWorker, PythonWorker

__all__ = [
    "AddressPolicy",
    "Constraints",
    "ErrorCode",
    "EventKind",
    "ExistingTaskPolicy",
    "NativeWorker",
    "NetworkType",
    "OuthaulError",
    "PermanentFailure",
    "PythonWorker",
    "Retention",
    "RetryPolicy",
    "ScheduleResult",
    "Secret",
    "Stats",
    "Task",
    "TaskCompletionEvent",
    "TaskContext",
    "TaskEvent",
    "TaskHandle",
    "TaskProgress",
    "TaskRecord",
    "TaskResult",
    "TaskStatus",
    "TaskTrigger",
    "WaitingOn",
    "WorkManager",
    "task_id_for",
]
