//! What only a file can do: be shared, private, foreign, too new or unreachable.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use outhaul_core::engine::Effect;
use outhaul_core::store::sqlite::{Checkpointer, Durability, SqliteStore};
use outhaul_core::store::{Store, StoreError};
use rusqlite::Connection;

use super::kit::{completed, enqueued, insert, live, named, new_task, record, sqlite, txn};
use outhaul_core::model::EventKind;

fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path, Durability::Os) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

fn foreign(store: &mut SqliteStore) -> Vec<u64> {
    store.begin().unwrap();
    let keys = store.foreign_changes().unwrap();
    store.commit().unwrap();
    keys
}

#[test]
fn each_handle_is_told_what_the_other_changed_once_and_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    txn(&mut a, &[insert(live(2), named("x")), enqueued(2), insert(live(1), named("y"))]);
    txn(&mut a, &[enqueued(1), record(EventKind::Started, 2)]);
    assert_eq!(foreign(&mut a), [0; 0]);
    assert_eq!(foreign(&mut b), [1, 2]);
    assert_eq!(foreign(&mut b), [0; 0]);
    txn(&mut b, &[completed(2), record(EventKind::Completed, 2)]);
    assert_eq!(foreign(&mut a), [2]);
}

#[test]
fn what_was_not_committed_is_told_to_nobody_and_told_again_to_us() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    a.begin().unwrap();
    a.apply(&[insert(live(1), named("x")), enqueued(1)]).unwrap();
    a.rollback();
    assert_eq!(foreign(&mut b), [0; 0]);
    txn(&mut a, &[insert(live(1), named("x")), enqueued(1)]);
    b.begin().unwrap();
    assert_eq!(b.foreign_changes().unwrap(), [1]);
    b.rollback();
    assert_eq!(foreign(&mut b), [1]);
}

#[test]
fn a_transaction_that_did_not_ask_has_seen_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    txn(&mut a, &[insert(live(1), named("x")), enqueued(1)]);
    txn(&mut b, &[]);
    txn(&mut b, &[insert(live(2), named("y")), enqueued(2)]);
    assert!(foreign(&mut b).contains(&1));
    assert_eq!(foreign(&mut b), [0; 0]);
    txn(&mut a, &[insert(live(3), named("z")), enqueued(3)]);
    b.begin().unwrap();
    b.each_live(&mut |_| ()).unwrap();
    b.commit().unwrap();
    assert_eq!(foreign(&mut b), [0; 0]);
}

#[test]
fn another_handle_sees_what_was_committed_and_its_version_tells_it_to_look() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    let before = b.data_version().unwrap();
    assert_eq!(b.data_version().unwrap(), before);
    txn(&mut a, &[insert(live(1), named("x")), enqueued(1)]);
    assert_ne!(b.data_version().unwrap(), before);
    b.begin().unwrap();
    assert_eq!(b.newest("x").unwrap(), Some(1));
    assert_eq!(b.last_key().unwrap(), 1);
    b.rollback();
}

#[test]
fn what_was_committed_outlives_the_handle() {
    let dir = tempfile::tempdir().unwrap();
    txn(&mut sqlite(dir.path()), &[insert(live(1), named("x")), enqueued(1)]);
    let mut again = sqlite(dir.path());
    txn(&mut again, &[Effect::Update(super::kit::running(live(1), 1, 7))]);
    drop(again);
    let mut again = sqlite(dir.path());
    again.begin().unwrap();
    assert_eq!(again.live(1).unwrap().unwrap().epoch, 7);
    assert_eq!(again.foreign_changes().unwrap(), [0; 0]);
    again.rollback();
}

#[test]
fn a_store_that_is_up_to_date_is_opened_with_no_commit_and_while_another_writes() {
    let dir = tempfile::tempdir().unwrap();
    txn(&mut sqlite(dir.path()), &[insert(live(1), named("x"))]);
    let before = fs::read(dir.path().join("work.db")).unwrap();
    let mut writing = sqlite(dir.path());
    writing.begin().unwrap();
    let opened = sqlite(dir.path());
    assert_eq!(fs::metadata(dir.path().join("work.db-wal")).unwrap().len(), 0);
    drop(opened);
    writing.rollback();
    drop(writing);
    assert!(fs::read(dir.path().join("work.db")).unwrap() == before);
}

#[test]
fn many_processes_may_make_the_same_store_at_once() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let opened: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
            let open = || SqliteStore::open(&dir.path().join("work.db"), Durability::Os).map(drop);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(opened, vec![Ok(()); 8]);
    }
}

#[test]
fn the_file_and_its_wal_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    txn(&mut store, &[insert(live(1), named("x"))]);
    for name in ["work.db", "work.db-wal", "work.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_database_of_something_else_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1);").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), StoreError::Foreign(_)));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_database_with_the_mark_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA application_id=1234; VACUUM;").unwrap();
    drop(other);
    assert!(matches!(refusal(&path), StoreError::Foreign(_)));
}

#[test]
fn a_text_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    let text = "This is no database. ".repeat(200);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refusal(&path), StoreError::Foreign(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("work.db"), "").unwrap();
    txn(&mut sqlite(dir.path()), &[insert(live(1), named("x"))]);
}

#[test]
fn what_others_did_before_a_store_was_opened_anew_is_told_after_that() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ours, mut theirs) = (sqlite(dir.path()), sqlite(dir.path()));
    txn(&mut ours, &[insert(live(1), named("ours")), enqueued(1)]);
    txn(&mut theirs, &[insert(live(2), named("theirs")), enqueued(2)]);
    ours.reopen().unwrap();
    ours.begin().unwrap();
    assert_eq!(ours.foreign_changes().unwrap(), [2]);
    ours.commit().unwrap();
    ours.begin().unwrap();
    assert_eq!(ours.foreign_changes().unwrap(), [0; 0]);
    ours.rollback();
}

