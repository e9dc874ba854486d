//! Files that this process must not open: SQLite's.
//!
//! A process loses all its locks (`fcntl`) on a file when it closes any descriptor of it: another
//! process would then take a store in use for an abandoned one, and undo what was committed. So
//! such a file is refused before it is opened. Who comes by another name, through a link, is found
//! out only after: that descriptor stays open, and from then on every file is looked at first.
//! SOURCE: fcntl(2), "Record locking"; "How To Corrupt An SQLite Database File", section 2.2.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use crate::sync;

/// Files are off limits while this lives, to the whole process.
#[derive(Debug)]
pub struct OffLimits {
    number: u64,
    files: Vec<(PathBuf, Identity)>,
}

/// One file, as it is there.
struct Held {
    by: u64,
    process: u32,
    name: OsString,
    identity: Identity,
}

/// A device, and a file's number there.
type Identity = (u64, u64);

/// What the process must not open. One for all, since the locks are the process's own.
struct Register {
    last: u64,
    held: Vec<Held>,
    /// What was opened by another name.
    opened: Vec<(Identity, File)>,
}

static REGISTER: RwLock<Register> =
    RwLock::new(Register { last: 0, held: Vec::new(), opened: Vec::new() });

impl OffLimits {
    /// Those of these files that are there.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let files: Vec<_> = files
            .into_iter()
            .filter_map(|path| {
                let path = path.canonicalize().ok()?;
                let identity = identity_at(&path)?;
                Some((path, identity))
            })
            .collect();
        let mut register = sync::write(&REGISTER);
        register.last += 1;
        let (number, process) = (register.last, std::process::id());
        register.held.extend(files.iter().filter_map(|(path, identity)| {
            let name = path.file_name()?.to_owned();
            Some(Held { by: number, process, name, identity: *identity })
        }));
        Self { number, files }
    }

    /// Whether the process that this one was forked from had the file open at the fork, or had it
    /// being opened. The list of locks that SQLite believes it holds was copied with its memory, and
    /// here it holds none of them.
    pub fn are_inherited(file: &Path) -> bool {
        let Some(identity) = identity_at(file) else { return false };
        let process = std::process::id();
        let register = sync::read(&REGISTER);
        register.held.iter().any(|held| held.identity == identity && held.process != process)
    }

    /// Whether each of them is still where it was.
    pub fn are_in_place(&self) -> bool {
        self.files.iter().all(|(path, was)| identity_at(path) == Some(*was))
    }
}

impl Drop for OffLimits {
    fn drop(&mut self) {
        let mut register = sync::write(&REGISTER);
        let Register { held, opened, .. } = &mut *register;
        held.retain(|held| held.by != self.number);
        opened.retain(|(identity, _)| held.iter().any(|held| held.identity == *identity));
    }
}

/// Whether `path` must be looked at before it is opened: its name is that of a store's file, or one
/// was opened before by another name.
pub(super) fn may_be_at(path: &Path) -> bool {
    let register = sync::read(&REGISTER);
    let by_name = |name| register.held.iter().any(|held| held.name == name);
    !register.opened.is_empty() || path.file_name().is_some_and(by_name)
}

/// Whether a file is off limits.
pub(super) fn has(found: &Metadata) -> bool {
    let register = sync::read(&REGISTER);
    let identity = identity(found);
    register.held.iter().any(|held| held.identity == identity)
}

/// One was opened all the same: it is not closed while it is off limits.
pub(super) fn keep_open(file: File, found: &Metadata) {
    let mut register = sync::write(&REGISTER);
    register.opened.push((identity(found), file));
}

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// Which file is at a path. Does not ask for its times: of a file whose times were asked for, Linux
/// notes the very next write (since 6.13), and a commit takes a fifth longer. SOURCE: kernel.org,
/// multigrain-ts.rst.
#[cfg(target_os = "linux")]
fn identity_at(path: &Path) -> Option<Identity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => Some((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
        // A sandbox without the call.
        Err(rustix::io::Errno::NOSYS) => Some(identity(&path.metadata().ok()?)),
        Err(_) => None,
    }
}

/// Which file is at a path.
#[cfg(not(target_os = "linux"))]
fn identity_at(path: &Path) -> Option<Identity> {
    Some(identity(&path.metadata().ok()?))
}
