//! Real files, real links, and real attempts to get out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use outhaul_core::model::ErrorCode;
use outhaul_core::source::{Fingerprint, PathPolicy, Source, SourceError};
use tempfile::TempDir;

/// A root with a file and a directory in it, and a secret beside it.
struct Place {
    _dir: TempDir,
    base: PathBuf,
    root: PathBuf,
    policy: PathPolicy,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let root = base.join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("photo.jpg"), b"photo").unwrap();
    fs::write(base.join("secret"), b"secret").unwrap();
    let policy = PathPolicy::beneath(vec![root.clone()]).unwrap();
    Place { _dir: dir, base, root, policy }
}

fn anywhere(path: &Path) -> Result<Source, SourceError> {
    Source::open(path, &PathPolicy::anywhere())
}

fn contents(source: &Source) -> Vec<u8> {
    let mut buf = vec![0; 100];
    let read = source.read_at(0, &mut buf).unwrap();
    buf.truncate(read);
    buf
}

#[track_caller]
fn assert_outside(path: &Path, policy: &PathPolicy) {
    let refused = Source::open(path, policy).unwrap_err();
    assert_eq!(refused, SourceError::Outside { path: path.to_owned() });
    assert_eq!(refused.code(), ErrorCode::SecurityViolation);
    assert!(refused.to_string().contains("Path outside"), "{refused}");
}

#[track_caller]
fn assert_changed(source: &Source, expected: &Fingerprint, word: &str) {
    let refused = source.verify(expected).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::SourceChanged);
    assert!(
        matches!(&refused, SourceError::Changed { how, .. } if how.contains(word)),
        "{refused}"
    );
}

#[test]
fn a_read_anywhere_is_that_slice_of_the_file() {
    let place = place();
    let source = anywhere(&place.root.join("photo.jpg")).unwrap();
    let mut buf = [0; 3];
    assert_eq!(source.read_at(1, &mut buf).unwrap(), 3);
    assert_eq!(&buf, b"hot");
    assert_eq!(source.read_at(3, &mut buf).unwrap(), 2, "the file ends");
    assert_eq!(source.read_at(5, &mut buf).unwrap(), 0);
    assert_eq!(source.read_at(1 << 40, &mut buf).unwrap(), 0);
    source.advise_sequential();
}

#[test]
fn a_read_without_waiting_gives_the_same_bytes_where_the_kernel_can() {
    let place = place();
    let path = place.root.join("photo.jpg");
    let source = anywhere(&path).unwrap();
    contents(&source); // now the kernel has it in memory
    let mut buf = [0; 10];
    let read = source.read_at_nowait(1, &mut buf).unwrap();
    assert_eq!(read.is_some(), kernel_reads_at_once(&File::open(&path).unwrap()));
    assert_eq!(&buf[..read.unwrap_or_default()], &b"hoto"[..read.unwrap_or_default()]);
    assert_eq!(source.read_at_nowait(5, &mut buf).unwrap(), None, "the end is not told so");
}

#[cfg(target_os = "linux")]
fn kernel_reads_at_once(file: &File) -> bool {
    let buf = &mut [0; 10];
    let buf = &mut [std::io::IoSliceMut::new(buf)];
    rustix::io::preadv2(file, buf, 1, rustix::io::ReadWriteFlags::NOWAIT).is_ok_and(|read| read > 0)
}

#[cfg(not(target_os = "linux"))]
fn kernel_reads_at_once(_: &File) -> bool {
    false
}

#[test]
fn what_is_not_there_is_not_found() {
    let place = place();
    for path in [place.root.join("none"), place.root.join("photo.jpg/inside")] {
        for policy in [&PathPolicy::anywhere(), &place.policy] {
            let refused = Source::open(&path, policy).unwrap_err();
            assert_eq!(refused, SourceError::NotFound { path: path.clone() });
            assert_eq!(refused.code(), ErrorCode::FileNotFound);
            assert!(refused.to_string().contains("File not found"), "{refused}");
        }
    }
}

#[test]
fn what_may_not_be_read_says_so() {
    let place = place();
    let path = place.root.join("photo.jpg");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        return; // root may read everything; the mapping has its own test
    }
    for policy in [&PathPolicy::anywhere(), &place.policy] {
        let refused = Source::open(&path, policy).unwrap_err();
        assert_eq!(refused, SourceError::PermissionDenied { path: path.clone() });
    }
}

