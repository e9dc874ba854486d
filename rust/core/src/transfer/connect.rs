//! From a target to a stream: resolve, judge every address, connect to a judged one, encrypt.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::attempt_error::AttemptError;
use super::guard::AddressPolicy;
use super::io::{AnswerFirst, Stream};
use super::lookups::Lookups;
use super::proxy::{Proxies, Proxy};
use super::target::Target;
use super::tls::Tls;
use crate::model::{ErrorCode, UnixMillis};

/// The next address is tried beside one that has not answered for this long (SOURCE: RFC 8305 §5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Opens connections.
pub(crate) struct Connector {
    addresses: AddressPolicy,
    pub(crate) proxies: Proxies,
    tls: Tls,
    lookups: Lookups,
}

impl Connector {
    pub(crate) fn new(addresses: AddressPolicy, proxies: Proxies, tls: Tls) -> Self {
        Self { addresses, proxies, tls, lookups: Lookups::new() }
    }

    pub(crate) const fn addresses(&self) -> &AddressPolicy {
        &self.addresses
    }

    /// A stream to `target`, encrypted where it must be, within `most`. `now` is the wall clock, for
    /// a proxy's `Retry-After` that names a date.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        proxy: Option<&Proxy>,
        most: Duration,
        now: UnixMillis,
    ) -> Result<Stream, AttemptError> {
        let stream = tokio::time::timeout(most, self.open(target, proxy, now)).await;
        stream.unwrap_or_else(|_| Err(AttemptError::timeout("timeout while connecting")))
    }

    async fn open(
        &self,
        target: &Target,
        proxy: Option<&Proxy>,
        now: UnixMillis,
    ) -> Result<Stream, AttemptError> {
        let stream = match proxy {
            None => self.reach(target).await?,
            Some(proxy) => self.reach_through(proxy, target, now).await?,
        };
        if target.is_secure() { self.tls.wrap(stream, target.host()).await } else { Ok(stream) }
    }

    async fn reach(&self, target: &Target) -> Result<Stream, AttemptError> {
        let found = self.lookups.addresses(target.host(), target.port()).await?;
        connect_any(self.permitted(found)?).await
    }

    async fn reach_through(
        &self,
        proxy: &Proxy,
        target: &Target,
        now: UnixMillis,
    ) -> Result<Stream, AttemptError> {
        // The operator named the proxy: the policy is about targets.
        if self.addresses.is_strict() {
            self.permitted(self.lookups.addresses(target.host(), target.port()).await?)?;
        }
        let mut stream =
            connect_any(self.lookups.addresses(&proxy.host, proxy.port).await?).await?;
        if proxy.is_secure {
            stream = self.tls.wrap(stream, &proxy.host).await?;
        }
        if target.is_secure() { proxy.tunnel(stream, target, now).await } else { Ok(stream) }
    }

    /// The addresses that may be connected to; a name is not asked for again, so what was judged
    /// is what is connected to.
    fn permitted(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, AttemptError> {
        let mut refusal = None;
        let mut permitted = Vec::with_capacity(found.len());
        for address in found {
            match self.addresses.judge(address.ip()) {
                Ok(()) => permitted.push(address),
                Err(refused) => refusal = Some(refused),
            }
        }
        match refusal {
            Some(refused) if permitted.is_empty() => {
                Err(AttemptError::failed(ErrorCode::SecurityViolation, refused.to_string()))
            }
            _ => Ok(permitted),
        }
    }
}

/// The first connection that comes about, in order, each next address with a short head start.
async fn connect_any(addresses: Vec<SocketAddr>) -> Result<Stream, AttemptError> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = AttemptError::network("the name has no address");
    loop {
        match waiting.next() {
            Some(address) => drop(attempts.spawn(connect_one(address))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let has_more = waiting.len() > 0;
        tokio::select! {
            Some(result) = attempts.join_next() => match result {
                Ok(Ok(stream)) => return Ok(Box::new(AnswerFirst::new(stream))),
                Ok(Err(ended)) => last = ended,
                Err(_) => last = AttemptError::network("connecting was abandoned"),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if has_more => {}
        }
    }
}

async fn connect_one(address: SocketAddr) -> Result<TcpStream, AttemptError> {
    let failed =
        |error: io::Error| AttemptError::network(format!("cannot connect to {address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}
