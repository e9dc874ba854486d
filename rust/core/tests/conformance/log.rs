//! The log keeps events that are alike in one row, and nobody notices.

use std::path::Path;

use outhaul_core::engine::Effect;
use outhaul_core::model::{EventKind, TaskKey};
use outhaul_core::store::Store;
use outhaul_core::store::sqlite::{EventFilter, Reader, Retention, SqliteStore};
use rusqlite::Connection;

use super::kit::{completed, enqueued, insert, live, new_task, record, sqlite, txn};

const NOW: i64 = 10_000;

fn enqueue(store: &mut SqliteStore, keys: impl IntoIterator<Item = TaskKey>) {
    let one = |key| [insert(live(key), new_task()), enqueued(key)];
    txn(store, &keys.into_iter().flat_map(one).collect::<Vec<_>>());
}

fn complete(store: &mut SqliteStore, keys: impl IntoIterator<Item = TaskKey>) {
    let one = |key| [completed(key), record(EventKind::Completed, key)];
    txn(store, &keys.into_iter().flat_map(one).collect::<Vec<_>>());
}

fn reader(dir: &Path) -> Reader {
    Reader::open(&dir.join("work.db")).unwrap()
}

fn events(reader: &Reader, after: u64, filter: EventFilter) -> Vec<(u64, TaskKey)> {
    let filter = EventFilter { limit: filter.limit.max(1), ..filter };
    let (events, _) = reader.events(after, &filter).unwrap();
    events.iter().map(|event| (event.seq, event.key)).collect()
}

fn rows(dir: &Path) -> i64 {
    let other = Connection::open(dir.join("work.db")).unwrap();
    other.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap()
}

fn prune(store: &mut SqliteStore, keep: &Retention, max: usize) -> usize {
    let mut walk = store.prune_walk(keep, NOW).unwrap();
    let mut gone = 0;
    loop {
        store.begin().unwrap();
        let pruned = store.prune(&mut walk, max).unwrap();
        store.commit().unwrap();
        gone += pruned.tasks;
        if pruned.is_over {
            return gone;
        }
    }
}

#[test]
fn a_row_of_many_events_is_read_from_and_to_any_place_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    enqueue(&mut store, 1..=300);
    enqueue(&mut store, [301]);
    complete(&mut store, 5..=7);
    assert_eq!(rows(dir.path()), 4);
    let reader = reader(dir.path());
    assert_eq!(reader.last_event().unwrap(), 304);
    let all: Vec<(u64, TaskKey)> = (1..=301).map(|key| (key, key)).collect();
    let all = [all, vec![(302, 5), (303, 6), (304, 7)]].concat();
    for (after, limit) in [(0, 1), (0, 1000), (3, 10), (254, 5), (255, 1), (256, 2), (299, 9)] {
        let from = usize::try_from(after).unwrap();
        let wanted = &all[from..all.len().min(from + usize::try_from(limit).unwrap())];
        assert_eq!(events(&reader, after, EventFilter { limit, ..EventFilter::default() }), wanted);
    }
    let filter = EventFilter { key: Some(6), limit: 9, ..EventFilter::default() };
    assert_eq!(events(&reader, 0, filter.clone()), [(6, 6), (303, 6)]);
    assert_eq!(events(&reader, 6, filter.clone()), [(303, 6)]);
    assert_eq!(events(&reader, 303, filter), []);
    let last = reader.terminal_event(6).unwrap().unwrap();
    assert_eq!((last.seq, last.key, last.kind), (303, 6, EventKind::Completed));
    assert!(last.result.is_some());
    assert!(reader.terminal_event(8).unwrap().is_none());
}

#[test]
fn numbers_go_on_after_a_row_of_many_also_for_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    enqueue(&mut a, 1..=40);
    b.begin().unwrap();
    assert_eq!(b.foreign_changes().unwrap(), (1..=40).collect::<Vec<_>>());
    b.commit().unwrap();
    enqueue(&mut b, 41..=42);
    complete(&mut a, [9]);
    drop((a, b));
    complete(&mut sqlite(dir.path()), [3]);
    let all = EventFilter { limit: 100, ..EventFilter::default() };
    let found = events(&reader(dir.path()), 39, all);
    assert_eq!(found, [(40, 40), (41, 41), (42, 42), (43, 9), (44, 3)]);
}

#[test]
fn a_row_stays_until_the_last_of_its_tasks_may_go_and_says_nothing_of_those_before() {
    for max in [1, 2, 100] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = sqlite(dir.path());
        enqueue(&mut store, 1..=4);
        complete(&mut store, 2..=3);
        enqueue(&mut store, [5]);
        let keep = |completed_max| Retention {
            completed_ms: None,
            completed_max: Some(completed_max),
            failed_ms: None,
        };
        let left = |dir: &Path| {
            events(&reader(dir), 0, EventFilter { limit: 100, ..EventFilter::default() })
        };
        // One of the two that ended together.
        assert_eq!(prune(&mut store, &keep(1), max), 1);
        assert_eq!(left(dir.path()), [(1, 1), (3, 3), (4, 4), (6, 3), (7, 5)]);
        assert_eq!(rows(dir.path()), 3);
        assert_eq!(prune(&mut store, &keep(0), max), 1);
        assert_eq!(left(dir.path()), [(1, 1), (4, 4), (7, 5)]);
        assert_eq!(rows(dir.path()), 2);
        complete(&mut store, [1, 4]);
        enqueue(&mut store, [6]);
        assert_eq!(prune(&mut store, &keep(0), max), 2);
        assert_eq!(left(dir.path()), [(7, 5), (10, 6)]);
        assert_eq!(rows(dir.path()), 2);
    }
}

#[test]
fn events_that_are_not_alike_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    let mixed: Vec<Effect> = [1, 2, 3]
        .into_iter()
        .flat_map(|key| {
            [insert(live(key), new_task()), enqueued(key), record(EventKind::Started, key)]
        })
        .collect();
    txn(&mut store, &mixed);
    assert_eq!(rows(dir.path()), 6);
    let all = EventFilter { limit: 100, ..EventFilter::default() };
    let found = events(&reader(dir.path()), 0, all);
    assert_eq!(found, [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]);
}
