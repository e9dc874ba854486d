//! Tasks that are enqueued together are mostly alike: one that differs from another in nothing but its
//! id and its callback's argument need not be read and judged again.

use bytes::Bytes;
use rmp::decode::{read_array_len, read_bin_len, read_str_from_slice};

use super::checks;
use crate::engine::NewTask;

/// A task for a callback, admitted, as the pattern of others.
pub(in crate::runtime) struct Pattern {
    task: NewTask,
    members: u32,
    worker: Bytes,
    rest: Bytes,
}

/// What an encoded task says beside its callback's argument, which is opaque here.
struct Sections<'a> {
    /// How many there are.
    members: u32,
    task_id: Option<&'a str>,
    /// The worker's kind and the callback's name.
    worker: &'a [u8],
    /// All that comes after the argument.
    rest: &'a [u8],
}

impl Pattern {
    /// `None` where the task is not for a callback.
    pub(super) fn of(task: &NewTask) -> Option<Self> {
        let Sections { members, worker, rest, .. } = sections(&task.spec)?;
        let (worker, rest) = (task.spec.slice_ref(worker), task.spec.slice_ref(rest));
        Some(Self { task: task.clone(), members, worker, rest })
    }

    /// The task that is encoded there, where it is like this one.
    pub(super) fn admit(&self, encoded: &Bytes) -> Option<NewTask> {
        let Sections { members, task_id, worker, rest } = sections(encoded)?;
        let is_like = members == self.members && worker == self.worker && rest == self.rest;
        if !is_like || checks::name("task_id", task_id).is_err() {
            return None;
        }
        Some(NewTask {
            task_id: task_id.map(Into::into),
            spec: encoded.clone(),
            ..self.task.clone()
        })
    }
}

/// `None` where it is not a task for a callback, its members by position: see `model::spec`.
fn sections(encoded: &[u8]) -> Option<Sections<'_>> {
    const NIL: u8 = rmp::Marker::Null.to_u8();
    let mut left = encoded;
    let members = read_array_len(&mut left).ok()?;
    let (task_id, mut left) = match left.split_first()? {
        (&NIL, left) => (None, left),
        _ => read_str_from_slice(left).map(|(id, left)| (Some(id), left)).ok()?,
    };
    let from_worker = left;
    read_array_len(&mut left).ok()?;
    let ("python", left) = read_str_from_slice(left).ok()? else { return None };
    let (_callback, mut left) = read_str_from_slice(left).ok()?;
    let worker = from_worker.get(..from_worker.len() - left.len())?;
    let input = usize::try_from(read_bin_len(&mut left).ok()?).ok()?;
    Some(Sections { members, task_id, worker, rest: left.get(input..)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::{
        ConstraintsSpec, ExistingPolicy, PythonSpec, RetrySpec, TaskSpec, TriggerSpec, WorkerSpec,
    };
    use crate::schedule::LaneId;

    const LANE: LaneId = 7;

    /// As a task is stored, whatever members it has.
    fn encoded(id: Option<&str>, callback: &str, input: &[u8], priority: i32) -> Bytes {
        let python = PythonSpec { callback_id: callback.to_owned(), input: input.to_vec() };
        let spec = TaskSpec {
            task_id: id.map(str::to_owned),
            worker: WorkerSpec::Python(python),
            trigger: TriggerSpec::OneTime { initial_delay_ms: 5 },
            constraints: ConstraintsSpec { network_type: None, battery_not_low: false },
            existing_policy: ExistingPolicy::Keep,
            retry: RetrySpec {
                max_retries: 3,
                initial_delay_ms: 4,
                multiplier: 1.5,
                max_delay_ms: 6,
            },
            tag: Some("t".to_owned()),
            priority,
        };
        rmp_serde::to_vec(&spec).unwrap().into()
    }

    fn admitted(spec: Bytes) -> NewTask {
        NewTask {
            task_id: Some("first".into()),
            tag: Some("t".into()),
            spec,
            admitted: Bytes::new(),
            run_at: 10,
            priority: -3,
            attempts_max: 4,
            lane: LANE,
            needs: 2,
            native: false,
            existing_policy: ExistingPolicy::Replace,
        }
    }

    fn pattern() -> Pattern {
        Pattern::of(&admitted(encoded(Some("first"), "resize", b"one", -3))).unwrap()
    }

    #[test]
    fn another_id_and_another_input_are_alike() {
        for id in [None, Some("second")] {
            for input in [&b""[..], b"two", &[0; 300], &vec![0; 70_000]] {
                let spec = encoded(id, "resize", input, -3);
                let task = NewTask { task_id: id.map(Into::into), ..admitted(spec.clone()) };
                assert_eq!(pattern().admit(&spec), Some(task));
            }
        }
    }

    #[test]
    fn whatever_else_differs_is_not_alike() {
        let whole = encoded(None, "resize", b"two", -3);
        let more = [&whole[..], b"\xc0"].concat();
        let fewer_said = [&[whole[0] - 1], &whole[1..]].concat();
        let upload = (None::<&str>, ("http_upload", "resize", serde_bytes::Bytes::new(b"two")));
        for other in [
            encoded(None, "rotate", b"two", -3),
            encoded(None, "resize", b"two", -4),
            encoded(Some(""), "resize", b"two", -3),
            encoded(Some("a\nb"), "resize", b"two", -3),
            more.into(),
            fewer_said.into(),
            rmp_serde::to_vec(&upload).unwrap().into(),
            Bytes::from_static(b"\x80"),
        ] {
            assert_eq!(pattern().admit(&other), None, "{other:?}");
        }
        for end in 0..whole.len() {
            assert_eq!(pattern().admit(&whole.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn an_upload_is_no_pattern() {
        let worker = ("http_upload", "https://example.org", serde_bytes::Bytes::new(b""));
        let task = (None::<&str>, worker, 0, 0, 0, 0, 0, 0);
        let spec = rmp_serde::to_vec(&task).unwrap();
        assert!(Pattern::of(&admitted(spec.into())).is_none());
    }
}
