//! What SQLite lets one ask of a database's file only in C.

use std::ptr;

use rusqlite::{Connection, ffi};

use crate::done;

/// Waits until what was written to the connection's database file is on the disk: not its WAL.
///
/// Errors where the disk fails, or the connection has no file.
pub fn sync(connection: &Connection) -> rusqlite::Result<()> {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open as long as it is borrowed, and not used by another thread meanwhile,
    // since it is not `Sync`. The file is SQLite's own, and lives as long as the connection.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    done(code)?;
    // SAFETY: as above. A file without methods is not open.
    done(unsafe {
        match file.as_ref().and_then(|file| file.pMethods.as_ref()).and_then(|to| to.xSync) {
            Some(sync) => sync(file, ffi::SQLITE_SYNC_NORMAL),
            None => ffi::SQLITE_MISUSE,
        }
    })
}
