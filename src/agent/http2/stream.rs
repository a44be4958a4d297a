//! One stream: judged by its head, or its body where a filter asks for that,
//! and carried to the application or to the preview.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use httparse::Header;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::application::Application;
use super::copy::Copies;
use super::previews::Previews;
use super::pump::{MAX_YIELDS, Stopped, pump, reason};
use crate::agent::http1::{header_safe, sentence};
use crate::agent::shared::{ActiveSession, Counters, Shared};
use crate::traffic::filter::Body;
use crate::traffic::filter::body::MAX_BODY_BYTES;
use crate::traffic::{Head, Judgement};

/// How long a body may take that a filter wants to see.
const MAX_BODY_WAIT: Duration = Duration::from_secs(1);

/// What one stream needs to know.
pub(super) struct Stream {
    pub(super) state: Arc<Shared>,
    /// The application's port.
    pub(super) port: u16,
    pub(super) app: SendRequest<Bytes>,
    pub(super) application: Rc<Application>,
    pub(super) previews: Rc<Previews>,
}

/// Whose answer a stream gets.
#[derive(Clone, Copy)]
enum Answers<'a> {
    Application(&'a Application),
    Preview(&'a ActiveSession, &'a Request<()>),
}

/// A request body, of which some may have been read ahead for a filter.
struct Upload {
    ahead: Vec<Bytes>,
    rest: RecvStream,
    copies: Copies,
}

// === impl Stream ===

impl Stream {
    /// Carries the stream to its end.
    pub(super) async fn serve(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, rest) = request.into_parts();
        let request = Request::from_parts(parts, ());
        let mut upload = Upload { ahead: Vec::new(), rest, copies: Copies::default() };
        let judgement = self.judge(&request, &mut upload).await;
        let Judgement { stealer, mirrors, undecided } = judgement;
        upload.copies = Copies::begin(mirrors, &request, &self.previews, self.port);
        upload.copies.decide_later(undecided, &request, &self.previews, self.port);
        let sender = match &stealer {
            None => self.app.ready().await.map_err(io::Error::other),
            Some(session) => self.previews.get(session, self.port).await,
        };
        let sent = sender.and_then(|mut sender| {
            let is_end = upload.ahead.is_empty() && upload.rest.is_end_stream();
            sender
                .send_request(outgoing(&request), is_end)
                .map(|sent| (sent, is_end))
                .map_err(io::Error::other)
        });
        match (sent, stealer) {
            (Ok(((response, up), is_end)), None) => {
                let _open = self.application.open();
                let answers = Answers::Application(&self.application);
                carry(upload, is_end, up, response, respond, answers).await;
            }
            (Ok(((response, up), is_end)), Some(session)) => {
                carry(upload, is_end, up, response, respond, Answers::Preview(&session, &request)).await;
            }
            (Err(why), Some(session)) => unavailable(&session, &request, &why, respond),
            // It was not sent: the client may try elsewhere.
            (Err(_), None) => respond.send_reset(Reason::REFUSED_STREAM),
        }
    }

    async fn judge(&self, request: &Request<()>, upload: &mut Upload) -> Judgement<Arc<Counters>> {
        // A copy never slows the original: unless there is nothing to wait for, it is decided about later.
        let has_come = upload.rest.is_end_stream();
        let judge = |body: Body<'_>, may_wait: bool| {
            with_head(request, |head| {
                let mut judgement = self.state.judge(self.port, head, body);
                let is_open = has_come && !judgement.undecided.is_empty();
                let waits = may_wait && (is_open || judgement.is_worth_waiting());
                if !waits {
                    judgement.wait_no_longer();
                    self.state.count(self.port, head, &judgement);
                }
                (judgement, waits)
            })
        };
        let (judgement, waits) = judge(Body::Unread, true);
        if !waits {
            return judgement;
        }
        let read = timeout(MAX_BODY_WAIT, upload.read_ahead()).await;
        let body = match &read {
            Ok(whole) => whole.as_deref().map_or(Body::Unknown, Body::Whole),
            Err(_) => Body::Unread,
        };
        judge(body, false).0
    }
}

/// A request's head, as filters see it.
pub(super) fn with_head<T>(request: &Request<()>, look: impl FnOnce(&Head<'_>) -> T) -> T {
    let headers: Vec<Header<'_>> = request
        .headers()
        .iter()
        .map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() })
        .collect();
    look(&Head {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("", |target| target.as_str()),
        authority: request.uri().authority().map(http::uri::Authority::as_str),
        headers: &headers,
    })
}

/// The head to send on: `h2` takes it by value, and copies and the 503 need it too.
pub(super) fn outgoing(request: &Request<()>) -> Request<()> {
    let mut request = request.clone();
    if request.uri().authority().is_none() {
        // Without an authority there is no scheme either, which h2 insists on in its own version.
        *request.version_mut() = Version::HTTP_11;
    }
    request
}

// === impl Upload ===

impl Upload {
    /// The whole body, if it is short. What was read is sent later all the same.
    async fn read_ahead(&mut self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.rest.data().await {
            let bytes = bytes.ok()?;
            whole.extend_from_slice(&bytes);
            self.ahead.push(bytes);
            if whole.len() > MAX_BODY_BYTES {
                return None;
            }
        }
        Some(whole)
    }

