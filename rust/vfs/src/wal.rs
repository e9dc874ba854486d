//! The WAL's file: during a commit it gathers what is written, and hands it on before anything else
//! is asked of the file.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;

use rusqlite::ffi;

use crate::gathered::Gathered;

/// This many bytes of a file's memory are ours; those of SQLite's own file follow.
pub(crate) const HEAD_BYTES: c_int = 16;
const _: () = assert!(size_of::<Wal>() == 16 && align_of::<Wal>() == 8);

/// The memory that SQLite gives for an open file begins so.
#[repr(C)]
pub(crate) struct Wal {
    methods: *const ffi::sqlite3_io_methods,
    /// From a box, which `close` frees.
    state: *mut State,
}

#[derive(Default)]
struct State {
    /// Whether a commit is under way.
    gathers: bool,
    /// Empty unless one is.
    gathered: Gathered,
}

impl Wal {
    /// Opens the file behind `file` with SQLite's own method, and makes a WAL of it.
    ///
    /// # Safety
    /// `file` is memory for a [`Wal`] and a file of SQLite's own; `open_own` opens such a file.
    pub(crate) unsafe fn open(
        file: *mut ffi::sqlite3_file,
        open_own: impl FnOnce(*mut ffi::sqlite3_file) -> c_int,
    ) -> c_int {
        // SAFETY: by the function's own contract. Where the own file has methods it is to be closed
        // by somebody, whether it could be opened or not: by `close`, which SQLite calls where ours
        // are set.
        unsafe {
            (*file).pMethods = ptr::null();
            let own = own(file);
            (*own).pMethods = ptr::null();
            let code = open_own(own);
            if !(*own).pMethods.is_null() {
                let state = Box::into_raw(Box::default());
                file.cast::<Self>().write(Self { methods: &raw const METHODS, state });
            }
            code
        }
    }

    /// From now on writes gather. False where the file is none of ours.
    ///
    /// # Safety
    /// `file` is null or a file of SQLite's, and nobody else uses it meanwhile.
    pub(crate) unsafe fn begin(file: *mut ffi::sqlite3_file) -> bool {
        // SAFETY: by the function's own contract; whose methods are ours was opened by `Wal::open`.
        unsafe {
            let is_ours =
                file.as_ref().is_some_and(|file| ptr::eq(file.pMethods, &raw const METHODS));
            if is_ours {
                state(file).gathers = true;
            }
            is_ours
        }
    }

    /// Writes gather no more. What is left was not synced, and is forgotten where the commit
    /// failed, since its place in the file may be somebody else's by now; where it did not, that is
    /// an error.
    ///
    /// # Safety
    /// [`Wal::begin`] said yes to `file`, which was open ever since; nobody else uses it meanwhile.
    pub(crate) unsafe fn end(file: *mut ffi::sqlite3_file, went_well: bool) -> c_int {
        // SAFETY: by the function's own contract.
        unsafe {
            state(file).gathers = false;
            let is_unsynced = went_well && !state(file).gathered.is_empty();
            let flushed = if is_unsynced { flush(file) } else { Ok(()) };
            state(file).gathered.forget();
            let or_else = if is_unsynced { ffi::SQLITE_MISUSE } else { ffi::SQLITE_OK };
            flushed.err().unwrap_or(or_else)
        }
    }
}

/// The first version of them: what belongs to the others (shared memory, mapped pages) is only ever
/// asked of the database's own file.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// SQLite's own file, behind ours.
///
/// # Safety
/// `file` is memory for a [`Wal`] and a file of SQLite's own.
unsafe fn own(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: by the function's own contract it stays inside the memory, and is as aligned as a
    // pointer.
    unsafe { file.cast::<Wal>().add(1).cast() }
}

/// Calls a method of SQLite's own file; the second value is the answer where it has no such method.
macro_rules! ask_own {
    ($file:ident . $method:ident ( $($argument:expr),* ), $none:expr) => {{
        // SAFETY: SQLite calls our methods only on a file that `Wal::open` has opened, one call at
        // a time, and with the arguments that its own method takes.
        unsafe {
            let own = own($file);
            match (*(*own).pMethods).$method {
                Some(method) => method(own $(, $argument)*),
                None => $none,
            }
        }
    }};
}