#[test]
fn a_directory_pipe_socket_or_device_is_no_file_and_does_not_hang_us() {
    let place = place();
    let fifo = place.root.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = place.root.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for path in [place.root.join("sub"), fifo, socket, PathBuf::from("/dev/null")] {
        let (tell, told) = std::sync::mpsc::channel();
        let opened = path.clone();
        std::thread::spawn(move || tell.send(anywhere(&opened).map(drop)));
        let refused = told.recv_timeout(Duration::from_secs(5)).expect("it hangs").unwrap_err();
        assert_eq!(refused, SourceError::NotAFile { path });
        assert_eq!(refused.code(), ErrorCode::FileNotFound);
        assert!(refused.to_string().contains("File not found"), "{refused}");
    }
}

#[test]
fn beneath_a_root_files_are_opened() {
    let place = place();
    symlink("../photo.jpg", place.root.join("sub/relative")).unwrap();
    symlink(place.root.join("photo.jpg"), place.root.join("sub/absolute")).unwrap();
    for path in ["photo.jpg", "sub/../photo.jpg", "sub/relative", "sub/absolute", "./photo.jpg"] {
        let source = Source::open(&place.root.join(path), &place.policy).unwrap();
        assert_eq!(contents(&source), b"photo", "{path}");
    }
}

#[test]
fn a_root_may_be_named_by_a_link_or_reached_by_one() {
    let place = place();
    let link = place.base.join("link");
    symlink(&place.root, &link).unwrap();
    let by_link = PathPolicy::beneath(vec![link.clone()]).unwrap();
    for policy in [&by_link, &place.policy] {
        for root in [&link, &place.root] {
            assert!(Source::open(&root.join("photo.jpg"), policy).is_ok(), "{}", root.display());
        }
    }
    let refused = Source::open(&link.join("none"), &by_link).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::FileNotFound);
    for policy in [&by_link, &place.policy] {
        for root in [&link, &place.root] {
            assert_outside(&root.join("../secret"), policy);
        }
    }
}

#[test]
fn a_relative_path_is_judged_by_where_it_is() {
    let here = tempfile::tempdir_in(".").unwrap();
    let name = Path::new(here.path().file_name().unwrap());
    fs::write(here.path().join("file"), b"x").unwrap();
    let policy = PathPolicy::beneath(vec![name.to_owned()]).unwrap();
    assert!(Source::open(&name.join("file"), &policy).is_ok());
    assert_outside(Path::new("Cargo.toml"), &policy);
}

#[test]
fn a_second_root_counts_as_much_as_the_first() {
    let place = place();
    let other = place.base.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), b"x").unwrap();
    symlink(other.join("file"), place.root.join("across")).unwrap();
    let policy = PathPolicy::beneath(vec![place.root.clone(), other.clone()]).unwrap();
    assert!(Source::open(&other.join("file"), &policy).is_ok());
    assert!(Source::open(&place.root.join("across"), &policy).is_ok());
    assert!(Source::open(&place.root.join("photo.jpg"), &policy).is_ok());
}

#[test]
fn a_sibling_whose_name_begins_alike_is_outside() {
    let place = place();
    let sibling = place.base.join("root-old");
    fs::create_dir(&sibling).unwrap();
    fs::write(sibling.join("file"), b"x").unwrap();
    assert_outside(&sibling.join("file"), &place.policy);
}

#[test]
fn dots_do_not_lead_out() {
    let place = place();
    assert_outside(&place.root.join("../secret"), &place.policy);
    assert_outside(&place.root.join("sub/../../secret"), &place.policy);
    assert_outside(&place.base.join("secret"), &place.policy);
}

