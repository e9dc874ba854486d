//! The VFS: SQLite's own, but for how it opens a WAL.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::done;
use crate::wal::{HEAD_BYTES, Wal};

const NAME: &CStr = c"outhaul";

/// The name to open a connection with. Registers the VFS at the first call, and never as the
/// default.
///
/// Errors where SQLite has no VFS of its own, or no memory.
pub fn name() -> rusqlite::Result<&'static CStr> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    done(*REGISTERED.get_or_init(register))?;
    Ok(NAME)
}

fn register() -> c_int {
    // SAFETY: asks for the default VFS, which stays registered as long as the process lives.
    let own = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    if own.is_null() {
        return ffi::SQLITE_NOTFOUND;
    }
    // SAFETY: `own` is a VFS of SQLite, whose memory is static. Of its methods only `xOpen` looks
    // at the VFS that it is given (os_unix.c), and `open` gives it its own; so the others can be
    // shared.
    let mut vfs = unsafe { *own };
    vfs.zName = NAME.as_ptr();
    vfs.szOsFile = vfs.szOsFile.saturating_add(HEAD_BYTES);
    vfs.pAppData = own.cast();
    vfs.xOpen = Some(open);
    // SAFETY: SQLite keeps the pointer for good, and the box is never freed.
    unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) }
}

/// Opens a file: a WAL behind what gathers its writes, everything else as SQLite does.
unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls this with our VFS, whose `pAppData` is its own one, and with `szOsFile`
    // bytes of memory for the file: enough for `Wal` and SQLite's own file behind it.
    unsafe {
        let own: *mut ffi::sqlite3_vfs = (*vfs).pAppData.cast();
        let Some(open_own) = (*own).xOpen else { return ffi::SQLITE_CANTOPEN };
        let open_own = |file| open_own(own, path.cast::<c_char>(), file, flags, flags_out);
        if flags & ffi::SQLITE_OPEN_WAL == 0 { open_own(file) } else { Wal::open(file, open_own) }
    }
}
