//! Tasks by their tag, all over a log that is longer than one stretch of the index.

use outhaul_core::model::{EventKind, TaskKey, TaskStatus};
use outhaul_core::store::sqlite::{Reader, Retention, Situation, SqliteStore, TaskFilter};
use outhaul_core::store::{Selection, Store};

use super::kit::{completed, enqueued, insert, live, record, sqlite, tagged, txn};

/// More events than a stretch has.
const FAR: usize = 5_000;

/// Tasks 1 to 12 with the tags `a`, `b` and `c` in turn, four of them in each third of a long log.
fn spread_out(dir: &std::path::Path) -> SqliteStore {
    let mut store = sqlite(dir);
    for (key, tag) in (1..=12).zip(["a", "b", "c"].into_iter().cycle()) {
        txn(&mut store, &[insert(live(key), tagged(tag)), enqueued(key)]);
        if key % 4 == 0 {
            let events: Vec<_> = (0..FAR).map(|_| record(EventKind::RetryScheduled, key)).collect();
            txn(&mut store, &events);
        }
    }
    store
}

fn page(reader: &Reader, tag: &str, after: TaskKey, limit: u32) -> Vec<TaskKey> {
    let want = TaskFilter { tag: Some(tag.to_owned()), after, limit, ..TaskFilter::default() };
    let found = reader.tasks(&want, Situation::default()).unwrap();
    found.into_iter().map(|task| task.key).collect()
}

#[test]
fn tasks_of_a_tag_come_in_order_and_by_pages_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let _store = spread_out(dir.path());
    let reader = Reader::open(&dir.path().join("work.db")).unwrap();
    assert_eq!(page(&reader, "a", 0, 9), [1, 4, 7, 10]);
    for limit in 1..=5 {
        let (mut after, mut found) = (0, Vec::new());
        loop {
            let page = page(&reader, "b", after, limit);
            let Some(last) = page.last() else { break };
            assert!(page.len() <= usize::try_from(limit).unwrap());
            after = *last;
            found.extend(page);
        }
        assert_eq!(found, [2, 5, 8, 11], "{limit}");
    }
    assert_eq!(page(&reader, "c", 12, 9), [0; 0]);
    assert_eq!(page(&reader, "d", 0, 9), [0; 0]);
    assert_eq!(page(&reader, "a", TaskKey::MAX >> 1, 9), [0; 0]);
}

#[test]
fn a_tag_is_listed_once_however_many_tasks_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    let tags = ["a", "a\0", "ab", "b"];
    for (key, tag) in (1..=80).zip(tags.into_iter().cycle()) {
        txn(&mut store, &[insert(live(key), tagged(tag)), enqueued(key)]);
    }
    let reader = Reader::open(&dir.path().join("work.db")).unwrap();
    assert_eq!(reader.tags().unwrap(), tags);
}

#[test]
fn live_tasks_of_a_tag_are_selected_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = spread_out(dir.path());
    txn(&mut store, &[completed(1), completed(2), completed(3), completed(7)]);
    let mut of = |tag: &str| store.select(&Selection::Tag(tag.to_owned())).unwrap();
    assert_eq!(of("a"), [4, 10]);
    assert_eq!(of("b"), [5, 8, 11]);
    assert_eq!(of("d"), [0; 0]);
    for key in [4, 5, 6, 8, 9, 10, 11, 12] {
        txn(&mut store, &[completed(key)]);
    }
    assert_eq!(store.select(&Selection::Tag("a".to_owned())).unwrap(), [0; 0]);
}

#[test]
fn a_tag_is_listed_once_while_a_task_has_it_in_whatever_stretch() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = spread_out(dir.path());
    let reader = Reader::open(&dir.path().join("work.db")).unwrap();
    assert_eq!(reader.tags().unwrap(), ["a", "b", "c"]);
    // All but those of `b`, and the last one, which stays whatever happens.
    for key in [1, 3, 4, 6, 7, 9, 10, 12] {
        txn(&mut store, &[completed(key), record(EventKind::Completed, key)]);
    }
    txn(&mut store, &[insert(live(13), tagged("b")), enqueued(13)]);
    let keep = Retention { completed_ms: Some(0), completed_max: None, failed_ms: None };
    let mut walk = store.prune_walk(&keep, 1_000).unwrap();
    store.begin().unwrap();
    assert_eq!(store.prune(&mut walk, usize::MAX).unwrap().tasks, 8);
    store.commit().unwrap();
    assert_eq!(reader.tags().unwrap(), ["b"]);
    let all = TaskFilter { limit: 99, ..TaskFilter::default() };
    let left = reader.tasks(&all, Situation::default()).unwrap();
    assert!(left.iter().all(|task| task.status == TaskStatus::Pending.name()), "{left:?}");
}
