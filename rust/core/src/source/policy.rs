//! Which files may be opened. Judged on what is opened, so that no swap after a check gets through.

use std::fs::{File, Metadata};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{SourceError, off_limits};

/// Which files may be opened: all, or those beneath certain directories.
#[derive(Debug)]
pub struct PathPolicy {
    /// `None` is everywhere.
    roots: Option<Vec<Root>>,
}

/// A directory beneath which files may be opened.
#[derive(Debug)]
struct Root {
    /// As the caller spells it, absolute.
    given: PathBuf,
    /// Without links.
    canonical: PathBuf,
    /// What the kernel resolves from, whatever the names mean by then.
    #[cfg(target_os = "linux")]
    directory: File,
}

/// A pipe or a device must not hang us (`NONBLOCK`) nor become our terminal (`NOCTTY`); a child
/// process must not get it (`CLOEXEC`).
const READ_ONLY: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl PathPolicy {
    /// Any file that the process may read.
    pub const fn anywhere() -> Self {
        Self { roots: None }
    }

    /// Only files beneath `roots`, which are opened here, once. No roots allow nothing.
    ///
    /// Links are followed as long as they stay beneath a root. Errors where a root is not a
    /// directory that can be opened.
    pub fn beneath(roots: Vec<PathBuf>) -> io::Result<Self> {
        let open = |root: &PathBuf| {
            Root::open(root).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", root.display()))
            })
        };
        Ok(Self { roots: Some(roots.iter().map(open).collect::<io::Result<_>>()?) })
    }

    /// Opens `path` for reading if it is allowed. It may turn out to be no regular file.
    pub(super) fn open(&self, path: &Path) -> Result<File, SourceError> {
        if off_limits::may_be_at(path) && self.look(path).is_ok_and(|found| off_limits::has(&found))
        {
            return Err(SourceError::OffLimits { path: path.to_owned() });
        }
        self.open_with(path, READ_ONLY)
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> Result<File, SourceError> {
        match &self.roots {
            None => open_anywhere(path, flags).map_err(|error| SourceError::from_io(path, &error)),
            Some(roots) => open_beneath(path, roots, flags),
        }
    }

    /// What is at `path`, if it is allowed, without opening it.
    #[cfg(target_os = "linux")]
    fn look(&self, path: &Path) -> Result<Metadata, SourceError> {
        let found = self.open_with(path, OFlags::PATH | OFlags::CLOEXEC)?;
        found.metadata().map_err(|error| SourceError::from_io(path, &error))
    }

    /// What is at `path`, allowed or not.
    #[cfg(not(target_os = "linux"))]
    fn look(&self, path: &Path) -> Result<Metadata, SourceError> {
        path.metadata().map_err(|error| SourceError::from_io(path, &error))
    }

    /// As [`Self::open`], where every name on the way is in the kernel's memory. `None` otherwise,
    /// and where it is not allowed or there is none: then [`Self::open`] says why.
    pub(super) fn open_nowait(&self, path: &Path) -> Option<File> {
        if off_limits::may_be_at(path) {
            return None;
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, ResolveFlags, openat2};
            let open = |directory: BorrowedFd<'_>, path: &Path, resolve| {
                let resolve = resolve | ResolveFlags::CACHED;
                openat2(directory, path, READ_ONLY, Mode::empty(), resolve).ok().map(File::from)
            };
            let Some(roots) = &self.roots else { return open(CWD, path, ResolveFlags::empty()) };
            let beneath = |root: &Root| open(root.directory.as_fd(), root.relative(path)?, BENEATH);
            roots.iter().find_map(beneath)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            None
        }
    }
}

/// No way out of a directory. `BENEATH` refuses magic links as well, but does not promise it.
/// SOURCE: openat2(2).
#[cfg(target_os = "linux")]
const BENEATH: rustix::fs::ResolveFlags =
    rustix::fs::ResolveFlags::BENEATH.union(rustix::fs::ResolveFlags::NO_MAGICLINKS);

impl Root {
    fn open(given: &Path) -> io::Result<Self> {
        let canonical = given.canonicalize()?;
        // It need only be searched, not listed.
        #[cfg(target_os = "linux")]
        let directory =
            open_anywhere(&canonical, OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY)?;
        #[cfg(not(target_os = "linux"))]
        std::fs::read_dir(&canonical)?;
        Ok(Self {
            given: std::path::absolute(given)?,
            canonical,
            #[cfg(target_os = "linux")]
            directory,
        })
    }

