//! A client connection's own connections to previews, one for each session,
//! made when first needed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::agent::keep_alive;
use crate::agent::shared::ActiveSession;

/// How long a preview pod may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The connections, by session.
#[derive(Default)]
pub(super) struct Previews(RefCell<BTreeMap<String, Rc<Kept>>>);

/// What one client connection has of one session's preview. Streams that need
/// the same new connection wait for it together, and fail together.
#[derive(Default)]
struct Kept {
    /// Attempts to connect that are over.
    attempts: Cell<u64>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    sender: Option<(SocketAddr, SendRequest<Bytes>)>,
    failure: Option<Failure>,
}

/// Why the last attempt failed, and what it had tried.
struct Failure {
    tried: (Vec<IpAddr>, u16),
    kind: io::ErrorKind,
    words: String,
}

// === impl Previews ===

impl Previews {
    /// A connection that takes another stream.
    pub(super) async fn get(&self, session: &ActiveSession, port: u16) -> io::Result<SendRequest<Bytes>> {
        let kept = Rc::clone(self.0.borrow_mut().entry(session.rules.session.clone()).or_default());
        let port = session.rules.preview_port(port).unwrap_or(port);
        let asked_at = kept.attempts.get();
        let mut connection = kept.connection.lock().await;
        if let Some((address, sender)) = &connection.sender
            && address.port() == port
            && session.rules.preview.contains(&address.ip())
            && let Ok(ready) = sender.clone().ready().await
        {
            return Ok(ready);
        }
        let wanted = (session.rules.preview.clone(), port);
        // An attempt that ended while this stream waited was made for it too: one
        // after the other, they would wait for a dead pod all over again.
        if let Some(failure) = &connection.failure
            && asked_at != kept.attempts.get()
            && failure.tried == wanted
        {
            return Err(failure.error());
        }
        let attempt = connect(&wanted.0, port).await;
        kept.attempts.set(kept.attempts.get() + 1);
        match attempt {
            Ok((address, sender)) => {
                *connection = Connection { sender: Some((address, sender.clone())), failure: None };
                sender.ready().await.map_err(io::Error::other)
            }
            Err(error) => {
                let failure = Failure { tried: wanted, kind: error.kind(), words: error.to_string() };
                *connection = Connection { sender: None, failure: Some(failure) };
                Err(error)
            }
        }
    }
}

/// The first of the pods that accepts a connection and speaks HTTP/2 on it.
async fn connect(preview: &[IpAddr], port: u16) -> io::Result<(SocketAddr, SendRequest<Bytes>)> {
    let mut last = io::Error::other("it has no pod that is ready");
    for address in preview.iter().map(|address| SocketAddr::from((*address, port))) {
        match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                keep_alive::watch(&stream);
                match super::connect(stream).await {
                    Ok((sender, connection)) => {
                        spawn_local(connection);
                        return Ok((address, sender));
                    }
                    Err(error) => last = io::Error::other(error),
                }
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

// === impl Failure ===

impl Failure {
    fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.words.clone())
    }
}
