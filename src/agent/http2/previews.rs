//! A client connection's own connections to previews, one for each session,
//! made when first needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::agent::state::Stealer;

/// How long a preview pod may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

type Kept = Rc<Mutex<Option<(SocketAddr, SendRequest<Bytes>)>>>;

/// The connections, by session. A lock of one client connection and one
/// session: streams that need the same new connection wait for it together.
#[derive(Default)]
pub(super) struct Previews(RefCell<BTreeMap<String, Kept>>);

// === impl Previews ===

impl Previews {
    /// A connection that takes another stream.
    pub(super) async fn get(&self, session: &Stealer, port: u16) -> io::Result<SendRequest<Bytes>> {
        let kept = Rc::clone(self.0.borrow_mut().entry(session.rules.session.clone()).or_default());
        let mut kept = kept.lock().await;
        if let Some((address, sender)) = &*kept
            && session.rules.preview.contains(&address.ip())
            && let Ok(ready) = sender.clone().ready().await
        {
            return Ok(ready);
        }
        let port = session.rules.preview_port(port).unwrap_or(port);
        let mut last = io::Error::other("it has no pod that is ready");
        for address in session.rules.preview.iter().map(|address| SocketAddr::from((*address, port))) {
            match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let (sender, connection) = super::connect(stream).await.map_err(io::Error::other)?;
                    spawn_local(connection);
                    *kept = Some((address, sender.clone()));
                    return sender.ready().await.map_err(io::Error::other);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}
