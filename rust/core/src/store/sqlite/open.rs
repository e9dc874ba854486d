//! Opening the file: its mode, its place, its settings.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::StoreError;
use super::errors::explain;
use super::schema::{Found, inspect, migrate};
use crate::source::OffLimits;

/// How much of what was committed survives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk before it is acknowledged: survives power loss.
    Fsync,
    /// Every commit is with the operating system: survives `kill -9`.
    Os,
}

/// How long a writer waits for another process's transaction.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SETTINGS: &str = "
    PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192; PRAGMA mmap_size=0; PRAGMA fullfsync=1;
    PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=0;
";

/// The write connection to a file that is there: makes its tables where they are missing.
pub(super) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    let shown = path.display().to_string();
    refuse_network_filesystem(path)?;
    refuse_no_file_of_its_own(path)?;
    // `Os` does not sync, so each page has to reach the kernel at once: SQLite's own VFS. `Fsync`
    // uses ours, which writes a whole commit at once.
    let vfs = match durability {
        Durability::Fsync => Some(outhaul_vfs::name().map_err(|e| explain(&e, &shown))?),
        Durability::Os => None,
    };
    let mut connection = open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE, vfs)?;
    let found = inspect(&mut connection, &shown)?;
    let synchronous = match durability {
        Durability::Fsync => "FULL",
        Durability::Os => "NORMAL",
    };
    // The vacuum mode has no effect once the file has a page, so it is set first. It is kept in the
    // file.
    let vacuum = if found == Found::New { "PRAGMA auto_vacuum=INCREMENTAL;" } else { "" };
    let set_up = format!("{vacuum} PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};");
    patiently(&connection, &set_up).map_err(|e| explain(&e, &shown))?;
    connection.execute_batch(SETTINGS).map_err(|e| explain(&e, &shown))?;
    if found != Found::Newest {
        migrate(&mut connection, &shown)?;
    }
    Ok(connection)
}

/// Tries again while the file is busy, for as long as a statement would wait.
///
/// SQLite does not wait by itself where two connections switch a new file to WAL at once: each
/// holds what the other needs, so one of them is refused without a delay. So no try waits here.
fn patiently(connection: &Connection, statements: &str) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    connection.busy_timeout(Duration::ZERO)?;
    let mut waited = Duration::ZERO;
    loop {
        match connection.execute_batch(statements) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && waited < BUSY_TIMEOUT =>
            {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            done => return done.and_then(|()| connection.busy_timeout(BUSY_TIMEOUT)),
        }
    }
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // An index made for one answer would read a whole table, and no answer of ours needs one.
    let settings = "PRAGMA cache_size=-2048; PRAGMA mmap_size=0; PRAGMA automatic_index=OFF;";
    connection.execute_batch(settings)?;
    Ok(connection)
}

/// A connection that only moves the WAL into the file.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA fullfsync=1;")?;
    Ok(connection)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    open_with(path, access, None)
}

fn open_with(path: &Path, access: OpenFlags, vfs: Option<&CStr>) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    let connection = connection.map_err(|e| explain(&e, &path.display().to_string()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// SQLite knows its locks by process: one that was forked while the store was open takes those of
/// its parent for its own, and asks the kernel for none. The parent's close would then take away
/// what was committed here. SOURCE: "How To Corrupt An SQLite Database File", section 2.6.
pub(super) fn refuse_inherited(path: &Path) -> Result<(), StoreError> {
    if !OffLimits::are_inherited(path) {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "the store {} was open when this process was forked, and SQLite's locks do not survive \
         that: fork before it is opened, or start the process anew (spawn or forkserver)",
        path.display()
    )))
}

/// Makes the file with mode 0600 unless it is there. SQLite gives its WAL the mode of the file.
///
/// Only ever *creates*: an existing store must not be opened and closed by hand, since closing any
/// descriptor of a file drops the locks that SQLite holds on it.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!(
            "the store {} cannot be made ({error}); check that its directory exists and can be \
             written",
            path.display()
        ))),
    }
}

/// SQLite names the WAL after the file: with another name of the same file there would be two.
fn refuse_no_file_of_its_own(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    if found.is_dir() {
        return Err(StoreError::Unavailable(format!(
            "the store {} is a directory; name a file in it",
            path.display()
        )));
    }
    if found.nlink() > 1 {
        return Err(StoreError::Unavailable(format!(
            "the store {} has another name (a hard link), and would be damaged by whoever uses that; \
             copy the file instead",
            path.display()
        )));
    }
    Ok(())
}

/// SQLite's WAL needs shared memory, which network file systems do not give.
#[cfg(target_os = "linux")]
fn refuse_network_filesystem(path: &Path) -> Result<(), StoreError> {
    let Ok(stat) = rustix::fs::statfs(path) else { return Ok(()) };
    match network_name(u64::try_from(stat.f_type).unwrap_or_default()) {
        Some(name) => Err(StoreError::Unavailable(format!(
            "the store {} is on a network file system ({name}), where SQLite's WAL does not work; \
             put it on a local disk",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// The name of a network file system, by its number. SOURCE: statfs(2), linux/magic.h.
///
/// FUSE carries local and distant ones alike under one number, and so is let be.
#[cfg(target_os = "linux")]
fn network_name(magic: u64) -> Option<&'static str> {
    const NETWORK: [(u64, &str); 9] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
    ];
    // The kernel gives the number as a signed word of 32 bits on some machines.
    let magic = magic & 0xffff_ffff;
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn refuse_network_filesystem(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_local_ones_are_none() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xffff_ffff_ff53_4d42), Some("CIFS"));
        for local in [0xef53, 0x0102_1994, 0x9123_683e, 0x5846_5342, 0x794c_7630] {
            assert_eq!(network_name(local), None);
        }
        let here = std::env::temp_dir();
        assert!(refuse_network_filesystem(&here).is_ok());
    }

    /// `fdatasync` cannot be asked for, but it is set in one line with these.
    #[test]
    fn sqlite_is_built_with_the_flags_of_this_repository() {
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(options.iter().any(|option| option == "OMIT_SHARED_CACHE"), "{options:?}");
        for left_out in ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_FTS5", "ENABLE_RTREE"] {
            assert!(options.iter().all(|option| option != left_out), "{options:?}");
        }
    }
}
