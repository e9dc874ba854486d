//! What ended long ago goes, wholly, piece by piece; what lives and what is new stays.

use outhaul_core::engine::{Effect, End};
use outhaul_core::model::{ErrorCode, EventKind, Failure, TaskKey, TaskStatus};
use outhaul_core::store::sqlite::{
    EventFilter, PruneWalk, Reader, Retention, Situation, SqliteStore, TaskFilter,
};
use outhaul_core::store::{Store, StoreError};

use super::kit::{completed, enqueued, insert, live, named, record, sqlite, txn};

const NOW: i64 = 10_000_000;

fn ends(key: TaskKey, at: i64, kind: EventKind) -> [Effect; 2] {
    let finish = match completed(key) {
        Effect::Finish { key, attempt, end, .. } if kind == EventKind::Completed => {
            Effect::Finish { key, status: TaskStatus::Completed, at, attempt, end }
        }
        _ => Effect::Finish {
            key,
            status: TaskStatus::Failed,
            at,
            attempt: 1,
            end: End::Failure(Failure::new(ErrorCode::Timeout, "timeout")),
        },
    };
    [finish, record(kind, key)]
}

/// Tasks 1 to 6 begin together, and end (or not) in another order.
fn history(store: &mut SqliteStore) {
    for key in 1..=6 {
        txn(store, &[insert(live(key), named(&format!("t{key}"))), enqueued(key)]);
    }
    for (key, at, kind) in [
        (3, 1_000, EventKind::Completed),
        (1, 2_000, EventKind::Failed),
        (5, 3_000, EventKind::Completed),
        (2, 9_999_000, EventKind::Completed),
    ] {
        txn(store, &[record(EventKind::Started, key)]);
        txn(store, &ends(key, at, kind));
    }
    txn(store, &[record(EventKind::Started, 6)]);
}

fn keep(completed_ms: i64, failed_ms: i64) -> Retention {
    Retention { completed_ms: Some(completed_ms), completed_max: None, failed_ms: Some(failed_ms) }
}

fn piece(store: &mut SqliteStore, walk: &mut PruneWalk, max: usize) -> (usize, bool) {
    store.begin().unwrap();
    let pruned = store.prune(walk, max).unwrap();
    store.commit().unwrap();
    (pruned.tasks, pruned.is_over)
}

fn walk(store: &mut SqliteStore, keep: &Retention, max: usize) -> usize {
    let mut walk = store.prune_walk(keep, NOW).unwrap();
    let mut gone = 0;
    loop {
        let (tasks, is_over) = piece(store, &mut walk, max);
        gone += tasks;
        if is_over {
            store.vacuum(10).unwrap();
            return gone;
        }
    }
}

fn left(dir: &std::path::Path) -> (Vec<TaskKey>, Vec<(TaskKey, EventKind)>) {
    let reader = Reader::open(&dir.join("work.db")).unwrap();
    let all = TaskFilter { limit: 100, ..TaskFilter::default() };
    let tasks = reader.tasks(&all, Situation::default()).unwrap();
    let all = EventFilter { limit: 100, ..EventFilter::default() };
    let (events, _) = reader.events(0, &all).unwrap();
    (
        tasks.into_iter().map(|task| task.key).collect(),
        events.into_iter().map(|event| (event.key, event.kind)).collect(),
    )
}

#[test]
fn a_task_is_gone_with_all_its_events_or_whole_however_small_the_pieces_are() {
    for max in [1, 2, 3, 100] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = sqlite(dir.path());
        history(&mut store);
        assert_eq!(walk(&mut store, &keep(1_000_000, i64::MAX), max), 2);
        let (tasks, events) = left(dir.path());
        assert_eq!(tasks, [1, 2, 4, 6]);
        assert!(events.iter().all(|(key, _)| tasks.contains(key)), "{events:?}");
        let of_one = events.iter().filter(|(key, _)| *key == 1).count();
        assert_eq!((events.len(), of_one), (9, 3));
        let reader = Reader::open(&dir.path().join("work.db")).unwrap();
        assert_eq!(reader.key_of("t3").unwrap(), None);
        assert_eq!(reader.key_of("t1").unwrap(), Some(1));
        assert!(reader.terminal_event(1).unwrap().is_some());
    }
}

#[test]
fn failures_have_a_limit_of_their_own_and_so_has_the_number_of_completed_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    history(&mut store);
    assert_eq!(walk(&mut store, &keep(i64::MAX, 1_000_000), 100), 1);
    assert_eq!(left(dir.path()).0, [2, 3, 4, 5, 6]);
    let most = |completed_max| Retention {
        completed_ms: None,
        completed_max: Some(completed_max),
        failed_ms: None,
    };
    assert_eq!(walk(&mut store, &most(3), 100), 0);
    assert_eq!(walk(&mut store, &most(1), 100), 2);
    assert_eq!(left(dir.path()).0, [2, 4, 6], "the one that was completed last stays");
}

