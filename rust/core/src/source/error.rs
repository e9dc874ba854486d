//! Why a file cannot be sent, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{ErrorCode, Fault, FaultCode};

/// Why a file cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// Nothing is at that path.
    NotFound {
        /// As it was given.
        path: PathBuf,
    },
    /// The process may not read it.
    PermissionDenied {
        /// As it was given.
        path: PathBuf,
    },
    /// A directory, pipe, socket or device.
    NotAFile {
        /// As it was given.
        path: PathBuf,
    },
    /// It is not, or cannot be shown to be, beneath an allowed root.
    Outside {
        /// As it was given.
        path: PathBuf,
    },
    /// A file of a store that this process has open.
    OffLimits {
        /// As it was given.
        path: PathBuf,
    },
    /// It is not in the state it was enqueued in.
    Changed {
        /// As it was given.
        path: PathBuf,
        /// What happened to it: grew, shrank, rewritten or replaced.
        how: String,
    },
    /// The operating system failed otherwise: too many open files, a failing disk.
    Io {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

impl SourceError {
    /// The reason, for programs.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } | Self::NotAFile { .. } => ErrorCode::FileNotFound,
            Self::PermissionDenied { .. } => ErrorCode::PermissionDenied,
            Self::Outside { .. } | Self::OffLimits { .. } => ErrorCode::SecurityViolation,
            Self::Changed { .. } => ErrorCode::SourceChanged,
            Self::Io { .. } => ErrorCode::Unknown,
        }
    }

    /// The refusal of a call that named the file as `argument`.
    pub fn fault(&self, argument: &str) -> Fault {
        let code = match self {
            Self::NotFound { .. } | Self::NotAFile { .. } => FaultCode::FileNotFound,
            Self::PermissionDenied { .. } => FaultCode::PermissionDenied,
            Self::Outside { .. } | Self::OffLimits { .. } => FaultCode::SecurityViolation,
            Self::Changed { .. } => FaultCode::SourceChanged,
            Self::Io { .. } => FaultCode::InvalidArgument,
        };
        Fault::new(code, argument, self.to_string())
    }

    /// What a failed system call on `path` means.
    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound { path },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { path },
            _ if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NXIO) => {
                Self::NotAFile { path } // a socket, or a device without a driver
            }
            _ => Self::Io { path, message: error.to_string() },
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => {
                write!(f, "File not found: {}; it was moved or deleted", path.display())
            }
            Self::PermissionDenied { path } => write!(
                f,
                "Permission denied: {}; let this process read the file and search its directories",
                path.display()
            ),
            Self::NotAFile { path } => write!(
                f,
                "File not found: {} is a directory, pipe or device; give a regular file",
                path.display()
            ),
            Self::Outside { path } => write!(
                f,
                "Path outside the allowed roots: {}; move the file beneath one, or allow its \
                 directory",
                path.display()
            ),
            Self::OffLimits { path } => write!(
                f,
                "Path off limits: {} belongs to a store of outhaul that is in use; leave it out",
                path.display()
            ),
            Self::Changed { path, how } => write!(
                f,
                "Source changed: {} is not the file that was enqueued, {how}; enqueue it again",
                path.display()
            ),
            Self::Io { path, message } => {
                write!(f, "Cannot read {}: {message}", path.display())
            }
        }
    }
}

impl std::error::Error for SourceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_call_has_its_code_and_its_phrase() {
        use rustix::io::Errno;
        for (errno, code, phrase) in [
            (Errno::NOENT, ErrorCode::FileNotFound, "File not found"),
            (Errno::NOTDIR, ErrorCode::FileNotFound, "File not found"),
            (Errno::NXIO, ErrorCode::FileNotFound, "File not found"),
            (Errno::ACCESS, ErrorCode::PermissionDenied, "Permission denied"),
            (Errno::PERM, ErrorCode::PermissionDenied, "Permission denied"),
            (Errno::IO, ErrorCode::Unknown, "Cannot read"),
            (Errno::MFILE, ErrorCode::Unknown, "Cannot read"),
        ] {
            let error = SourceError::from_io(Path::new("/a/b"), &errno.into());
            assert_eq!(error.code(), code, "{errno:?}");
            let text = error.to_string();
            assert!(text.contains(phrase) && text.contains("/a/b"), "{text}");
        }
    }
}
