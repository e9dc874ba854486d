//! The engine of outhaul: what runs next, what is sent, what is durable. No Python here.
//!
//! Layers, top to bottom; each uses only what stands below it:
//!
//! ```text
//! runtime                            threads, the one clock, group commit, completions
//! store                              applies the engine's effects as one transaction
//! engine | transfer                  every rule of a task's life, without I/O | one attempt over HTTP
//! schedule | multipart · progress · source
//! model                              the words, the state machine, the errors
//! ```
//!
//! **Architecture invariants.** Only `runtime` implements a clock or owns a thread. `engine` opens
//! nothing and awaits nothing. `store` knows SQL and no rules; `engine` knows rules and no SQL.

pub mod engine;
pub mod model;
pub mod multipart;
pub mod progress;
pub mod runtime;
pub mod schedule;
pub mod source;
pub mod store;
mod sync;
pub mod transfer;
