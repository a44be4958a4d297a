//! The connections to previews that belong to one client connection: one for
//! each session, made when first needed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::spawn_local;

use super::connect::connect;
use crate::agent::preview_pods::PreviewPods;
use crate::agent::shared::ActiveSession;

/// The connections, by session.
#[derive(Default)]
pub(super) struct PreviewConnections(RefCell<BTreeMap<String, Rc<SessionConnection>>>);

/// The connection to one session's preview. Streams that need the same new
/// connection wait for it together, and fail together.
#[derive(Default)]
struct SessionConnection {
    /// How many attempts to connect have ended.
    attempts: Cell<u64>,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    sender: Option<(SocketAddr, SendRequest<Bytes>)>,
    failure: Option<FailedAttempt>,
}

/// The last attempt, if it failed.
struct FailedAttempt {
    tried: (Vec<IpAddr>, u16),
    kind: io::ErrorKind,
    words: String,
}

// === impl PreviewConnections ===

impl PreviewConnections {
    /// A connection that takes another stream.
    pub(super) async fn get(&self, session: &ActiveSession, port: u16) -> io::Result<SendRequest<Bytes>> {
        let connection = Rc::clone(self.0.borrow_mut().entry(session.rules.session.clone()).or_default());
        let pods = PreviewPods::of(&session.rules, port);
        let attempts_before = connection.attempts.get();
        let mut latest = connection.latest.lock().await;
        if let Some((address, sender)) = &latest.sender
            && pods.contains(*address)
            && let Ok(ready) = sender.clone().ready().await
        {
            return Ok(ready);
        }
        let wanted = (session.rules.preview.clone(), port);
        // An attempt that ended while this stream waited counts for it too: one
        // after the other, the streams would each wait for the same dead pod.
        if let Some(failure) = &latest.failure
            && attempts_before != connection.attempts.get()
            && failure.tried == wanted
        {
            return Err(failure.error());
        }
        let attempt = pods.connect(0, handshake).await;
        connection.attempts.set(connection.attempts.get() + 1);
        match attempt {
            Ok((address, sender)) => {
                *latest = Latest { sender: Some((address, sender.clone())), failure: None };
                sender.ready().await.map_err(io::Error::other)
            }
            Err(error) => {
                let failure = FailedAttempt { tried: wanted, kind: error.kind(), words: error.to_string() };
                *latest = Latest { sender: None, failure: Some(failure) };
                Err(error)
            }
        }
    }
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
