//! The threads that transfers run on.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::model::Fault;
use crate::runtime::replies::no_thread;

/// Threads that move bytes. Two saturate what the loopback of a small host can carry; more hosts
/// than that are waited for, not computed for.
const THREADS_MAX: usize = 4;

/// How long they are waited for. It takes a millisecond, or they never come.
const PATIENCE: Duration = Duration::from_secs(2);

/// As many threads as there are processors, up to a bound.
///
/// Made elsewhere: where the host gives some of them and no more, tokio panics, and then waits for those
/// that it has got, for ever.
pub(super) fn of_transfers() -> Result<Runtime, Fault> {
    let (tell, arrival) = sync_channel(1);
    let make = move || {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let tokio = Builder::new_multi_thread()
            .worker_threads(threads.clamp(1, THREADS_MAX))
            .thread_name("outhaul-transfer")
            .enable_all()
            .build();
        // Nobody waits any more: they end with it.
        drop(tell.send(tokio));
    };
    let helper = std::thread::Builder::new().name("outhaul-threads".to_owned()).spawn(make);
    helper.map_err(|error| no_thread(&error))?;
    let tokio = arrival.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(std::io::Error::other("the host gives fewer than are needed; try again later"))
    });
    tokio.map_err(|error| no_thread(&error))
}
