//! The read side agrees with what was applied.

use std::path::Path;

use outhaul_core::engine::{Effect, End};
use outhaul_core::model::event::EventDetail;
use outhaul_core::model::task_id::generated_id;
use outhaul_core::model::{ErrorCode, EventKind, Failure, TaskKey, TaskStatus};
use outhaul_core::store::StoreError;
use outhaul_core::store::sqlite::{EventFilter, Reader, Situation, SqliteStore, TaskFilter};

use super::kit::{
    completed, enqueued, insert, live, named, new_task, record, running, sqlite, tagged, txn,
};

fn failed(key: TaskKey) -> Effect {
    let mut failure = Failure::new(ErrorCode::HttpClientError, "HTTP 404");
    failure.http_status = Some(404);
    let end = End::Failure(failure);
    Effect::Finish { key, status: TaskStatus::Failed, at: 900, attempt: 2, end }
}

fn cancelled(key: TaskKey) -> Effect {
    let end = End::Failure(Failure::new(ErrorCode::Cancelled, "cancelled"));
    Effect::Finish { key, status: TaskStatus::Cancelled, at: 800, attempt: 0, end }
}

/// Six tasks, one in each stand, and their eleven events.
fn filled(dir: &Path) -> (SqliteStore, Reader) {
    let mut store = sqlite(dir);
    let mut late = live(1);
    late.run_at = 5_000;
    let mut offline = live(6);
    offline.needs = 1;
    let photo = |id: &str| super::kit::NewTask { tag: Some("photos".into()), ..named(id) };
    let tasks = [
        insert(late, photo("up-1")),
        enqueued(1),
        insert(live(2), photo("up-2")),
        enqueued(2),
        insert(live(3), tagged("docs")),
        enqueued(3),
        insert(live(4), named("up-4")),
        enqueued(4),
        insert(live(5), new_task()),
        enqueued(5),
        insert(offline, named("other")),
        enqueued(6),
    ];
    txn(&mut store, &tasks);
    let detail = EventDetail {
        attempt: 2,
        error_code: Some(ErrorCode::HttpClientError),
        http_status: Some(404),
        message: "HTTP 404".to_owned(),
        retry_at_ms: None,
    };
    let ends = [
        Effect::Update(running(live(2), 1, 1)),
        completed(3),
        record(EventKind::Completed, 3),
        failed(4),
        Effect::Record { at: 900, kind: EventKind::Failed, key: 4, detail },
        cancelled(5),
        record(EventKind::Cancelled, 5),
    ];
    txn(&mut store, &ends);
    let reader = Reader::open(&dir.join("work.db")).unwrap();
    (store, reader)
}

const NOW: Situation = Situation { now_ms: 2_000, unmet: 1 };

fn keys(reader: &Reader, filter: TaskFilter) -> Vec<TaskKey> {
    let filter = TaskFilter { limit: filter.limit.max(1), ..filter };
    reader.tasks(&filter, NOW).unwrap().iter().map(|task| task.key).collect()
}

fn seqs(reader: &Reader, after: u64, filter: EventFilter) -> Vec<u64> {
    reader.events(after, &filter).unwrap().0.iter().map(|event| event.seq).collect()
}

#[test]
fn a_task_is_read_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let read = |key| reader.task(key, NOW).unwrap().unwrap();
    let stands: Vec<_> = (1..=6).map(|key| (read(key).status, read(key).waiting_on)).collect();
    let expected = [
        ("pending", Some("time")),
        ("running", None),
        ("completed", None),
        ("failed", None),
        ("cancelled", None),
        ("pending", Some("network")),
    ];
    assert_eq!(stands, expected);
    let failed = read(4);
    assert_eq!(failed.task_id, "up-4");
    assert_eq!(
        (failed.error_code, failed.http_status),
        (Some(ErrorCode::HttpClientError), Some(404))
    );
    assert_eq!((failed.attempt, failed.message.as_str()), (2, "HTTP 404"));
    assert_eq!((failed.created_at_ms, failed.finished_at_ms), (500, Some(900)));
    assert_eq!((failed.run_at_ms, failed.priority), (None, 5));
    assert_eq!(failed.worker, "python");
    assert_eq!(read(3).http_status, Some(201));
    assert_eq!(read(5).task_id, generated_id(5));
    assert!(reader.task(7, NOW).unwrap().is_none());
}

#[test]
fn a_retry_and_a_slot_are_waited_for_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = filled(dir.path());
    let mut again = live(1);
    (again.attempt, again.run_at) = (1, 5_000);
    txn(&mut store, &[Effect::Update(again)]);
    assert_eq!(reader.task(1, NOW).unwrap().unwrap().waiting_on, Some("retry"));
    let later = Situation { now_ms: 5_000, unmet: 0 };
    assert_eq!(reader.task(1, later).unwrap().unwrap().waiting_on, Some("limit"));
}

#[test]
fn an_id_leads_to_its_newest_task() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = filled(dir.path());
    assert_eq!(reader.key_of("up-4").unwrap(), Some(4));
    assert_eq!(reader.key_of(&generated_id(5)).unwrap(), Some(5));
    assert_eq!(reader.key_of("nobody").unwrap(), None);
    txn(&mut store, &[insert(live(9), named("up-4"))]);
    assert_eq!(reader.key_of("up-4").unwrap(), Some(9));
}

