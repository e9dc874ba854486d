//! With a real database on a real disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

fn open(path: &Path) -> Connection {
    let name = outhaul_vfs::name().unwrap();
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), name).unwrap();
    let mode = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
        CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b BLOB)";
    connection.execute_batch(mode).unwrap();
    connection
}

fn insert(connection: &Connection, rows: u32, bytes: usize) {
    let mut insert = connection.prepare_cached("INSERT INTO t(b) VALUES (?1)").unwrap();
    for _ in 0..rows {
        insert.execute([vec![1_u8; bytes]]).unwrap();
    }
}

fn add(connection: &Connection, rows: u32, bytes: usize) {
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    insert(connection, rows, bytes);
    outhaul_vfs::commit(connection).unwrap();
}

fn rows(connection: &Connection) -> i64 {
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// SOURCE: proc(5), `/proc/pid/task/tid/io`, `syscw`.
#[cfg(target_os = "linux")]
fn write_calls() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_commit_of_many_pages_is_one_write_that_every_other_connection_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let connection = open(&path);
    // By SQLite's own way.
    let other = Connection::open(&path).unwrap();

    #[cfg(target_os = "linux")]
    for _ in 0..3 {
        let before = write_calls();
        add(&connection, 50, 1000);
        assert_eq!(write_calls() - before, 1);
    }
    #[cfg(not(target_os = "linux"))]
    add(&connection, 150, 1000);
    assert_eq!(rows(&other), 150);

    // More than the page cache holds goes into the WAL before the commit, and is read from there.
    connection.execute_batch("PRAGMA cache_size=16").unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection.execute("UPDATE t SET b = zeroblob(2000)", []).unwrap();
    assert_eq!(rows(&connection), 150);
    connection.execute_batch("ROLLBACK").unwrap();
    add(&connection, 2000, 3000);
    assert_eq!(rows(&connection), 2150);
    assert_eq!(rows(&other), 2150);

    // The WAL begins anew, and moves into the file for good.
    for mode in ["PASSIVE", "RESTART", "TRUNCATE"] {
        let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
        let busy: i64 = connection.query_row(&checkpoint, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        add(&connection, 10, 1000);
    }
    assert_eq!(rows(&other), 2180);
    drop((connection, other));
    assert_eq!(rows(&Connection::open(&path).unwrap()), 2180);
}

#[test]
fn what_a_transaction_wrote_that_was_given_up_never_reaches_the_place_of_a_later_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let connection = open(&path);
    add(&connection, 500, 1000);
    // Nothing in the WAL is needed any more, so that nothing is read from it.
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    connection.execute_batch("PRAGMA cache_size=16; BEGIN IMMEDIATE").unwrap();
    insert(&connection, 500, 3000);
    connection.execute_batch("ROLLBACK").unwrap();
    // Somebody else's commit goes where those pages went.
    let other = Connection::open(&path).unwrap();
    add(&other, 2000, 1000);
    add(&connection, 1, 10);
    drop(connection);
    assert_eq!(rows(&other), 2501);
}

#[test]
fn a_commit_that_changes_pages_again_is_whole_after_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let connection = open(&path);
    connection.execute_batch("PRAGMA cache_size=16").unwrap();
    let mut wanted = 0;
    // Pages that were written before the commit change once more.
    for number in 20..100 {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        insert(&connection, number, 1000);
        wanted += i64::from(number);
        let again = "UPDATE t SET b = randomblob(1000) WHERE a > (SELECT max(a) FROM t) - ?1";
        connection.execute(again, [number % 70]).unwrap();
        outhaul_vfs::commit(&connection).unwrap();
    }
    // After a power cut only pages with the right checksums count.
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(folder.path().join("t.db-wal"), folder.path().join("copy.db-wal")).unwrap();
    assert_eq!(rows(&Connection::open(&copy).unwrap()), wanted);
}

#[test]
fn a_commit_that_is_not_synced_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let connection = open(&folder.path().join("t.db"));
    connection.execute_batch("PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE").unwrap();
    insert(&connection, 1, 10);
    let refused = outhaul_vfs::commit(&connection).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::ApiMisuse));
}
