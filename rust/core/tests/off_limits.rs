//! Files that must not be opened. In a process of their own: what is off limits, is so to all of
//! it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use outhaul_core::model::ErrorCode;
use outhaul_core::source::{OffLimits, PathPolicy, Source, SourceError};

#[track_caller]
fn assert_off_limits(path: &Path, policy: &PathPolicy) {
    for _ in 0..3 {
        assert!(
            Source::open_nowait(path, policy).is_none_or(|opened| opened.is_err()),
            "{}",
            path.display()
        );
        let refused = Source::open(path, policy).unwrap_err();
        assert_eq!(refused, SourceError::OffLimits { path: path.to_owned() });
        assert_eq!(refused.code(), ErrorCode::SecurityViolation);
    }
}

#[test]
fn a_file_that_is_off_limits_is_refused_by_whatever_name_and_only_while_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let root = base.join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("photo.jpg"), b"photo").unwrap();
    let policy = &PathPolicy::beneath(vec![root.clone()]).unwrap();
    let anywhere = &PathPolicy::anywhere();
    let photo = root.join("photo.jpg");
    symlink("photo.jpg", root.join("link")).unwrap();
    fs::hard_link(&photo, root.join("sub/twin")).unwrap();
    fs::write(base.join("photo.jpg"), b"another of that name").unwrap();
    let opens_at_once = Source::open_nowait(&photo, policy).is_some();
    let off_limits = OffLimits::new([photo.clone(), root.join("none")]);
    for path in ["photo.jpg", "sub/../photo.jpg", "link", "sub/twin"] {
        assert_off_limits(&root.join(path), policy);
        assert_off_limits(&root.join(path), anywhere);
    }
    assert!(Source::open(&base.join("photo.jpg"), anywhere).is_ok());
    let outside = Source::open(&base.join("photo.jpg"), policy).unwrap_err();
    assert!(matches!(outside, SourceError::Outside { .. }), "{outside}");
    drop(off_limits);
    assert!(Source::open(&photo, policy).is_ok());
    assert_eq!(Source::open_nowait(&photo, policy).is_some(), opens_at_once);
}
