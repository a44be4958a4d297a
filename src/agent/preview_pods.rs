//! Connections to the preview pods of a session.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::keep_alive;
use crate::traffic::Rules;

/// How long a preview pod may take to accept a connection. It runs in the same
/// cluster: a pod that takes longer is not there.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Where the preview of a session answers requests for one port of the application.
pub(super) struct PreviewPods<'a> {
    addresses: &'a [IpAddr],
    port: u16,
}

// === impl PreviewPods ===

impl<'a> PreviewPods<'a> {
    /// The pods that these rules name for `port` of the application.
    pub(super) fn of(rules: &'a Rules, port: u16) -> Self {
        Self { addresses: &rules.preview, port: rules.preview_port(port).unwrap_or(port) }
    }

    /// Whether a connection to this address is one to a pod of the preview.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        address.port() == self.port && self.addresses.contains(&address.ip())
    }

    /// Connects to the first pod that accepts a connection on which `open`
    /// succeeds, and starts with the one whose `turn` it is.
    ///
    /// # Errors
    ///
    /// The last pod's error, or that there is no pod.
    pub(super) async fn connect<T>(
        &self,
        turn: usize,
        open: impl AsyncFn(TcpStream) -> io::Result<T>,
    ) -> io::Result<(SocketAddr, T)> {
        let mut last = io::Error::other("no preview pod is ready");
        for attempt in 0..self.addresses.len() {
            let address = self.addresses[(turn.wrapping_add(attempt)) % self.addresses.len()];
            let address = SocketAddr::from((address, self.port));
            let opened = match connect(address).await {
                Ok(stream) => open(stream).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(opened) => return Ok((address, opened)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether every pod accepts connections.
    ///
    /// # Errors
    ///
    /// For people: the first pod that does not accept one, and why.
    pub(super) async fn reach_all(&self) -> Result<(), String> {
        if self.addresses.is_empty() {
            return Err("no preview pod is ready".to_owned());
        }
        for address in self.addresses.iter().map(|address| SocketAddr::from((*address, self.port))) {
            connect(address).await.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => {
                    format!("{address}: no answer within {} s", CONNECT_WAIT.as_secs())
                }
                _ => format!("{address}: {error}"),
            })?;
        }
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream =
        timeout(CONNECT_WAIT, TcpStream::connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    keep_alive::watch(&stream);
    Ok(stream)
}

/// Whether the peer of an idle connection has neither closed it nor sent
/// anything: the bytes that it sends between two exchanges announce its end.
pub(super) fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
