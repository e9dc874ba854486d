//! Uploads over real sockets, to servers that behave and servers that do not.

mod answers;
mod bodies;
mod connections;
mod encrypted;
mod kit;
mod waiting;
