//! What a name resolves to, asked on threads of which a name server that hangs cannot take all.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Host;

use super::attempt_error::AttemptError;
use super::target::known_addresses;
use crate::sync::lock;

/// At most this many names are looked up at once. A look-up takes a thread of those that files are
/// opened on, for as long as the name servers do not answer.
const LOOKUPS_MAX: usize = 16;

/// Of these, at most so many of one name: who needs another is not held up by it.
const PER_NAME_MAX: usize = 4;

/// Looks names up.
pub(crate) struct Lookups {
    all: Arc<Semaphore>,
    of_names: Mutex<FxHashMap<String, Arc<Semaphore>>>,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(LOOKUPS_MAX)), of_names: Mutex::default() }
    }

    /// The addresses of a host, each with that port. Waits for its turn.
    pub(crate) async fn addresses(
        &self,
        host: &Host,
        port: u16,
    ) -> Result<Vec<SocketAddr>, AttemptError> {
        let known = known_addresses(host);
        if !known.is_empty() {
            return Ok(known.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        }
        let name = host.to_string();
        let turn = self.turn(&name).await.map_err(|error| unknown(host, &error))?;
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn; // until the name servers have answered, whoever still waits for it
            Ok((name.as_str(), port).to_socket_addrs()?.collect())
        });
        let found = found.await.map_err(|error| unknown(host, &error))?;
        found.map_err(|error: io::Error| unknown(host, &error))
    }

    /// Waits until there is room for one more of that name, and then for one more at all.
    async fn turn(
        &self,
        name: &str,
    ) -> Result<[OwnedSemaphorePermit; 2], tokio::sync::AcquireError> {
        let of_name = {
            let mut of_names = lock(&self.of_names);
            // Whoever waits or asks has a share.
            of_names.retain(|_, turns| Arc::strong_count(turns) > 1);
            let turns = of_names.entry(name.to_owned());
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(PER_NAME_MAX))))
        };
        Ok([of_name.acquire_owned().await?, Arc::clone(&self.all).acquire_owned().await?])
    }
}

fn unknown(host: &Host, error: &dyn fmt::Display) -> AttemptError {
    AttemptError::network(format!("{host} does not resolve: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_hangs_leaves_room_for_others_and_its_turns_come_back() {
        let lookups = Lookups::new();
        let mut hanging = Vec::new();
        for _ in 0..PER_NAME_MAX {
            hanging.push(lookups.turn("dead.example").await.unwrap());
        }
        let mut next = Box::pin(lookups.turn("dead.example"));
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut next).await.is_err());
        drop(lookups.turn("healthy.example").await.unwrap());
        hanging.clear();
        drop(next.await.unwrap());
        drop(lookups.turn("healthy.example").await.unwrap());
        assert_eq!(lock(&lookups.of_names).len(), 1, "names are remembered for nothing");
    }
}
