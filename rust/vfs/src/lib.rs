//! SQLite's own way to the disk (its default VFS), but that a commit is written in one piece.
//!
//! SQLite writes a page into the WAL with two system calls, one for the frame's header and one for
//! the page, and neither begins where a page of the file does. During [`commit`] they gather until
//! the WAL is synced, which is before anybody can see them: one system call a commit, and each page
//! of the file is touched once.
//!
//! ```text
//! SQLite ──open──▶ vfs.rs ── the WAL ──▶ wal.rs (gathers: gathered.rs) ──▶ SQLite's own file
//!                        └── all else ─────────────────────────────────▶ SQLite's own file
//! ```
//!
//! Right only with `synchronous=FULL` or more: with less a commit is seen before it is synced, and
//! so before it would be written. SOURCE: <https://sqlite.org/vfs.html>, "VFS shims".

use std::ffi::c_int;

use rusqlite::ffi;

mod connection;
mod gathered;
mod moved;
mod vfs;
mod wal;

pub use connection::{commit, sync};
pub use moved::forget_moves;
pub use vfs::name;

/// What a code of SQLite's means.
fn done(code: c_int) -> rusqlite::Result<()> {
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }
}
