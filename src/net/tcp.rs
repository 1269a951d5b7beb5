//! A connection without TLS, for protocols that are not http.

use std::io;
use std::time::Duration;

use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::bytes::{Bytes, BytesMut};

use super::{Cause, Http, NetError};

/// A TCP connection; reading and writing end when nothing moves for `Options::stall`.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    stall: Duration,
}

impl Http {
    /// Connects to a port, never through a proxy. Names are resolved as those of URLs are,
    /// without the system's libraries.
    pub async fn connect(&self, host: &str, port: u16) -> Result<Connection, NetError> {
        let options = self.options();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let attempt = async {
            let addresses = match bare.parse() {
                Ok(address) => vec![address],
                Err(_) => lookup(bare).await?,
            };
            let mut last = NetError::connection(Cause::Dns, io::ErrorKind::NotFound.into());
            for address in addresses {
                match TcpStream::connect((address, port)).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = NetError::io(error),
                }
            }
            Err(last)
        };
        let timed_out = |_| NetError::connection(Cause::Timeout, io::ErrorKind::TimedOut.into());
        let stream = timeout(options.connect, attempt).await.map_err(timed_out)??;
        Ok(Connection { stream, buffer: BytesMut::new(), stall: options.stall })
    }
}

async fn lookup(host: &str) -> Result<Vec<std::net::IpAddr>, NetError> {
    let dns = |error| NetError::connection(Cause::Dns, io::Error::other(error));
    let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build).map_err(dns)?;
    Ok(resolver.lookup_ip(host).await.map_err(dns)?.iter().collect())
}

impl Connection {
    /// The bare stream, for a protocol that watches over stalls by itself.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// How long nothing may move.
    pub fn stall(&self) -> Duration {
        self.stall
    }

    /// Sends all of `bytes`.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        match timeout(self.stall, self.stream.write_all(bytes)).await {
            Ok(sent) => sent.map_err(NetError::io),
            Err(_) => Err(NetError::Stalled(self.stall)),
        }
    }

    /// The next bytes from the other side; `None` when it has closed the connection.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        self.buffer.reserve(64 * 1024);
        match timeout(self.stall, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(_)) => Ok(Some(self.buffer.split().freeze())),
            Ok(Err(error)) => Err(NetError::io(error)),
            Err(_) => Err(NetError::Stalled(self.stall)),
        }
    }
}
