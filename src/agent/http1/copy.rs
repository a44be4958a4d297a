//! Copies of HTTP/1 requests. A client connection has one connection to the
//! preview of each session that mirrors, and sends the copies on it one after
//! the other.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::discard;
use super::filter_body::FilterBody;
use super::head::{self, RequestHead, RequestKind, filter_head};
use crate::agent::copies::{self, Carrier, CopyOutcome};
use crate::agent::copy_budget::Reservation;
use crate::agent::preview_pods::{PreviewPods, Turns, is_quiet};
use crate::traffic::Head;

/// The turns of copies' connections.
static TURNS: Turns = Turns::new();

/// How long a preview may take over one piece of a copy, or over its response.
const PREVIEW_WAIT: Duration = Duration::from_secs(30);

/// The copies of one request.
pub(super) type Copies = copies::Copies<CopiedRequest>;

/// The connections that carry the copies of one client connection, by session and
/// port of the application. The channels are bounded in bytes, by the sessions'
/// budgets.
#[derive(Default)]
pub(super) struct Mirrors {
    senders: RefCell<BTreeMap<(String, u16), UnboundedSender<CopyPart>>>,
}

/// A request that is copied.
pub(super) struct CopiedRequest {
    mirrors: Rc<Mirrors>,
    /// The application's port.
    port: u16,
    kind: RequestKind,
    head: Bytes,
    body: FilterBody,
}

/// Carries one copy. Its body has the original's framing.
pub(super) struct PartSender(UnboundedSender<CopyPart>);

/// A part of a copy on its way to the preview.
enum CopyPart {
    /// A copy begins.
    Begin { outcome: Rc<CopyOutcome>, kind: RequestKind },
    /// More bytes of it.
    Bytes(Bytes, Reservation),
    /// It is whole.
    End,
    /// It is not going to be whole.
    GivenUp,
}

/// Copies more of a request's body.
pub(super) fn body(copies: &mut Copies, bytes: &[u8]) {
    copies.body(bytes, || Bytes::copy_from_slice(bytes));
}

// === impl CopiedRequest ===

impl CopiedRequest {
    /// A request that arrived for `port` of the application with this head.
    pub(super) fn new(mirrors: Rc<Mirrors>, port: u16, request: &RequestHead, head: Bytes) -> Self {
        Self { mirrors, port, kind: request.kind, head, body: FilterBody::new(request.framing) }
    }
}

impl copies::Original for CopiedRequest {
    type Carrier = PartSender;

    fn can_be_copied(&self) -> bool {
        matches!(self.kind, RequestKind::Plain | RequestKind::Head)
    }

    fn head_bytes(&self) -> usize {
        self.head.len()
    }

    fn with_filter_head<T>(&self, look: impl FnOnce(&Head<'_>) -> T) -> T {
        let found = head::request(&self.head, &mut 0, |_, parsed| look(&filter_head(parsed)));
        found.ok().flatten().expect("this head has been read before").1
    }

    fn receive(&mut self, bytes: &[u8]) -> bool {
        // A body that cannot be read makes the connection a tunnel, without copies.
        self.body.advance(bytes).is_ok() && !self.body.is_too_long()
    }

    fn content<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.body.content(bytes)
    }

    fn carry(&self, outcome: Rc<CopyOutcome>, head: Reservation) -> PartSender {
        let key = (outcome.session().rules.session.clone(), self.port);
        let mut senders = self.mirrors.senders.borrow_mut();
        let sender = senders.entry(key).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            tokio::task::spawn_local(run(receiver, self.port));
            sender
        });
        let sender = PartSender(sender.clone());
        sender.send(CopyPart::Begin { outcome, kind: self.kind });
        sender.send(CopyPart::Bytes(self.head.clone(), head));
        sender
    }
}

// === impl PartSender ===

impl PartSender {
    fn send(&self, part: CopyPart) {
        // The receiver lives as long as there are senders.
        let _ = self.0.send(part);
    }
}

impl Carrier for PartSender {
    fn body(&mut self, piece: Bytes, reservation: Reservation) {
        self.send(CopyPart::Bytes(piece, reservation));
    }

    fn end(&mut self, _trailers: Option<&HeaderMap>) {
        self.send(CopyPart::End);
    }

    fn give_up(&mut self) {
        self.send(CopyPart::GivenUp);
    }
}

/// A copy under way, on a connection to a preview pod.
struct CopyUnderWay {
    outcome: Rc<CopyOutcome>,
    kind: RequestKind,
    address: SocketAddr,
    stream: TcpStream,
}