    async fn send(&mut self, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
        pump(std::mem::take(&mut self.ahead), &mut self.rest, to, &mut self.copies).await
    }
}

/// Both directions, until both are over or either side breaks off. A response
/// may be whole before its request is: the rest of that is still wanted, unless
/// its receiver says otherwise.
async fn carry(
    mut upload: Upload,
    is_uploaded: bool,
    mut up: SendStream<Bytes>,
    response: ResponseFuture,
    respond: SendResponse<Bytes>,
    answers: Answers<'_>,
) {
    let cancelled = {
        let uploading = pin!(async {
            if is_uploaded {
                upload.copies.end(None);
                return Ok(());
            }
            upload.send(&mut up).await
        });
        let downloading = pin!(download(response, respond, answers));
        match select(uploading, downloading).await {
            // Only the response ends a stream whose request is whole, or unwanted.
            Either::Left((Ok(()) | Err(Stopped::ByReceiver(_)), downloading)) => downloading.await.err(),
            Either::Right((Ok(()), uploading)) => {
                let _ = uploading.await;
                None
            }
            Either::Right((Err(stopped), uploading)) => {
                // What the client has said before leaves before, if there is room for it.
                let while_others_run = pin!(async {
                    for _ in 0..=MAX_YIELDS {
                        yield_now().await;
                    }
                });
                select(uploading, while_others_run).await;
                Some(stopped)
            }
            Either::Left((Err(stopped), _)) => Some(stopped),
        }
    };
    if let Some(Stopped::ByReceiver(Some(reason))) = cancelled {
        up.send_reset(reason);
    }
}

/// Carries the response; an error where it was broken off, as has been passed on.
async fn download(
    mut response: ResponseFuture,
    mut respond: SendResponse<Bytes>,
    answers: Answers<'_>,
) -> Result<(), Stopped> {
    let answered = std::future::poll_fn(|context| {
        if let Poll::Ready(reason) = respond.poll_reset(context) {
            return Poll::Ready(Err(Stopped::ByReceiver(reason.ok())));
        }
        while let Poll::Ready(Some(Ok(early))) = response.poll_informational(context) {
            let _ = respond.send_informational(early);
        }
        std::pin::Pin::new(&mut response).poll(context).map(Ok)
    })
    .await?;
    let response = match answered {
        Ok(response) => response,
        Err(error) => return unanswered(error, respond, answers).await,
    };
    let (parts, mut body) = response.into_parts();
    let is_end = body.is_end_stream();
    let response = Response::from_parts(parts, ());
    let mut down = respond.send_response(response, is_end).map_err(|_| Stopped::ByReceiver(None))?;
    if is_end {
        return Ok(());
    }
    let pumped = pump(Vec::new(), &mut body, &mut down, &mut Copies::default()).await;
    if let Err(Stopped::Lost(how)) = pumped {
        match answers {
            Answers::Application(application) => application.lose(how).await,
            Answers::Preview(..) => {
                yield_now().await;
                down.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        return Err(Stopped::BySender);
    }
    pumped
}

/// Ends a stream that has no response.
async fn unanswered(
    error: h2::Error,
    mut respond: SendResponse<Bytes>,
    answers: Answers<'_>,
) -> Result<(), Stopped> {
    match (answers, error.get_io().map(io::Error::kind)) {
        (Answers::Application(application), Some(how)) => application.lose(how).await,
        (Answers::Preview(session, request), _) if is_broken(&error) => {
            unavailable(session, request, &io::Error::other(error), respond);
            return Ok(());
        }
        _ => {
            // A reset takes back what has not left yet.
            yield_now().await;
            respond.send_reset(reason(&error));
        }
    }
    Err(Stopped::BySender)
}

/// Whether it was the preview's connection that broke, and not one stream that
/// the preview has ended, or refused.
fn is_broken(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away() && !error.is_remote()
}

/// Tells a client that the preview cannot be had: gRPC in its own way.
fn unavailable(
    session: &ActiveSession,
    request: &Request<()>,
    why: &io::Error,
    mut respond: SendResponse<Bytes>,
) {
    session.kept.unavailable();
    let words = sentence(&session.rules.key, why);
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let key = header_safe(&session.rules.key);
    let builder = Response::builder().header("x-mirrord-preview", key);
    if request.headers().get("content-type").is_some_and(is_grpc) {
        // 14 is UNAVAILABLE; the message is percent-encoded, like the key.
        let builder = builder.header("content-type", "application/grpc").header("grpc-status", "14");
        if let Ok(response) = builder.header("grpc-message", header_safe(words.trim_end())).body(()) {
            let _ = respond.send_response(response, true);
        }
        return;
    }
    let builder =
        builder.status(StatusCode::SERVICE_UNAVAILABLE).header("content-type", "text/plain; charset=utf-8");
    // An answer to HEAD has no body, whatever it says.
    let is_head = request.method() == Method::HEAD;
    if let Ok(response) = builder.header("cache-control", "no-store").body(())
        && let Ok(mut body) = respond.send_response(response, is_head)
        && !is_head
    {
        let _ = body.send_data(Bytes::from(words), true);
    }
}
