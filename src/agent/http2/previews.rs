//! The connections to previews that belong to one client connection: one for
//! each pod of each session, made when first needed. The pods take turns.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::connect::connect;
use crate::agent::preview_pods::{self, PreviewPods, Turns, no_pod};
use crate::agent::shared::ActiveSession;

/// How long a pod that accepted no connection is passed over while another has one:
/// the attempt makes streams wait.
const PASSED_OVER: Duration = Duration::from_secs(30);

/// The turns of client connections.
static TURNS: Turns = Turns::new();

/// The connections, by session.
#[derive(Default)]
pub(super) struct PreviewConnections(RefCell<BTreeMap<String, Rc<SessionConnections>>>);

/// The connections to one session's preview. Streams that need the same new
/// connection wait for it together, and fail together.
struct SessionConnections {
    /// Whose turn it is.
    turn: Cell<usize>,
    /// How many attempts to connect have ended.
    attempts: Cell<u64>,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    senders: BTreeMap<SocketAddr, SendRequest<Bytes>>,
    /// Pods that accepted no connection, and until when they are passed over.
    passed_over: BTreeMap<SocketAddr, Instant>,
    failure: Option<FailedAttempt>,
}

/// The last attempt, if it failed.
struct FailedAttempt {
    tried: (Vec<IpAddr>, u16),
    kind: io::ErrorKind,
    words: String,
}

// === impl SessionConnections ===

impl Default for SessionConnections {
    fn default() -> Self {
        Self { turn: Cell::new(TURNS.next()), attempts: Cell::default(), latest: Mutex::default() }
    }
}

// === impl PreviewConnections ===

impl PreviewConnections {
    /// A connection that takes another stream.
    pub(super) async fn get(&self, session: &ActiveSession, port: u16) -> io::Result<SendRequest<Bytes>> {
        let connection = Rc::clone(self.0.borrow_mut().entry(session.rules.session.clone()).or_default());
        let pods = PreviewPods::of(&session.rules, port);
        let attempts_before = connection.attempts.get();
        let turn = connection.turn.get();
        connection.turn.set(turn.wrapping_add(1));
        let mut latest = connection.latest.lock().await;
        latest.senders.retain(|address, sender| pods.contains(*address) && is_usable(sender));
        // An attempt that ended while this stream waited counts for it too: one
        // after the other, the streams would each wait for the same dead pod.
        let wanted = (session.rules.preview.clone(), port);
        if latest.senders.is_empty()
            && let Some(failure) = &latest.failure
            && attempts_before != connection.attempts.get()
            && failure.tried == wanted
        {
            return Err(failure.error());
        }
        let got = latest.get(pods.in_turn(turn)).await;
        connection.attempts.set(connection.attempts.get() + 1);
        latest.failure = got.as_ref().err().map(|error| FailedAttempt {
            tried: wanted,
            kind: error.kind(),
            words: error.to_string(),
        });
        got
    }
}

// === impl Latest ===

impl Latest {
    /// A connection to the first of these pods that has one, or accepts one.
    async fn get(&mut self, pods: impl Iterator<Item = SocketAddr>) -> io::Result<SendRequest<Bytes>> {
        let mut last = no_pod();
        for address in pods {
            if let Some(sender) = self.senders.get(&address) {
                return Ok(sender.clone());
            }
            let until = self.passed_over.get(&address);
            if !self.senders.is_empty() && until.is_some_and(|until| Instant::now() < *until) {
                continue;
            }
            let opened = match preview_pods::connect(address).await {
                Ok(stream) => handshake(stream).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(sender) => {
                    self.passed_over.remove(&address);
                    self.senders.insert(address, sender.clone());
                    return Ok(sender);
                }
                Err(error) => {
                    self.passed_over.insert(address, Instant::now() + PASSED_OVER);
                    last = error;
                }
            }
        }
        Err(last)
    }
}

/// Whether the connection takes streams. Where its streams are used up, the library
/// queues new ones: the answer never has to be waited for.
fn is_usable(sender: &SendRequest<Bytes>) -> bool {
    matches!(sender.clone().ready().now_or_never(), Some(Ok(_)))
}

async fn handshake(stream: TcpStream) -> io::Result<SendRequest<Bytes>> {
    let (sender, connection) = connect(stream).await.map_err(io::Error::other)?;
    spawn_local(connection);
    Ok(sender)
}

// === impl FailedAttempt ===

impl FailedAttempt {
    fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.words.clone())
    }
}
