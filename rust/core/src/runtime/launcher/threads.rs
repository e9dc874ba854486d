//! The threads that transfers run on.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::model::Fault;
use crate::runtime::replies::no_thread;
use crate::sync;

/// Threads that move bytes. Two saturate what the loopback of a small host can carry; more hosts
/// than that are waited for, not computed for.
const THREADS_MAX: usize = 4;

/// Threads that may wait for a disk. More reads at once make none faster; some may hang on a mount.
const WAITING_THREADS_MAX: usize = 64;

/// How long the threads may take to start. It takes a millisecond, or it never happens.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// As many threads as there are processors, up to a bound.
///
/// Where the host gives only some of them, tokio panics and then waits forever for those it has
/// got. So first it is tried whether there are enough, and tokio is started on a thread of its own,
/// with a time-out.
pub(super) fn of_transfers() -> Result<Runtime, Fault> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, THREADS_MAX);
    // Two more: the thread that starts tokio, and one that may wait for the disk.
    there_are(threads + 2).map_err(|error| no_thread(&error))?;
    let (tell, arrival) = sync_channel(1);
    let make = move || {
        let tokio = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("outhaul-transfer")
            // Where there is one that may wait, work for another that the host does not give waits
            // for it; where there is none, tokio panics.
            .thread_keep_alive(Duration::MAX)
            .max_blocking_threads(WAITING_THREADS_MAX)
            .enable_all()
            .build();
        if let Ok(tokio) = &tokio {
            drop(tokio.spawn_blocking(|| ()));
        }
        // Nobody waits any more: they end with it.
        drop(tell.send(tokio));
    };
    let helper = std::thread::Builder::new().name("outhaul-threads".to_owned()).spawn(make);
    helper.map_err(|error| no_thread(&error))?;
    let tokio = arrival.recv_timeout(START_TIMEOUT).unwrap_or_else(|_| {
        Err(std::io::Error::other("the host gives fewer than are needed; try again later"))
    });
    tokio.map_err(|error| no_thread(&error))
}

/// Whether the host gives that many threads. Keeps none.
fn there_are(threads: usize) -> std::io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = sync::lock(&gate);
    let mut given = Vec::with_capacity(threads);
    let mut refused = Ok(());
    for _ in 0..threads {
        let gate = Arc::clone(&gate);
        let waits = move || drop(gate.lock());
        match std::thread::Builder::new().name("outhaul-threads".to_owned()).spawn(waits) {
            Ok(thread) => given.push(thread),
            Err(error) => {
                refused = Err(error);
                break;
            }
        }
    }
    drop(closed);
    for thread in given {
        drop(thread.join()); // it does nothing that could panic
    }
    refused
}
