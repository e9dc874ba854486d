//! The store in one SQLite file. Linked once, statically: nobody opens the file with another
//! SQLite.
//!
//! ```text
//! effects ──▶ writer ─▶ gathered ─▶ bulk ──▶ SQLite ──▶ outhaul-vfs ──▶ the WAL ──checkpoint──▶ the file
//! answers ◀── reader ◀────────── rows ◀────────┘
//! ```

mod bulk;
mod checkpoint;
mod errors;
mod gathered;
mod names;
mod open;
mod prune;
mod reader;
mod rows;
mod schema;
mod tags;
mod writer;

pub use checkpoint::{Checkpointer, CheckpointsDue};
pub use open::Durability;
pub use prune::{PruneWalk, Pruned, Retention};
pub use reader::{EventFilter, Reader, Situation, TaskFilter};
pub use writer::SqliteStore;
