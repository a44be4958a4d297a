//! Connections to the preview pods of a session.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::keep_alive;
use super::preview_answer::{self, Answer};
use crate::traffic::Rules;

/// How long a preview pod may take to accept a connection. It runs in the same
/// cluster: a pod that takes longer is not there.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// How long a pod that is there takes at most to accept a connection: the kernel sends
/// a second packet after 1 s, which another pod might answer.
const FIRST_TRY: Duration = Duration::from_millis(900);

/// Where the preview of a session answers requests for one port of the application.
pub(super) struct PreviewPods<'a> {
    addresses: &'a [IpAddr],
    port: u16,
}

/// The turn with which the next client connection begins: most connections carry few
/// requests, so the pods also take turns from connection to connection.
pub(super) struct Turns(AtomicUsize);

// === impl Turns ===

impl Turns {
    /// Turns from the first on.
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// The next turn.
    pub(super) fn next(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }
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

    /// The pods' addresses, the one whose `turn` it is first.
    pub(super) fn in_turn(&self, turn: usize) -> impl Iterator<Item = SocketAddr> + 'a {
        let (addresses, port) = (self.addresses, self.port);
        let first = turn.checked_rem(addresses.len()).unwrap_or_default();
        let (later, earlier) = addresses.split_at(first);
        earlier.iter().chain(later).map(move |address| SocketAddr::from((*address, port)))
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
        let mut last = no_pod();
        for address in self.in_turn(turn) {
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

    /// The worst answer of the pods.
    ///
    /// # Errors
    ///
    /// For people: the first pod that does not accept a connection, and why.
    pub(super) async fn ask_all(&self) -> Result<Answer, String> {
        if self.addresses.is_empty() {
            return Err("no preview pod is ready".to_owned());
        }
        let mut worst = Answer::Http;
        for address in self.addresses.iter().map(|address| SocketAddr::from((*address, self.port))) {
            let answer = preview_answer::first(address, connect).await;
            match answer.map_err(|error| unreached(address, &error))? {
                Answer::Nothing(why) => return Ok(Answer::Nothing(format!("{address}: {why}"))),
                Answer::Other => worst = Answer::Other,
                Answer::Http => {}
            }
        }
        Ok(worst)
    }

    /// Whether the pod at `address` accepts a connection to any of the session's ports.
    pub(super) async fn accepts(rules: &Rules, address: IpAddr) -> bool {
        for port in &rules.ports {
            let port = port.preview_port.unwrap_or(port.port);
            if let Ok(Ok(_)) = timeout(FIRST_TRY, TcpStream::connect((address, port))).await {
                return true;
            }
        }
        false
    }
}

/// Why a pod does not accept a connection, for people.
fn unreached(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => format!("{address}: no answer within {} s", CONNECT_WAIT.as_secs()),
        _ => format!("{address}: {error}"),
    }
}

/// The error where the rules name no pod.
pub(super) fn no_pod() -> io::Error {
    io::Error::other("no preview pod is ready")
}

/// Connects to one pod.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_is_first_in_turn() {
        let addresses: Vec<IpAddr> =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|one| one.parse().unwrap()).into();
        let pods = PreviewPods { addresses: &addresses, port: 80 };
        for (turn, order) in [(0, "123"), (1, "231"), (2, "312"), (3, "123"), (usize::MAX, "123")] {
            let seen: Vec<_> = pods.in_turn(turn).map(|address| address.ip()).collect();
            let expected: Vec<IpAddr> =
                order.chars().map(|last| format!("10.0.0.{last}").parse().unwrap()).collect();
            assert_eq!(seen, expected, "{turn}");
        }
        assert_eq!(PreviewPods { addresses: &[], port: 80 }.in_turn(7).count(), 0);
    }
}