/// Writes to SQLite's own file; a code of SQLite's where that fails.
///
/// # Safety
/// `file` was opened by [`Wal::open`], and is open as long as this is used.
unsafe fn hand_on(file: *mut ffi::sqlite3_file) -> impl FnMut(&[u8], i64) -> Result<(), c_int> {
    move |bytes, at| {
        let Ok(length) = c_int::try_from(bytes.len()) else { return Err(ffi::SQLITE_IOERR_WRITE) };
        checked(ask_own!(file.xWrite(bytes.as_ptr().cast(), length, at), ffi::SQLITE_IOERR_WRITE))
    }
}

const fn checked(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

/// What is ours of an open file.
///
/// # Safety
/// `file` was opened by [`Wal::open`], and nobody else uses it meanwhile.
unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> &'a mut State {
    // SAFETY: by the function's own contract; the box lives until `close`.
    unsafe { &mut *(*file.cast::<Wal>()).state }
}

/// Hands on what has gathered.
///
/// # Safety
/// As [`state`].
unsafe fn flush(file: *mut ffi::sqlite3_file) -> Result<(), c_int> {
    // SAFETY: by the function's own contract.
    unsafe { state(file).gathered.flush(hand_on(file)) }
}

/// Hands on, then asks SQLite's own file.
macro_rules! flushed {
    ($file:ident . $method:ident ( $($argument:expr),* )) => {
        // SAFETY: as in `ask_own`.
        match unsafe { flush($file) } {
            Ok(()) => ask_own!($file.$method($($argument),*), ffi::SQLITE_IOERR),
            Err(code) => code,
        }
    };
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: as in `ask_own`.
    if !unsafe { state(file) }.gathers {
        return ask_own!(file.xWrite(bytes, length, at), ffi::SQLITE_IOERR_WRITE);
    }
    let Ok(length) = usize::try_from(length) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives `length` bytes, which stay as they are during the call.
    let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), length) };
    // SAFETY: as in `ask_own`.
    let written = unsafe { state(file).gathered.add(bytes, at, hand_on(file)) };
    written.err().unwrap_or(ffi::SQLITE_OK)
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    flushed!(file.xRead(into, length, at))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    flushed!(file.xTruncate(size))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    flushed!(file.xSync(flags))
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    flushed!(file.xFileSize(size))
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    what: c_int,
    argument: *mut c_void,
) -> c_int {
    flushed!(file.xFileControl(what, argument))
}

/// The last call: frees what is ours.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = ask_own!(file.xClose(), ffi::SQLITE_IOERR_CLOSE);
    // SAFETY: `Wal::open` made the box, and SQLite uses a file no more that it has closed.
    drop(unsafe { Box::from_raw((*file.cast::<Wal>()).state) });
    closed
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    ask_own!(file.xLock(level), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    ask_own!(file.xUnlock(level), ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    is_reserved: *mut c_int,
) -> c_int {
    ask_own!(file.xCheckReservedLock(is_reserved), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    ask_own!(file.xSectorSize(), 0)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    ask_own!(file.xDeviceCharacteristics(), 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use rusqlite::{Connection, OpenFlags};

    use super::*;
    use crate::connection::file;

    #[test]
    fn what_has_gathered_is_in_the_file_as_soon_as_somebody_asks() {
        const AT: i64 = 1024 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let name = crate::name().unwrap();
        let connection =
            Connection::open_with_flags_and_vfs(path, OpenFlags::default(), name).unwrap();
        connection.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a)").unwrap();
        let wal = file(&connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER).unwrap();
        let (mut found, mut size) = ([0_u8; 4], 0);
        // SAFETY: the connection is open and does nothing meanwhile; the memory is as long as is
        // said.
        unsafe {
            assert!(Wal::begin(wal));
            assert_eq!(write(wal, b"once".as_ptr().cast(), 4, AT), ffi::SQLITE_OK);
            assert_eq!(read(wal, found.as_mut_ptr().cast(), 4, AT), ffi::SQLITE_OK);
            assert_eq!(&found, b"once");
            assert_eq!(write(wal, b"more".as_ptr().cast(), 4, AT + 4), ffi::SQLITE_OK);
            assert_eq!(file_size(wal, &raw mut size), ffi::SQLITE_OK);
            assert_eq!(size, AT + 8);
            assert_eq!(write(wal, b"gone".as_ptr().cast(), 4, AT + 8), ffi::SQLITE_OK);
            assert_eq!(Wal::end(wal, false), ffi::SQLITE_OK);
            assert_eq!(file_size(wal, &raw mut size), ffi::SQLITE_OK);
            assert_eq!(size, AT + 8);
        }
    }
}
