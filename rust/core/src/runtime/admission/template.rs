//! Tasks that are enqueued together are mostly alike: one that differs from another in nothing but
//! its id, its callback's argument, its tag and its priority need not be read and judged again.

use bytes::Bytes;
use rmp::decode::{read_array_len, read_bin_len, read_int, read_str_from_slice};
use rmp::encode::{write_nil, write_sint, write_str};

use super::checks;
use crate::engine::NewTask;

/// A task for a callback, admitted, as the template of others.
pub(in crate::runtime) struct Template {
    task: NewTask,
    members: u32,
    worker: Bytes,
    terms: Bytes,
}

/// What an encoded task says beside its callback's argument, which is opaque here.
struct Sections<'a> {
    /// How many there are.
    members: u32,
    task_id: Option<&'a str>,
    /// The worker's kind and the callback's name.
    worker: &'a [u8],
    /// All that comes after the argument: its terms, its tag, its priority.
    rest: &'a [u8],
}

impl Template {
    /// `None` where the task is not for a callback.
    pub(super) fn of(task: &NewTask) -> Option<Self> {
        let Sections { members, worker, rest, .. } = sections(&task.spec)?;
        let terms = rest.strip_suffix(&*label(task)?)?;
        let (worker, terms) = (task.spec.slice_ref(worker), task.spec.slice_ref(terms));
        Some(Self { task: task.clone(), members, worker, terms })
    }

    /// The task that is encoded there, where it is like this one.
    pub(super) fn admit(&self, encoded: &Bytes) -> Option<NewTask> {
        let Sections { members, task_id, worker, rest } = sections(encoded)?;
        if members != self.members || worker != self.worker {
            return None;
        }
        let (tag, mut left) = text(rest.strip_prefix(&*self.terms)?)?;
        let priority = read_int(&mut left).ok()?;
        let is_whole = left.is_empty();
        checks::name("task_id", task_id).ok()?;
        checks::name("tag", tag).ok()?;
        is_whole.then(|| NewTask {
            task_id: task_id.map(Into::into),
            tag: tag.map(Into::into),
            priority,
            spec: encoded.clone(),
            ..self.task.clone()
        })
    }
}

/// A task's tag and priority, as they end its encoding.
fn label(task: &NewTask) -> Option<Vec<u8>> {
    let mut label = Vec::new();
    match &task.tag {
        Some(tag) => write_str(&mut label, tag).ok()?,
        None => write_nil(&mut label).ok()?,
    }
    write_sint(&mut label, task.priority.into()).ok()?;
    Some(label)
}

/// `None` where it is not a task for a callback, its members by position: see `model::spec`.
fn sections(encoded: &[u8]) -> Option<Sections<'_>> {
    let mut left = encoded;
    let members = read_array_len(&mut left).ok()?;
    let (task_id, mut left) = text(left)?;
    let from_worker = left;
    read_array_len(&mut left).ok()?;
    let ("python", left) = read_str_from_slice(left).ok()? else { return None };
    let (_callback, mut left) = read_str_from_slice(left).ok()?;
    let worker = from_worker.get(..from_worker.len() - left.len())?;
    let input = usize::try_from(read_bin_len(&mut left).ok()?).ok()?;
    Some(Sections { members, task_id, worker, rest: left.get(input..)? })
}

/// A text, or nothing in its place; and what follows.
fn text(encoded: &[u8]) -> Option<(Option<&str>, &[u8])> {
    const NIL: u8 = rmp::Marker::Null.to_u8();
    match encoded.split_first()? {
        (&NIL, left) => Some((None, left)),
        _ => read_str_from_slice(encoded).map(|(text, left)| (Some(text), left)).ok(),
    }
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
    fn encoded(id: Option<&str>, callback: &str, input: &[u8], max_retries: u32) -> Bytes {
        labelled(id, callback, input, max_retries, (Some("t"), -3))
    }

    fn labelled(
        id: Option<&str>,
        callback: &str,
        input: &[u8],
        max_retries: u32,
        (tag, priority): (Option<&str>, i32),
    ) -> Bytes {
        let python = PythonSpec { callback_id: callback.to_owned(), input: input.to_vec() };
        let spec = TaskSpec {
            task_id: id.map(str::to_owned),
            worker: WorkerSpec::Python(python),
            trigger: TriggerSpec::OneTime { initial_delay_ms: 5 },
            constraints: ConstraintsSpec { network_type: None, battery_not_low: false },
            existing_policy: ExistingPolicy::Keep,
            retry: RetrySpec { max_retries, initial_delay_ms: 4, multiplier: 1.5, max_delay_ms: 6 },
            tag: tag.map(str::to_owned),
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

    fn template() -> Template {
        Template::of(&admitted(encoded(Some("first"), "resize", b"one", 3))).unwrap()
    }

    #[test]
    fn another_id_and_another_input_are_alike() {
        for id in [None, Some("second")] {
            for input in [&b""[..], b"two", &[0; 300], &vec![0; 70_000]] {
                let spec = encoded(id, "resize", input, 3);
                let task = NewTask { task_id: id.map(Into::into), ..admitted(spec.clone()) };
                assert_eq!(template().admit(&spec), Some(task));
            }
        }
    }

    #[test]
    fn another_tag_and_another_priority_are_alike() {
        for tag in [None, Some("t"), Some("another"), Some("ä")] {
            for priority in [0, -3, 127, 128, -128, -129, i32::MAX, i32::MIN] {
                let spec = labelled(None, "resize", b"two", 3, (tag, priority));
                let label =
                    NewTask { tag: tag.map(Into::into), priority, ..admitted(spec.clone()) };
                let task = NewTask { task_id: None, ..label };
                assert_eq!(template().admit(&spec), Some(task.clone()));
                // And the other way round.
                let first = encoded(None, "resize", b"one", 3);
                let task = Template::of(&task).unwrap().admit(&first).unwrap();
                assert_eq!((task.tag.as_deref(), task.priority), (Some("t"), -3));
            }
        }
    }

    #[test]
    fn whatever_else_differs_is_not_alike() {
        let whole = encoded(None, "resize", b"two", 3);
        let more = [&whole[..], b"\xc0"].concat();
        let fewer_said = [&[whole[0] - 1], &whole[1..]].concat();
        let upload = (None::<&str>, ("http_upload", "resize", serde_bytes::Bytes::new(b"two")));
        for other in [
            encoded(None, "rotate", b"two", 3),
            encoded(None, "resize", b"two", 4),
            encoded(Some(""), "resize", b"two", 3),
            encoded(Some("a\nb"), "resize", b"two", 3),
            labelled(None, "resize", b"two", 3, (Some(""), -3)),
            labelled(None, "resize", b"two", 3, (Some("a\nb"), -3)),
            more.into(),
            fewer_said.into(),
            rmp_serde::to_vec(&upload).unwrap().into(),
            Bytes::from_static(b"\x80"),
        ] {
            assert_eq!(template().admit(&other), None, "{other:?}");
        }
        for end in 0..whole.len() {
            assert_eq!(template().admit(&whole.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn an_upload_is_no_template() {
        let worker = ("http_upload", "https://example.org", serde_bytes::Bytes::new(b""));
        let task = (None::<&str>, worker, 0, 0, 0, 0, 0, 0);
        let spec = rmp_serde::to_vec(&task).unwrap();
        assert!(Template::of(&admitted(spec.into())).is_none());
    }
}
