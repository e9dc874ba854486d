//! How much of the WAL has been moved into the database file, as all its connections believe.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rusqlite::{Connection, ffi};

use crate::connection::file;
use crate::done;

/// The wal-index is mapped in pieces of this many bytes.
/// SOURCE for this and what follows: <https://sqlite.org/walformat.html>, section 2.
const PIECE_BYTES: c_int = 32 * 1024;

/// Where it says how many frames have been moved, `nBackfill`: a number of 32 bits in native order.
const MOVED_AT: usize = 96;

/// The lock of who moves frames, `WAL_CKPT_LOCK`.
const MOVERS_LOCK: c_int = 1;

/// How often to look whether another checkpoint is over.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the next checkpoint move the whole WAL once more.
///
/// For when the database file could not be synced: then what counts as moved may be lost, since the
/// kernel takes pages that it could not write for written, and another sync succeeds. That fewer
/// frames count as moved than were is always right: SQLite itself begins so where it takes up a
/// WAL.
///
/// Errors where another checkpoint goes on for longer than `patience`, or the connection is not in
/// WAL mode.
pub fn forget_moves(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let file = file(connection, ffi::SQLITE_FCNTL_FILE_POINTER)?;
    // SAFETY: the file lives as long as the connection, which is not used by another thread
    // meanwhile, since it is not `Sync`. A file without methods is not open.
    let methods = unsafe { file.as_ref().and_then(|file| file.pMethods.as_ref()) };
    let (Some(map), Some(lock)) =
        (methods.and_then(|to| to.xShmMap), methods.and_then(|to| to.xShmLock))
    else {
        return done(ffi::SQLITE_MISUSE);
    };
    let mut piece: *mut c_void = ptr::null_mut();
    // SAFETY: as above; SQLite writes a pointer, and maps what is there already.
    done(unsafe { map(file, 0, PIECE_BYTES, 0, (&raw mut piece).cast()) })?;
    if piece.is_null() {
        return Ok(()); // nobody has used the WAL yet
    }
    let ask = |what| {
        // SAFETY: as above. The connection holds no lock of a checkpoint, since it is at rest.
        unsafe { lock(file, MOVERS_LOCK, 1, what | ffi::SQLITE_SHM_EXCLUSIVE) }
    };
    let mut taken = ask(ffi::SQLITE_SHM_LOCK);
    let mut waited = Duration::ZERO;
    while taken == ffi::SQLITE_BUSY && waited < patience {
        sleep(PAUSE);
        waited += PAUSE;
        taken = ask(ffi::SQLITE_SHM_LOCK);
    }
    done(taken)?;
    // SAFETY: the piece is longer than that, begins on a page, and stays mapped while the
    // connection is open; others only ever read and write that number atomically, and write it
    // under the lock we hold.
    unsafe { AtomicU32::from_ptr(piece.byte_add(MOVED_AT).cast()) }.store(0, Ordering::Release);
    done(ask(ffi::SQLITE_SHM_UNLOCK))
}