#[test]
fn tasks_are_filtered_by_status_and_tag_and_come_by_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let all = TaskFilter { limit: 100, ..TaskFilter::default() };
    assert_eq!(keys(&reader, all.clone()), [1, 2, 3, 4, 5, 6]);
    let page = TaskFilter { after: 2, limit: 2, ..TaskFilter::default() };
    assert_eq!(keys(&reader, page), [3, 4]);
    let tagged = TaskFilter { tag: Some("photos".to_owned()), ..all.clone() };
    assert_eq!(keys(&reader, tagged), [1, 2]);
    let statuses = vec![TaskStatus::Failed, TaskStatus::Running];
    assert_eq!(keys(&reader, TaskFilter { statuses, ..all }), [2, 4]);
}

#[test]
fn every_tag_is_listed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = filled(dir.path());
    assert_eq!(reader.tags().unwrap(), ["docs", "photos"]);
    txn(&mut store, &[insert(live(9), tagged(""))]);
    assert_eq!(reader.tags().unwrap(), ["", "docs", "photos"]);
    let empty = tempfile::tempdir().unwrap();
    drop(sqlite(empty.path()));
    assert_eq!(Reader::open(&empty.path().join("work.db")).unwrap().tags().unwrap(), [""; 0]);
}

#[test]
fn events_are_filtered_by_task_id_tag_and_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let all = EventFilter { limit: 100, ..EventFilter::default() };
    assert_eq!(seqs(&reader, 0, all.clone()), (1..=9).collect::<Vec<_>>());
    assert_eq!(seqs(&reader, 7, all.clone()), [8, 9]);
    assert_eq!(seqs(&reader, 9, all.clone()), [0; 0]);
    let beyond = StoreError::CursorAhead { after: 10, last: 9 };
    assert_eq!(reader.events(10, &all).unwrap_err(), beyond);
    assert_eq!(seqs(&reader, 0, EventFilter { key: Some(4), ..all.clone() }), [4, 8]);
    let by_id = |id: String| EventFilter { task_id: Some(id), ..all.clone() };
    assert_eq!(seqs(&reader, 0, by_id("up-4".to_owned())), [4, 8]);
    assert_eq!(seqs(&reader, 0, by_id(generated_id(3))), [3, 7]);
    let by_tag = EventFilter { tag: Some("photos".to_owned()), ..all.clone() };
    assert_eq!(seqs(&reader, 0, by_tag), [1, 2]);
    let by_prefix = |prefix: &str| EventFilter { prefix: Some(prefix.to_owned()), ..all.clone() };
    assert_eq!(seqs(&reader, 0, by_prefix("up-")), [1, 2, 4, 8]);
    assert_eq!(seqs(&reader, 0, by_prefix("u%")), [0; 0]);
}

#[test]
fn events_come_by_pages_and_none_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    for filter in [
        EventFilter { limit: 2, ..EventFilter::default() },
        EventFilter { limit: 1, prefix: Some("up-".to_owned()), ..EventFilter::default() },
        EventFilter { limit: 2, key: Some(4), ..EventFilter::default() },
    ] {
        let whole = seqs(&reader, 0, EventFilter { limit: 100, ..filter.clone() });
        let (mut after, mut paged) = (0, Vec::new());
        while after < reader.last_event().unwrap() {
            let (events, seen) = reader.events(after, &filter).unwrap();
            assert!(seen > after, "stands still at {after}");
            paged.extend(events.iter().map(|event| event.seq));
            after = seen;
        }
        assert_eq!(paged, whole);
    }
}

#[test]
fn an_event_says_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let (events, seen) = reader.events(6, &EventFilter { limit: 9, ..Default::default() }).unwrap();
    assert_eq!(seen, 9);
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.key)).collect();
    let expected = [(EventKind::Completed, 3), (EventKind::Failed, 4), (EventKind::Cancelled, 5)];
    assert_eq!(kinds, expected);
    assert_eq!(events[0].result.as_ref().unwrap().body, b"ok");
    assert_eq!(events[0].tag.as_deref(), Some("docs"));
    assert_eq!((events[1].at_ms, events[1].detail.http_status), (900, Some(404)));
    assert_eq!(events[1].result, None);
}

#[test]
fn the_terminal_event_is_the_one_that_ended_the_task() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let words: Vec<_> =
        (1..=7).map(|key| reader.terminal_event(key).unwrap().map(|event| event.kind)).collect();
    let (completed, failed) = (Some(EventKind::Completed), Some(EventKind::Failed));
    assert_eq!(words, [None, None, completed, failed, Some(EventKind::Cancelled), None, None]);
}

#[test]
fn the_counts_are_those_of_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, reader) = filled(dir.path());
    let counts = reader.counts().unwrap();
    assert_eq!((counts.pending, counts.running, counts.paused, counts.blocked), (2, 1, 0, 0));
    assert_eq!((counts.completed, counts.failed, counts.cancelled, counts.expired), (1, 1, 1, 0));
    assert_eq!(counts.last_event, 9);
}

#[test]
fn a_reader_sees_nothing_of_an_open_transaction() {
    use outhaul_core::store::Store;
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = filled(dir.path());
    store.begin().unwrap();
    store.apply(&[completed(2), record(EventKind::Completed, 2)]).unwrap();
    assert_eq!(reader.task(2, NOW).unwrap().unwrap().status, "running");
    store.commit().unwrap();
    assert_eq!(reader.task(2, NOW).unwrap().unwrap().status, "completed");
}
