//! Copies of HTTP/2 requests: one task for each copy, which sends it as a stream
//! of the client's connection to the session's preview.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Method, Request};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::head::{self, outgoing};
use super::previews::PreviewConnections;
use super::send::send;
use crate::agent::copies::{self, Carrier, CopyOutcome};
use crate::agent::copy_budget::Reservation;
use crate::traffic::Head;
use crate::traffic::filter::body::MAX_BODY_BYTES;

/// How long a preview may take over one piece of a copy, or over its response.
const PREVIEW_WAIT: Duration = Duration::from_secs(30);

/// Smaller pieces are copied out of the buffer in which they were received, so
/// that the buffer can be freed.
const SMALL_BYTES: usize = 4 * 1024;

/// The copies of one request.
pub(super) type Copies = copies::Copies<CopiedStream>;

/// A request that is copied.
pub(super) struct CopiedStream {
    request: Request<()>,
    previews: Rc<PreviewConnections>,
    /// The application's port.
    port: u16,
    /// How many bytes of its body were received.
    received: usize,
}

/// Carries one copy.
pub(super) struct StreamCopy {
    parts: UnboundedSender<StreamPart>,
    task: AbortHandle,
}

/// A part of a copy on its way to the preview.
enum StreamPart {
    Data(Bytes, Reservation),
    End(Option<HeaderMap>),
}

/// Copies more of a request's body.
pub(super) fn body(copies: &mut Copies, bytes: &Bytes) {
    copies.body(
        bytes,
        || {
            if bytes.len() < SMALL_BYTES { Bytes::copy_from_slice(bytes) } else { bytes.clone() }
        },
    );
}

// === impl CopiedStream ===

impl CopiedStream {
    /// A request that arrived for `port` of the application.
    pub(super) fn new(request: &Request<()>, previews: &Rc<PreviewConnections>, port: u16) -> Self {
        Self { request: request.clone(), previews: Rc::clone(previews), port, received: 0 }
    }
}

impl copies::Original for CopiedStream {
    type Carrier = StreamCopy;

    /// A CONNECT is how HTTP/2 upgrades.
    fn can_be_copied(&self) -> bool {
        self.request.method() != Method::CONNECT
    }

    fn head_bytes(&self) -> usize {
        head::bytes(&self.request)
    }

    fn with_filter_head<T>(&self, look: impl FnOnce(&Head<'_>) -> T) -> T {
        head::with_filter_head(&self.request, look)
    }

    fn receive(&mut self, bytes: &[u8]) -> bool {
        self.received += bytes.len();
        self.received <= MAX_BODY_BYTES
    }

    fn content<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(bytes)
    }

    fn carry(&self, outcome: Rc<CopyOutcome>, head: Reservation) -> StreamCopy {
        let (sender, parts) = unbounded_channel();
        let (request, previews) = (outgoing(&self.request), Rc::clone(&self.previews));
        let task = spawn_local(run(outcome, request, head, previews, self.port, parts));
        StreamCopy { parts: sender, task: task.abort_handle() }
    }
}

// === impl StreamCopy ===

impl Carrier for StreamCopy {
    fn body(&mut self, piece: Bytes, reservation: Reservation) {
        // The receiver of a copy that has failed is gone.
        let _ = self.parts.send(StreamPart::Data(piece, reservation));
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        let _ = self.parts.send(StreamPart::End(trailers.cloned()));
    }

    fn give_up(&mut self) {
        // Half a request can only end with a reset, which h2 sends when it is dropped.
        self.task.abort();
    }
}

/// Sends one session its copy.
async fn run(
    outcome: Rc<CopyOutcome>,
    request: Request<()>,
    head: Reservation,
    previews: Rc<PreviewConnections>,
    port: u16,
    mut parts: UnboundedReceiver<StreamPart>,
) {
    let sending = async {
        let session = outcome.session();
        let mut sender = timeout(PREVIEW_WAIT, previews.get(session, port)).await.ok()?.ok()?;
        let (response, mut to) = sender.send_request(request, false).ok()?;
        drop(head);
        // Read while we send: a preview that responds early must not run out of room.
        let discarding = AbortOnDropHandle::new(spawn_local(discard(response)));
        loop {
            match parts.recv().await? {
                StreamPart::Data(bytes, _reservation) => {
                    timeout(PREVIEW_WAIT, send(bytes, false, &mut to)).await.ok()?.ok()?;
                }
                StreamPart::End(trailers) => {
                    let ended = match trailers {
                        None => to.send_data(Bytes::new(), true),
                        Some(trailers) => to.send_trailers(trailers),
                    };
                    return ended.ok().map(|()| discarding);
                }
            }
        }
    };
    match sending.await {
        None => outcome.dropped(),
        Some(discarding) => {
            outcome.mirrored();
            // A response without end is reset.
            let _ = timeout(PREVIEW_WAIT, discarding).await;
        }
    }
}

/// Reads a response to its end.
async fn discard(response: ResponseFuture) -> Result<(), h2::Error> {
    let mut body: RecvStream = response.await?.into_body();
    while let Some(bytes) = body.data().await {
        body.flow_control().release_capacity(bytes?.len())?;
    }
    Ok(())
}
