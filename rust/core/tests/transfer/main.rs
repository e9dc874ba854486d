//! Uploads over real sockets, to servers that behave and servers that do not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod answers;
mod bodies;
mod connections;
mod encrypted;
mod kit;
mod waiting;