#[test]
fn a_store_whose_files_are_gone_takes_nothing_in_and_makes_no_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    txn(&mut store, &[insert(live(1), named("before"))]);
    let path = dir.path().join("work.db");
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    for _ in 0..2 {
        let refused = store.begin().unwrap_err();
        assert!(refused.to_string().contains("removed or replaced"), "{refused}");
        assert!(store.reopen().is_err());
        assert!(!path.exists());
    }
}

#[test]
fn a_store_of_a_newer_outhaul_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(sqlite(dir.path()));
    let path = dir.path().join("work.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version=99;").unwrap();
    assert!(matches!(refusal(&path), StoreError::TooNew { found: 99, known: 3 }));
}

#[test]
fn a_store_that_a_newer_outhaul_has_changed_meanwhile_is_not_written_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    txn(&mut store, &[insert(live(1), named("a"))]);
    let path = dir.path().join("work.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version=99;").unwrap();
    let refused = store.begin().unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 99, known: 3 }), "{refused:?}");
}

#[test]
fn a_row_that_outhaul_never_writes_is_called_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sqlite(dir.path());
    txn(&mut store, &[insert(live(1), named("x"))]);
    drop(store);
    let path = dir.path().join("work.db");
    Connection::open(&path).unwrap().execute_batch("UPDATE live SET status=77;").unwrap();
    let mut store = sqlite(dir.path());
    store.begin().unwrap();
    assert!(matches!(store.live(1), Err(StoreError::Corrupt(_))));
    store.rollback();
}

#[test]
fn a_missing_directory_is_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(&dir.path().join("nowhere/work.db"));
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().contains("check that its directory exists"), "{error}");
}

#[test]
fn a_directory_in_the_place_of_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    // Nobody, root included, can make a file there.
    let error = refusal(Path::new("/proc/self/work.db"));
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    if is_root() {
        return; // Modes do not bind root.
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(refusal(&dir.path().join("work.db")), StoreError::Unavailable(_)));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
#[ignore = "waits for five seconds, the busy timeout"]
fn a_store_that_another_holds_for_long_is_called_unavailable_and_works_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (sqlite(dir.path()), sqlite(dir.path()));
    a.begin().unwrap();
    let refused = std::thread::scope(|scope| scope.spawn(|| b.begin()).join().unwrap());
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    b.rollback();
    a.rollback();
    txn(&mut b, &[insert(live(1), named("x"))]);
}

/// A store with a checkpointer, and tasks enough for a WAL of so many pages.
fn with_wal(dir: &Path, pages: i32) -> (SqliteStore, Checkpointer) {
    let mut store = sqlite(dir);
    let checkpointer = Checkpointer::open(&dir.join("work.db")).unwrap();
    for key in 1.. {
        txn(&mut store, &[insert(live(key), new_task())]);
        if store.wal_pages() >= pages {
            break;
        }
    }
    (store, checkpointer)
}

/// Whether another commit begins the WAL anew.
fn begins_anew(store: &mut SqliteStore, key: u64) -> bool {
    txn(store, &[insert(live(key), new_task())]);
    store.wal_pages() < 10
}

/// Who reads what is stored now until it says `COMMIT`.
fn reading(dir: &Path) -> Connection {
    let reader = Connection::open(dir.join("work.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM task;").unwrap();
    reader
}

#[test]
fn the_next_commit_begins_the_wal_anew_once_its_writer_has_moved_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, checkpointer) = with_wal(dir.path(), 100);
    let reader = reading(dir.path());
    txn(&mut store, &[insert(live(1000), new_task())]);
    checkpointer.run().unwrap(); // up to what is read: what came later is the rest
    reader.execute_batch("COMMIT;").unwrap();
    txn(&mut store, &[insert(live(1001), new_task())]);
    assert!(store.wal_pages() > 100, "{} pages: there was no rest", store.wal_pages());
    store.finish_checkpoint(false).unwrap();
    assert!(begins_anew(&mut store, 1002));
}

#[test]
fn who_reads_an_old_wal_keeps_it_but_holds_up_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = with_wal(dir.path(), 100);
    let reader = reading(dir.path());
    txn(&mut store, &[insert(live(1000), new_task())]);
    let began = Instant::now();
    store.finish_checkpoint(true).unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    txn(&mut store, &[insert(live(1001), new_task())]);
    assert!(store.wal_pages() > 100);
    reader.execute_batch("COMMIT;").unwrap();
    store.finish_checkpoint(false).unwrap();
    assert!(begins_anew(&mut store, 1002));
}

#[test]
fn who_insists_waits_for_a_reader_that_is_about_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = with_wal(dir.path(), 100);
    // A busy host may let the reader end too late, so there are some attempts.
    assert!((1000..1005).any(|key| {
        let reader = reading(dir.path());
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            reader.execute_batch("COMMIT;").unwrap();
        });
        store.finish_checkpoint(true).unwrap();
        let is_anew = begins_anew(&mut store, key);
        ending.join().unwrap();
        is_anew
    }));
}

#[test]
fn who_has_insisted_waits_for_other_writers_as_long_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = with_wal(dir.path(), 10);
    store.finish_checkpoint(true).unwrap();
    let other = Connection::open(dir.path().join("work.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE;").unwrap();
    let held = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400)); // four times as long as readers are waited for
        other.execute_batch("COMMIT;").unwrap();
    });
    txn(&mut store, &[insert(live(1000), new_task())]);
    held.join().unwrap();
}
