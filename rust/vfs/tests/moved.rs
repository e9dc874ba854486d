//! What is believed to have been moved out of the WAL, and was lost on its way to the disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;").unwrap();
    connection
}

/// How many frames there are, and how many of them count as moved.
fn checkpoint(connection: &Connection) -> (i64, i64) {
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
        .unwrap()
}

/// A store of which a part was moved, since somebody reads.
fn partly_moved(path: &Path) -> Connection {
    let writer = open(path);
    writer.execute_batch("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)").unwrap();
    assert_eq!(checkpoint(&writer).0, checkpoint(&writer).1);
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO t(b) SELECT randomblob(500) FROM n";
    writer.execute_batch(fill).unwrap();
    let reader = open(path);
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    writer.execute_batch(fill).unwrap();
    let (frames, moved) = checkpoint(&writer);
    assert!(0 < moved && moved < frames, "{moved} of {frames}");
    writer
}

/// Some of what was moved has not reached the disk.
fn lose_pages(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; 20 * 4096], 2 * 4096).unwrap();
    // Not closed: SQLite would lose its locks.
    std::mem::forget(file);
}

fn is_whole_once_all_is_moved(path: &Path, writer: Connection) -> bool {
    let (frames, moved) = checkpoint(&writer);
    assert_eq!(frames, moved);
    drop(writer);
    assert!(!path.with_extension("db-wal").exists());
    let connection = Connection::open(path).unwrap();
    let found = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
    found.is_ok_and(|said| said == "ok") && count.is_ok_and(|count| count == 1000)
}

#[test]
fn what_is_forgotten_is_moved_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    let writer = partly_moved(&path);
    lose_pages(&path);
    outhaul_vfs::forget_moves(&writer, Duration::ZERO).unwrap();
    assert!(is_whole_once_all_is_moved(&path, writer));
}

#[test]
fn what_is_not_forgotten_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    let writer = partly_moved(&path);
    lose_pages(&path);
    assert!(!is_whole_once_all_is_moved(&path, writer), "the test above shows nothing");
}

#[test]
fn others_go_on_reading_and_writing_while_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.db");
    let writer = partly_moved(&path);
    let reader = open(&path);
    let count = |reader: &Connection| {
        reader.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    reader.execute_batch("BEGIN").unwrap();
    let before = count(&reader);
    outhaul_vfs::forget_moves(&writer, Duration::ZERO).unwrap();
    outhaul_vfs::forget_moves(&reader, Duration::ZERO).unwrap();
    writer.execute_batch("DELETE FROM t WHERE a > 900").unwrap();
    assert_eq!(count(&reader), before);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&reader), 900);
}

#[test]
fn there_is_nothing_to_forget_without_a_wal() {
    let connection = Connection::open_in_memory().unwrap();
    assert!(outhaul_vfs::forget_moves(&connection, Duration::ZERO).is_err());
}
