//! What SQLite lets one ask of a connection's files only in C.

use std::ptr;

use rusqlite::{Connection, ffi};

use crate::done;
use crate::wal::Wal;

/// Ends the connection's transaction with a `COMMIT`. What that writes to the WAL gathers until it
/// is synced; on a connection that was not opened with [`name`](crate::name) it is written as ever.
///
/// Errors as a commit does, and where it was not synced: with less than `synchronous=FULL`.
///
/// Nothing is held back at any other time: a page that SQLite writes before, since its cache is
/// full, is written at once, for if the transaction were given up nobody would say so, and its
/// place would be somebody else's.
pub fn commit(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("COMMIT")?;
    let wal = file(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER)?;
    // SAFETY: the connection is not used by another thread meanwhile, since it is not `Sync`.
    if !unsafe { Wal::begin(wal) } {
        return statement.execute([]).map(drop);
    }
    let committed = statement.execute([]);
    // SAFETY: as above. A WAL stays open while its connection is in WAL mode, and a commit changes
    // no mode.
    done(unsafe { Wal::end(wal, committed.is_ok()) })?;
    committed.map(drop)
}

/// Waits until what was written to the connection's database file is on the disk: not its WAL.
///
/// Errors where the disk fails, or the connection has no file.
pub fn sync(connection: &Connection) -> rusqlite::Result<()> {
    let file = file(connection, ffi::SQLITE_FCNTL_FILE_POINTER)?;
    // SAFETY: the file lives as long as the connection, which is not used by another thread
    // meanwhile, since it is not `Sync`. A file without methods is not open.
    done(unsafe {
        match file.as_ref().and_then(|file| file.pMethods.as_ref()).and_then(|to| to.xSync) {
            Some(sync) => sync(file, ffi::SQLITE_SYNC_NORMAL),
            None => ffi::SQLITE_MISUSE,
        }
    })
}

/// One of the connection's files: SQLite's own, which lives as long as the connection.
pub(crate) fn file(
    connection: &Connection,
    which: i32,
) -> rusqlite::Result<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open as long as it is borrowed; SQLite writes a pointer.
    done(unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            which,
            (&raw mut file).cast(),
        )
    })?;
    Ok(file)
}