#[test]
fn of_tasks_that_were_completed_in_one_row_of_the_log_the_last_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    for key in 1..=9 {
        txn(&mut store, &[insert(live(key), named(&format!("t{key}"))), enqueued(key)]);
    }
    let all: Vec<_> = (1..=8).flat_map(|key| ends(key, 1_000, EventKind::Completed)).collect();
    txn(&mut store, &all);
    for (completed_max, stays) in [(8, 1), (5, 4), (5, 4), (2, 7)] {
        let keep =
            Retention { completed_ms: None, completed_max: Some(completed_max), failed_ms: None };
        walk(&mut store, &keep, 100);
        let expected: Vec<TaskKey> = (stays..=9).collect();
        assert_eq!(left(dir.path()).0, expected, "{completed_max}");
    }
}

#[test]
fn what_stays_is_counted_in_pieces_too() {
    for (completed_max, gone) in [(0, 60), (1, 59), (35, 25), (60, 0), (61, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = sqlite(dir.path());
        for key in 1..=60 {
            txn(&mut store, &[insert(live(key), named(&format!("t{key}"))), enqueued(key)]);
            txn(&mut store, &ends(key, 1_000, EventKind::Completed));
        }
        txn(&mut store, &[insert(live(61), named("newest")), enqueued(61)]);
        let keep =
            Retention { completed_ms: None, completed_max: Some(completed_max), failed_ms: None };
        assert_eq!(walk(&mut store, &keep, 1), gone, "{completed_max}");
        let expected: Vec<TaskKey> = (TaskKey::try_from(gone).unwrap() + 1..=61).collect();
        assert_eq!(left(dir.path()).0, expected);
    }
}

#[test]
fn a_reader_that_was_away_is_told_what_it_has_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    history(&mut store);
    walk(&mut store, &keep(1_000_000, i64::MAX), 100);
    let reader = Reader::open(&dir.path().join("work.db")).unwrap();
    let all = EventFilter { limit: 100, ..EventFilter::default() };
    // Of the events 1 to 15, number 12 is the last that has gone.
    for after in [1, 5, 11] {
        assert_eq!(reader.events(after, &all).unwrap_err(), StoreError::CursorPruned(after));
    }
    let skipping = EventFilter { skip_pruned: true, ..all.clone() };
    assert_eq!(reader.events(1, &skipping).unwrap().0.len(), 8);
    assert!(reader.events(0, &all).is_ok());
    assert_eq!(reader.events(12, &all).unwrap().0.len(), 3);
    let of_one = EventFilter { key: Some(1), ..all };
    assert_eq!(reader.events(1, &of_one).unwrap().0.len(), 2);
}

#[test]
fn keys_and_numbers_are_never_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    for key in 1..=3 {
        txn(&mut store, &[insert(live(key), named(&format!("t{key}"))), enqueued(key)]);
        txn(&mut store, &ends(key, 1_000, EventKind::Completed));
    }
    assert_eq!(walk(&mut store, &keep(0, 0), 100), 2);
    assert_eq!(left(dir.path()).0, [3]);
    drop(store);
    let mut store = sqlite(dir.path());
    store.begin().unwrap();
    assert_eq!(store.last_key().unwrap(), 3);
    store.rollback();
    txn(&mut store, &[insert(live(4), named("t4")), enqueued(4)]);
    let reader = Reader::open(&dir.path().join("work.db")).unwrap();
    assert_eq!(reader.last_event().unwrap(), 7);
}

#[test]
fn free_pages_go_back_to_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    for key in 1..=300 {
        let mut task = named(&format!("t{key}"));
        task.admitted = vec![7; 3000].into();
        txn(&mut store, &[insert(live(key), task), enqueued(key)]);
        txn(&mut store, &ends(key, 1_000, EventKind::Completed));
    }
    assert_eq!(walk(&mut store, &keep(0, 0), 100), 299);
    let free = || {
        let other = rusqlite::Connection::open(dir.path().join("work.db")).unwrap();
        other.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = free();
    assert!(before > 150, "{before}");
    store.vacuum(100).unwrap();
    assert_eq!(before - free(), 100);
}

#[test]
fn what_happens_during_a_walk_is_for_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    history(&mut store);
    let mut walk = store.prune_walk(&keep(0, 0), NOW).unwrap();
    piece(&mut store, &mut walk, 4);
    // Its first event is behind the walk, its second before it.
    txn(&mut store, &ends(6, NOW - 1, EventKind::Completed));
    while !piece(&mut store, &mut walk, 4).1 {}
    let (tasks, events) = left(dir.path());
    assert_eq!(tasks, [4, 6]);
    let whole = [EventKind::Enqueued, EventKind::Started, EventKind::Completed];
    assert_eq!(events.iter().filter(|(key, _)| *key == 6).map(|e| e.1).collect::<Vec<_>>(), whole);
}