/// Sends one session its copies, in order, for one client connection. A copy whose
/// outcome is dropped before its response counts as dropped.
async fn run(mut parts: UnboundedReceiver<CopyPart>, port: u16) {
    let mut idle: Option<(SocketAddr, TcpStream)> = None;
    let mut current: Option<CopyUnderWay> = None;
    // Parts that had arrived when the preview timed out. They are skipped: sent,
    // they would make all later ones wait again.
    let mut stale = 0_usize;
    while let Some(part) = parts.recv().await {
        let is_stale = stale > 0;
        stale = stale.saturating_sub(1);
        match part {
            CopyPart::Begin { .. } if is_stale => current = None,
            CopyPart::Begin { outcome, kind } => {
                let pods = PreviewPods::of(&outcome.session().rules, port);
                // The pod may have left the preview, or announced the connection's end.
                let good =
                    idle.take().filter(|(address, stream)| pods.contains(*address) && is_quiet(stream));
                let connected = match good {
                    Some(good) => Ok(good),
                    None => pods.connect(TURNS.next(), async |stream| Ok(stream)).await,
                };
                match connected {
                    Ok((address, stream)) => current = Some(CopyUnderWay { outcome, kind, address, stream }),
                    Err(error) => {
                        current = None;
                        stale = if error.kind() == io::ErrorKind::TimedOut { parts.len() } else { 0 };
                    }
                }
            }
            CopyPart::Bytes(bytes, _reservation) => {
                let Some(CopyUnderWay { stream, .. }) = &mut current else { continue };
                let written = timeout(PREVIEW_WAIT, stream.write_all(&bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    current = None;
                    stale = if written.is_err() { parts.len() } else { stale };
                }
            }
            CopyPart::End => {
                let Some(CopyUnderWay { outcome, kind, address, mut stream }) = current.take() else {
                    continue;
                };
                // The preview has the copy once it begins to respond: bytes that were only
                // sent may have reached a pod that was going away.
                match timeout(PREVIEW_WAIT, stream.peek(&mut [0])).await {
                    Ok(Ok(1..)) => outcome.mirrored(),
                    begun => {
                        stale = if begun.is_err() { parts.len() } else { stale };
                        continue;
                    }
                }
                match timeout(PREVIEW_WAIT, discard::response(&mut stream, kind)).await {
                    Ok(Ok(true)) => idle = Some((address, stream)),
                    Ok(_) => {}
                    Err(_) => stale = parts.len(),
                }
            }
            // Half a request can only end with its connection.
            CopyPart::GivenUp => current = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::agent::shared::ActiveSession;
    use crate::traffic::Rules;
    use crate::traffic::judge::Session;

    fn session(preview_port: u16) -> ActiveSession {
        session_with(&["127.0.0.1"], preview_port)
    }

    fn session_with(preview: &[&str], preview_port: u16) -> ActiveSession {
        let rules = Rules::read(json!({
            "version": 1, "session": "s", "generation": 1, "key": "pr-1", "order": 1, "lease_seconds": 60,
            "mode": "mirror", "ports": [{"port": 80, "preview_port": preview_port}], "filter": {"method": "POST"},
            "preview": preview,
        }));
        Arc::new(Session { rules: rules.unwrap(), kept: Arc::default() })
    }

    fn copies(session: &ActiveSession) -> Copies {
        let head = Bytes::from_static(b"POST / HTTP/1.1\r\ncontent-length: 8\r\n\r\n");
        let (request, ()) = head::request(&head, &mut 0, |_, _| ()).unwrap().unwrap();
        let original = CopiedRequest::new(Rc::default(), 80, &request, head);
        Copies::begin(vec![session.clone()], Vec::new(), original)
    }

    /// A port on which nothing listens.
    async fn closed_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    async fn wait_until_settled(session: &ActiveSession) {
        while session.kept.copy_budget.reserved_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn wait_until_counted(session: &ActiveSession) {
        while session.kept.counts().mirrored + session.kept.counts().dropped == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_copy_that_fails_twice_counts_as_dropped_once() {
        let session = session(closed_port().await);
        LocalSet::new()
            .run_until(async {
                let mut copies = copies(&session);
                body(&mut copies, b"half");
                // The preview cannot be reached …
                wait_until_settled(&session).await;
                // … and then the client breaks off.
                drop(copies);
                wait_until_settled(&session).await;
            })
            .await;
        assert_eq!(session.kept.counts().dropped, 1);
    }

    #[tokio::test]
    async fn a_copy_goes_to_the_first_pod_that_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = session_with(&["127.0.0.2", "127.0.0.1"], listener.local_addr().unwrap().port());
        LocalSet::new()
            .run_until(async {
                let mut copies = copies(&session);
                body(&mut copies, b"12345678");
                copies.end(None);
                let (mut pod, _) = listener.accept().await.unwrap();
                pod.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                wait_until_counted(&session).await;
            })
            .await;
        assert_eq!(session.kept.counts().mirrored, 1);
    }

    #[tokio::test]
    async fn bytes_that_belong_to_no_copy_go_back_to_the_budget() {
        let session = session(closed_port().await);
        let budget = &session.kept.copy_budget;
        let (sender, parts) = unbounded_channel();
        for _ in 0..10 {
            let _ = sender.send(CopyPart::Bytes(Bytes::from_static(b"x"), budget.reserve(1).unwrap()));
        }
        drop(sender);
        run(parts, 80).await;
        assert_eq!(budget.reserved_bytes(), 0);
    }
}
