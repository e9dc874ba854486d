//! The file that is sent: opened under the path policy, known by its fingerprint.

mod error;
mod off_limits;
mod policy;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::SourceError;
pub use off_limits::OffLimits;
pub use policy::PathPolicy;

/// What tells one state of a file from another. Taken at enqueue, compared at every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The device it lives on. That of a file system may be another with each start of the host, so
    /// it is not compared.
    pub dev: u64,
    /// Its number there; 0 where it may be another once the file system is mounted again.
    pub ino: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, in nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

impl Fingerprint {
    fn of(file: &Metadata) -> Self {
        let seconds_ns = file.mtime().saturating_mul(1_000_000_000);
        let mtime_ns = seconds_ns.saturating_add(file.mtime_nsec());
        Self { dev: file.dev(), ino: file.ino(), size: file.size(), mtime_ns }
    }

    /// Whether the file is on a device of this host: no server has to answer before it opens.
    ///
    /// File systems of a network, in user space or in memory have no device: their major number is
    /// 0.
    pub fn is_on_device(&self) -> bool {
        rustix::fs::major(self.dev) != 0
    }
}

/// An open regular file, read by offset. Never written.
///
/// It holds the file, not the path: when another file is renamed over the path, this one still
/// reads the bytes of the one that was opened.
#[derive(Debug)]
pub struct Source {
    file: File,
    path: PathBuf,
    opened: Fingerprint,
}

impl Source {
    /// Opens `path` for reading, if `policy` allows it now. Does not block on a pipe or a device.
    ///
    /// Call it again for every attempt: the policy judges what is opened, not what was once named.
    pub fn open(path: &Path, policy: &PathPolicy) -> Result<Self, SourceError> {
        Self::of(policy.open(path)?, path)
    }

    /// As [`Self::open`], where that needs no waiting. `None`: ask [`Self::open`], where waiting is
    /// allowed.
    pub fn open_nowait(path: &Path, policy: &PathPolicy) -> Option<Result<Self, SourceError>> {
        policy.open_nowait(path).map(|file| Self::of(file, path))
    }

    fn of(file: File, path: &Path) -> Result<Self, SourceError> {
        let found = file.metadata().map_err(|error| SourceError::from_io(path, &error))?;
        if off_limits::has(&found) {
            off_limits::keep_open(file, &found);
            return Err(SourceError::OffLimits { path: path.to_owned() });
        }
        if !found.is_file() {
            return Err(SourceError::NotAFile { path: path.to_owned() });
        }
        Ok(Self { file, path: path.to_owned(), opened: Fingerprint::of(&found) })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file was when it was opened.
    pub const fn opened(&self) -> &Fingerprint {
        &self.opened
    }

    /// The fingerprint at opening, with `ino` 0 where the file system does not keep inode numbers
    /// across mounts.
    pub fn lasting(&self) -> Fingerprint {
        let ino = if numbers_last(&self.file) { self.opened.ino } else { 0 };
        Fingerprint { ino, ..self.opened }
    }

    /// What the open file is now.
    pub fn fingerprint(&self) -> io::Result<Fingerprint> {
        Ok(Fingerprint::of(&self.file.metadata()?))
    }

    /// Errors with [`SourceError::Changed`] unless the open file is exactly `expected` now.
    pub fn verify(&self, expected: &Fingerprint) -> Result<(), SourceError> {
        let now = self.fingerprint().map_err(|error| SourceError::from_io(&self.path, &error))?;
        self.compare(expected, &now)
    }

    /// As [`Self::verify`], by what the file was when it was opened: asks the system nothing.
    pub fn verify_opened(&self, expected: &Fingerprint) -> Result<(), SourceError> {
        self.compare(expected, &self.opened)
    }

    fn compare(&self, expected: &Fingerprint, found: &Fingerprint) -> Result<(), SourceError> {
        match difference(expected, found) {
            None => Ok(()),
            Some(how) => Err(SourceError::Changed { path: self.path.clone(), how }),
        }
    }

    /// Reads from `offset` until `buf` is full or the file ends; says how many bytes.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads what the kernel has in memory at `offset`, possibly less than `buf`. `None`: it would
    /// have to wait for the disk, or cannot tell, as at the end of the file; then read it with
    /// [`Self::read_at`] where waiting is allowed.
    pub fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        #[cfg(target_os = "linux")]
        {
            use rustix::io::{Errno, ReadWriteFlags, preadv2};
            let buf = &mut [io::IoSliceMut::new(buf)];
            match preadv2(&self.file, buf, offset, ReadWriteFlags::NOWAIT) {
                Ok(read @ 1..) => Ok(Some(read)),
                // SOURCE: preadv2(2), BUGS: Linux 5.9 and 5.10 say 0 before the end, too.
                Ok(0)
                | Err(
                    Errno::AGAIN
                    | Errno::INTR
                    | Errno::NOSYS
                    | Errno::OPNOTSUPP
                    | Errno::INVAL
                    | Errno::PERM,
                ) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (offset, buf);
            Ok(None)
        }
    }

    /// Tells the kernel that the file is about to be read from front to back. Best effort.
    pub fn advise_sequential(&self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            // Advice that is not taken costs speed and nothing else.
            let _ = fadvise(&self.file, 0, None, Advice::Sequential);
        }
    }
}