#[test]
fn links_do_not_lead_out() {
    let place = place();
    symlink("../secret", place.root.join("relative")).unwrap();
    symlink(place.base.join("secret"), place.root.join("absolute")).unwrap();
    symlink("..", place.root.join("up")).unwrap();
    symlink("relative", place.root.join("twice")).unwrap();
    symlink("circle", place.root.join("circle")).unwrap();
    for path in ["relative", "absolute", "up/secret", "twice", "circle"] {
        assert_outside(&place.root.join(path), &place.policy);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn links_of_proc_do_not_lead_out() {
    use std::os::fd::AsRawFd as _;
    let place = place();
    let secret = File::open(place.base.join("secret")).unwrap();
    let magic = format!("/proc/self/fd/{}", secret.as_raw_fd());
    assert_outside(Path::new(&magic), &place.policy);
    let proc = PathPolicy::beneath(vec!["/proc/self".into()]).unwrap();
    assert_outside(Path::new(&magic), &proc);
}

#[test]
fn whether_a_file_exists_outside_is_not_told() {
    let place = place();
    assert_outside(&place.base.join("none"), &place.policy);
    assert_outside(&place.root.join("../none"), &place.policy);
    symlink("../none", place.root.join("dangling")).unwrap();
    assert_outside(&place.root.join("dangling"), &place.policy);
}

#[test]
fn no_roots_allow_nothing() {
    let place = place();
    assert_outside(&place.root.join("photo.jpg"), &PathPolicy::beneath(Vec::new()).unwrap());
}

#[test]
fn a_root_is_a_directory_that_exists() {
    let place = place();
    assert!(PathPolicy::beneath(vec![place.root.join("photo.jpg")]).is_err());
    assert!(PathPolicy::beneath(vec![place.root.join("none")]).is_err());
}

#[test]
fn the_policy_judges_every_open_again() {
    let place = place();
    let path = place.root.join("photo.jpg");
    assert!(Source::open(&path, &place.policy).is_ok());
    fs::remove_file(&path).unwrap();
    symlink(place.base.join("secret"), &path).unwrap();
    assert_outside(&path, &place.policy);
}

#[test]
fn a_link_swapped_under_way_never_leads_out() {
    let place = place();
    let (real, trap, path) =
        (place.root.join("real"), place.root.join("trap"), place.root.join("dir"));
    fs::create_dir(&real).unwrap();
    fs::write(real.join("secret"), b"decoy").unwrap();
    symlink("real", &path).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            for target in ["..", "real"].into_iter().cycle().take_while(|_| !stop.load(relaxed)) {
                symlink(target, &trap).unwrap();
                fs::rename(&trap, &path).unwrap();
            }
        });
        let (mut opened, mut refused) = (0, 0);
        while opened + refused < 2_000 || (opened + refused < 200_000 && opened * refused == 0) {
            match Source::open(&path.join("secret"), &place.policy) {
                Ok(source) => {
                    opened += 1;
                    assert_eq!(contents(&source), b"decoy");
                }
                // A rename under way is tried again, and is no failure of the disk.
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.code(), ErrorCode::SecurityViolation);
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(opened > 0 && refused > 0, "{opened} {refused}");
    });
}

#[test]
fn a_file_that_stays_as_it_is_passes() {
    let place = place();
    let path = place.root.join("photo.jpg");
    let source = anywhere(&path).unwrap();
    let before = source.fingerprint().unwrap();
    assert_eq!(before.size, 5);
    contents(&source);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(source.verify(&before), Ok(()));
    assert_eq!(anywhere(&path).unwrap().verify(&before), Ok(()));
}

#[test]
fn a_file_that_grew_shrank_or_was_rewritten_is_seen_while_open() {
    let place = place();
    let path = place.root.join("photo.jpg");
    let source = anywhere(&path).unwrap();
    let before = source.fingerprint().unwrap();
    let mut writer = File::options().append(true).open(&path).unwrap();
    writer.write_all(b"!").unwrap();
    assert_changed(&source, &before, "grew from 5 to 6");
    writer.set_len(4).unwrap();
    assert_changed(&source, &before, "shrank from 5 to 4");
    writer.set_len(5).unwrap();
    writer.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001)).unwrap();
    assert_changed(&source, &before, "rewritten");
    assert_eq!(source.fingerprint().unwrap().mtime_ns, 1_000_000_001);
}

#[test]
fn a_nanosecond_is_enough_to_tell() {
    let place = place();
    let path = place.root.join("photo.jpg");
    let writer = File::options().append(true).open(&path).unwrap();
    let source = anywhere(&path).unwrap();
    let old = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    writer.set_modified(old).unwrap();
    let before = source.fingerprint().unwrap();
    assert_eq!(before.mtime_ns, -1_500_000_000);
    writer.set_modified(old + Duration::from_nanos(1)).unwrap();
    assert_changed(&source, &before, "rewritten");
}

#[test]
fn a_replaced_file_is_seen_by_the_next_open_and_the_open_one_keeps_its_bytes() {
    let place = place();
    let path = place.root.join("photo.jpg");
    let source = anywhere(&path).unwrap();
    let before = source.fingerprint().unwrap();
    let other = place.root.join("other");
    fs::write(&other, b"other").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    File::options().append(true).open(&other).unwrap().set_modified(modified).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(source.verify(&before), Ok(()));
    assert_eq!(contents(&source), b"photo");
    assert_changed(&anywhere(&path).unwrap(), &before, "replaced");
}

#[test]
fn a_fingerprint_survives_being_stored() {
    let fingerprint = Fingerprint { dev: u64::MAX, ino: 1, size: u64::MAX, mtime_ns: -1 };
    let stored = rmp_serde::to_vec_named(&fingerprint).unwrap();
    assert_eq!(rmp_serde::from_slice::<Fingerprint>(&stored).unwrap(), fingerprint);
}