    /// The path as seen from this root, if it is spelled as beneath it: by whole components, so
    /// that `/data-old` is not beneath `/data`. It may still climb out by `..` or a link.
    #[cfg(target_os = "linux")]
    fn relative<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.canonical).or_else(|_| path.strip_prefix(&self.given)).ok()
    }
}

fn open_anywhere(path: &Path, flags: OFlags) -> io::Result<File> {
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Opens `path` beneath one of `roots`: by the kernel's own judgement where it has one.
#[cfg(target_os = "linux")]
fn open_beneath(path: &Path, roots: &[Root], flags: OFlags) -> Result<File, SourceError> {
    let outside = || SourceError::Outside { path: path.to_owned() };
    let spelled = std::path::absolute(path).map_err(|_| outside())?;
    let mut resolved = None;
    for candidate in [Some(spelled), path.canonicalize().ok()].into_iter().flatten() {
        for root in roots {
            let Some(relative) = root.relative(&candidate) else { continue };
            match openat2(&root.directory, relative, flags) {
                Ok(Verdict::Opened(file)) => return Ok(file),
                Ok(Verdict::Outside) => {}
                Ok(Verdict::Unable) => return open_judged(path, roots, flags, Path::canonicalize),
                Err(error) => resolved = Some(SourceError::from_io(path, &error)),
            }
        }
    }
    Err(resolved.unwrap_or_else(outside))
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(path: &Path, roots: &[Root], flags: OFlags) -> Result<File, SourceError> {
    open_judged(path, roots, flags, Path::canonicalize)
}

/// What the kernel says of a path beneath a directory.
#[cfg(target_os = "linux")]
enum Verdict {
    Opened(File),
    /// It climbs out, by `..`, an absolute link or a link of `/proc`.
    Outside,
    /// This kernel, or a sandbox, has no such call.
    Unable,
}

/// Lets the kernel open `relative` and refuse whatever leaves `directory` on the way. No race.
#[cfg(target_os = "linux")]
fn openat2(directory: &File, relative: &Path, flags: OFlags) -> io::Result<Verdict> {
    use rustix::io::Errno;

    // `AGAIN`: something was renamed while `..` was resolved. Whoever does that on purpose must not
    // keep us here.
    for _ in 0..OPEN_TRIES_MAX {
        match rustix::fs::openat2(directory, relative, flags, Mode::empty(), BENEATH) {
            Ok(opened) => return Ok(Verdict::Opened(File::from(opened))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::XDEV | Errno::LOOP) => return Ok(Verdict::Outside),
            Err(Errno::NOSYS | Errno::PERM) => return Ok(Verdict::Unable),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Verdict::Outside)
}

/// How often an open is tried again when renames get in its way.
#[cfg(target_os = "linux")]
const OPEN_TRIES_MAX: usize = 16;

/// Opens `path` where the kernel cannot judge: by its name without links, and then asks the
/// descriptor where it is, since the name may have changed its meaning in between.
fn open_judged(
    path: &Path,
    roots: &[Root],
    flags: OFlags,
    resolve: impl FnOnce(&Path) -> io::Result<PathBuf>,
) -> Result<File, SourceError> {
    let outside = || SourceError::Outside { path: path.to_owned() };
    let beneath = |path: &Path| roots.iter().any(|root| path.starts_with(&root.canonical));
    let named_beneath = |path: &Path| roots.iter().any(|root| path.starts_with(&root.given));
    let name = match resolve(path) {
        Ok(name) => name,
        // Whether a file exists outside the roots is nobody's business.
        Err(error) if beneath(path) || named_beneath(path) => {
            return Err(SourceError::from_io(path, &error));
        }
        Err(_) => return Err(outside()),
    };
    if !beneath(&name) {
        return Err(outside());
    }
    let file = open_anywhere(&name, flags | OFlags::NOFOLLOW)
        .map_err(|error| SourceError::from_io(path, &error))?;
    match path_of(&file) {
        Ok(opened) if beneath(&opened) => Ok(file),
        _ => Err(outside()),
    }
}

/// Where an open file is, according to the kernel.
#[cfg(target_os = "linux")]
fn path_of(file: &File) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Where an open file is, according to the kernel.
#[cfg(target_vendor = "apple")]
fn path_of(file: &File) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(file)?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with a file in it, and a secret of the same name beside it.
    fn place() -> (tempfile::TempDir, PathBuf, Vec<Root>) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("root/sub")).unwrap();
        fs::write(base.join("root/file"), b"mine").unwrap();
        fs::write(base.join("file"), b"secret").unwrap();
        let roots = vec![Root::open(&base.join("root")).unwrap()];
        (dir, base, roots)
    }

    /// Not an old one, nor a sandbox without the call.
    #[cfg(target_os = "linux")]
    fn kernel_has(resolve: rustix::fs::ResolveFlags) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(rustix::fs::CWD, ".", flags, Mode::empty(), resolve).is_ok()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_judges_by_itself_or_says_that_it_cannot() {
        let (_dir, base, roots) = place();
        symlink(base.join("root/file"), base.join("root/absolute")).unwrap();
        let directory = &roots[0].directory;
        if !kernel_has(rustix::fs::ResolveFlags::BENEATH) {
            assert!(matches!(
                openat2(directory, Path::new("file"), READ_ONLY),
                Ok(Verdict::Unable)
            ));
            return;
        }
        assert!(matches!(openat2(directory, Path::new("file"), READ_ONLY), Ok(Verdict::Opened(_))));
        for outside in ["../file", "sub/../../file", "absolute", "/etc/passwd"] {
            let verdict = openat2(directory, Path::new(outside), READ_ONLY);
            assert!(matches!(verdict, Ok(Verdict::Outside)), "{outside}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_waiting_nothing_opens_that_is_not_allowed() {
        let (_dir, base, roots) = place();
        symlink("../file", base.join("root/out")).unwrap();
        let (anywhere, beneath) = (PathPolicy::anywhere(), PathPolicy { roots: Some(roots) });
        let file = base.join("root/file");
        if !kernel_has(rustix::fs::ResolveFlags::CACHED) {
            assert!(anywhere.open_nowait(&file).is_none());
            return;
        }
        assert!(beneath.open_nowait(&file).is_some());
        assert!(beneath.open_nowait(&base.join("root/sub/../file")).is_some());
        assert!(anywhere.open_nowait(&base.join("file")).is_some());
        for outside in ["file", "root/../file", "root/out", "none", "root/none"] {
            assert!(beneath.open_nowait(&base.join(outside)).is_none(), "{outside}");
        }
        assert!(PathPolicy { roots: Some(Vec::new()) }.open_nowait(&file).is_none());
    }

    #[test]
    fn without_the_kernel_what_is_beneath_opens_and_what_is_not_does_not() {
        let (_dir, base, roots) = place();
        symlink("../file", base.join("root/out")).unwrap();
        symlink("../file", base.join("root/sub/in")).unwrap();
        let open =
            |path: &str| open_judged(&base.join(path), &roots, READ_ONLY, Path::canonicalize);
        for path in ["root/file", "root/sub/in", "root/sub/../file"] {
            assert!(open(path).is_ok(), "{path}");
        }
        fs::create_dir(base.join("root-old")).unwrap();
        fs::write(base.join("root-old/file"), b"x").unwrap();
        for path in ["file", "root/../file", "root/out", "root-old/file", "none"] {
            assert!(matches!(open(path), Err(SourceError::Outside { .. })), "{path}");
        }
        assert!(matches!(open("root/none"), Err(SourceError::NotFound { .. })));
        let named_outside = open_judged(&base, &roots, READ_ONLY, |base| Ok(base.join("none")));
        assert!(matches!(named_outside, Err(SourceError::Outside { .. })), "it was opened");
    }

    #[test]
    fn without_the_kernel_a_name_that_changes_its_meaning_is_found_out() {
        let (_dir, base, roots) = place();
        symlink("..", base.join("root/dir")).unwrap();
        symlink("../file", base.join("root/link")).unwrap();
        for swapped in ["root/dir/file", "root/link"] {
            // As if the link had been put there after the name was resolved.
            let stale = base.join(swapped);
            let opened = open_judged(&stale, &roots, READ_ONLY, |path| Ok(path.to_owned()));
            assert!(opened.is_err(), "{swapped}");
        }
    }
}