/// Whether a file has the same number for as long as it exists. SOURCE: linux/magic.h.
///
/// The file systems of memory cards have no numbers: the kernel makes them up, as programs may that
/// are a file system.
#[cfg(target_os = "linux")]
fn numbers_last(file: &File) -> bool {
    const MADE_UP: [u64; 3] = [0x4d44, 0x2011_bab0, 0x6573_5546]; // FAT, exFAT, FUSE
    let magic = rustix::fs::fstatfs(file).map(|found| found.f_type);
    let magic = magic.ok().and_then(|magic| u64::try_from(magic).ok());
    magic.is_none_or(|magic| !MADE_UP.contains(&magic))
}

#[cfg(not(target_os = "linux"))]
fn numbers_last(_: &File) -> bool {
    true
}

/// How `now` differs from `expected`, for people.
fn difference(expected: &Fingerprint, now: &Fingerprint) -> Option<String> {
    if expected.ino != 0 && now.ino != expected.ino {
        return Some("it was replaced by another file".to_owned());
    }
    let (before, after) = (expected.size, now.size);
    if after > before {
        return Some(format!("it grew from {before} to {after} bytes"));
    }
    if after < before {
        return Some(format!("it shrank from {before} to {after} bytes"));
    }
    (now.mtime_ns != expected.mtime_ns).then(|| "it was rewritten with the same size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_system_with_a_device_is_taken_for_one_of_this_host() {
        let on = |dev| Fingerprint { dev, ino: 1, size: 1, mtime_ns: 0 }.is_on_device();
        assert!(on(rustix::fs::makedev(259, 1)));
        assert!(!on(rustix::fs::makedev(0, 53)));
    }

    #[test]
    fn a_file_is_the_same_after_its_file_system_was_mounted_anew() {
        let stored = Fingerprint { dev: 1, ino: 7, size: 5, mtime_ns: 3 };
        assert_eq!(difference(&stored, &Fingerprint { dev: 2, ..stored }), None);
        assert!(difference(&stored, &Fingerprint { ino: 8, ..stored }).is_some());
        let on_a_card = Fingerprint { ino: 0, ..stored };
        assert_eq!(difference(&on_a_card, &Fingerprint { ino: 8, ..stored }), None);
        assert!(difference(&on_a_card, &Fingerprint { size: 6, ..stored }).is_some());
        assert!(difference(&on_a_card, &Fingerprint { mtime_ns: 4, ..stored }).is_some());
    }

    #[test]
    fn a_file_on_this_disk_is_known_by_its_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::open(file.path(), &PathPolicy::anywhere()).unwrap();
        assert_eq!(source.lasting(), *source.opened());
        assert_ne!(source.lasting().ino, 0);
    }
}
