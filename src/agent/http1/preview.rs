//! A matched exchange: the request to the session's preview, its response
//! back to the client, both verbatim.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::answer;
use super::framing::Framing;
use super::head::{self, Kind, Next, Persistence};
use super::relay::Matched;
use super::upgrade;
use crate::agent::keep_alive;
use crate::agent::lane::Lane;
use crate::agent::tunnel;

/// How long a preview pod may take to accept a connection. It is in the same
/// cluster: what takes longer is not there.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The client connection's own connection to a preview, kept between its
/// matched requests.
pub(super) struct Preview {
    kept: Option<(SocketAddr, TcpStream)>,
    /// Preview pods take turns.
    turn: usize,
}

/// The turn with which the next client connection begins.
static NEXT_TURN: AtomicUsize = AtomicUsize::new(0);

/// How the connection goes on.
pub(super) enum Then {
    /// With the next request.
    NextRequest,
    /// Not at all.
    Over,
}

/// One exchange under way.
struct Exchange<'a> {
    matched: Matched,
    upload: Framing,
    client: &'a mut TcpStream,
    preview: TcpStream,
    up: &'a mut Lane,
    down: Lane,
    download: Option<(Framing, Persistence)>,
    scanned: usize,
    /// Whether anything of a response has been let through.
    answered: bool,
    client_watched: bool,
    /// Why the preview takes no more of the request. It may have said why, too:
    /// that is read to its end.
    refusal: Option<io::Error>,
}

enum End {
    Whole(Persistence),
    Tunnel,
    /// The preview went away before it had said anything.
    Silent(io::Error),
}

/// Which side of an upload has failed.
enum Broken {
    Client(io::Error),
    Preview(io::Error),
}

// === impl Preview ===

impl Default for Preview {
    /// Whose turn it is goes on from connection to connection: most have one
    /// request or a few.
    fn default() -> Self {
        Self { kept: None, turn: NEXT_TURN.fetch_add(1, Relaxed) }
    }
}

impl Preview {
    /// Carries one exchange. The request's head is held in `up`. An error means
    /// that the client must see a reset: it has half a response.
    pub(super) async fn exchange(
        &mut self,
        mut matched: Matched,
        client: &mut TcpStream,
        up: &mut Lane,
    ) -> io::Result<Then> {
        let (address, preview) = match self.connect(&matched).await {
            Ok(connection) => connection,
            Err(why) => return answer::unavailable(&matched, client, up, &why).await,
        };
        let upload = matched.request.framing;
        if matched.request.kind != Kind::Plain {
            upgrade::refuse_h2c(&mut up.held_mut()[..matched.request.length]);
        }
        up.clear(matched.request.length);
        if upload.is_done() {
            matched.copies.end();
        }
        let mut exchange = Exchange {
            matched,
            upload,
            client,
            preview,
            up,
            down: Lane::default(),
            download: None,
            scanned: 0,
            answered: false,
            client_watched: true,
            refusal: None,
        };
        match exchange.run().await {
            Ok(End::Whole(persistence)) => {
                let stays = persistence == Persistence::Stays;
                // Whatever of the request is not the preview's by now must not
                // come to be anybody else's.
                let goes_on = stays && exchange.sees_upload_through().await;
                let Exchange { matched, client, preview, down, .. } = exchange;
                if !goes_on || matched.request.persistence == Persistence::Closes {
                    return answer::linger(client).await.map(|()| Then::Over);
                }
                // More than the response: nobody knows what that would answer.
                if down.is_empty() {
                    self.kept = Some((address, preview));
                }
                Ok(Then::NextRequest)
            }
            Ok(End::Tunnel) => {
                let Exchange { client, mut preview, up, mut down, .. } = exchange;
                let carried = tunnel::carry(client, &mut preview, up, &mut down).await;
                if carried.is_err() {
                    tunnel::reset(&preview);
                }
                carried.map(|()| Then::Over)
            }
            Ok(End::Silent(why)) => {
                let Exchange { matched, client, up, upload, .. } = exchange;
                let matched =
                    Matched { request: head::Request { framing: upload, ..matched.request }, ..matched };
                answer::unavailable_behind_head(&matched, client, up, &why).await
            }
            Err(error) => {
                tunnel::reset(&exchange.preview);
                Err(error)
            }
        }
    }

    /// The kept connection while it is good, else a new one to the first pod
    /// that accepts. Only connecting is tried twice: nothing was sent yet.
    async fn connect(&mut self, matched: &Matched) -> io::Result<(SocketAddr, TcpStream)> {
        let rules = &matched.session.rules;
        let port = rules.preview_port(matched.port).unwrap_or(matched.port);
        if let Some((address, stream)) = self.kept.take()
            && address.port() == port
            && rules.preview.contains(&address.ip())
            && is_quiet(&stream)
        {
            return Ok((address, stream));
        }
        let mut last = io::Error::other("it has no pod that is ready");
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        for attempt in 0..rules.preview.len() {
            let address = SocketAddr::from((rules.preview[(turn + attempt) % rules.preview.len()], port));
            match tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    keep_alive::watch(&stream);
                    return Ok((address, stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// Whether the peer has neither closed nor said anything: what it says between
/// two exchanges is that it is leaving.
pub(in crate::agent) fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The client's request is no whole one.
fn invalid() -> Broken {
    Broken::Client(io::ErrorKind::InvalidData.into())
}

// === impl Exchange ===

impl Exchange<'_> {
    async fn run(&mut self) -> io::Result<End> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(end) = self.poll_down(context) {
                return Poll::Ready(end);
            }
            if self.refusal.is_some() {
                return Poll::Pending;
            }
            match ready!(self.poll_up(context)) {
                // Nobody is left to be told.
                Err(Broken::Client(error)) => Poll::Ready(Err(error)),
                // A preview that closes early may have said why.
                Err(Broken::Preview(error)) => {
                    self.refusal = Some(error);
                    self.poll_down(context)
                }
                Ok(()) => Poll::Pending,
            }
        })
        .await
    }

    /// Behind the response: whether the preview takes the rest of the request
    /// all the same, while it may be taken for prompt.
    async fn sees_upload_through(&mut self) -> bool {
        if self.upload.is_done() && self.up.is_drained() {
            return true;
        }
        let uploaded = std::future::poll_fn(|context| self.poll_upload(context));
        matches!(tokio::time::timeout(answer::LINGER, uploaded).await, Ok(Ok(())))
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_upload(context))?;
        self.poll_client_gone(context)
    }

    /// Sends the preview the request to its end, and to its last byte.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.upload.is_done() {
                let held = self.up.held();
                let length = self.upload.advance(held, |_| {}).map_err(|_| invalid())?;
                self.matched.copies.body(&held[..length]);
                self.up.clear(length);
                if self.upload.is_done() {
                    self.matched.copies.end();
                }
            }
            ready!(self.up.poll_drain(context, &mut self.preview)).map_err(Broken::Preview)?;
            if self.upload.is_done() {
                return Poll::Ready(Ok(()));
            }
            let filled = if self.matched.copies.are_wanted() {
                self.up.poll_fill(context, self.client)
            } else {
                self.upload.poll_fill(context, self.up, self.client)
            };
            if ready!(filled).map_err(Broken::Client)? == 0 {
                // Half a request: the preview sees what the application would have seen.
                return Poll::Ready(Err(invalid()));
            }
        }
    }

    /// While the response is awaited: a client that ends its side, or leaves,
    /// does so towards the preview too.
    fn poll_client_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.client_watched || !self.up.is_empty() {
            return Poll::Pending;
        }
        let mut byte = [0];
        let peeked = ready!(self.client.poll_peek(context, &mut ReadBuf::new(&mut byte)));
        let peeked = peeked.map_err(Broken::Client)?;
        self.client_watched = false;
        if peeked == 0 {
            ready!(Pin::new(&mut self.preview).poll_shutdown(context)).map_err(Broken::Preview)?;
        }
        Poll::Pending
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<io::Result<End>> {
        loop {
            let end = self.read_response();
            ready!(self.down.poll_drain(context, self.client))?;
            if let Some(end) = end {
                return Poll::Ready(Ok(end));
            }
            let filled = match &mut self.download {
                Some((framing, _)) => framing.poll_fill(context, &mut self.down, &mut self.preview),
                None => self.down.poll_fill(context, &mut self.preview),
            };
            let read = match ready!(filled) {
                Err(error) if !self.answered => return Poll::Ready(Ok(End::Silent(error))),
                read => read?,
            };
            if read == 0 {
                let refusal = self.refusal.take();
                return Poll::Ready(match self.download {
                    None if !self.answered => {
                        Ok(End::Silent(refusal.unwrap_or_else(|| {
                            io::Error::other("it closed the connection without an answer")
                        })))
                    }
                    // What failed to be written has told of the reset, and reads as an end ever after.
                    Some((Framing::UntilClose, _)) if refusal.is_none() => {
                        Ok(End::Whole(Persistence::Closes))
                    }
                    _ => Err(refusal.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
                });
            }
        }
    }

    /// Clears what is whole or under way; says when the response is.
    fn read_response(&mut self) -> Option<End> {
        loop {
            let held = self.down.held();
            if let Some((framing, persistence)) = &mut self.download {
                let Ok(length) = framing.advance(held, |_| {}) else {
                    // Broken chunks: passed on as they are, until the preview closes.
                    self.download = Some((Framing::UntilClose, Persistence::Closes));
                    continue;
                };
                self.down.clear(length);
                return framing.is_done().then_some(End::Whole(*persistence));
            }
            if held.is_empty() {
                return None;
            }
            match head::response(held, &mut self.scanned, self.matched.request.kind) {
                Ok(None) => return None,
                Err(_) => {
                    // No HTTP that we know: the client may know better.
                    self.answered = true;
                    self.download = Some((Framing::UntilClose, Persistence::Closes));
                }
                Ok(Some(response)) => {
                    self.scanned = 0;
                    self.answered = true;
                    self.down.clear(response.length);
                    match response.next {
                        Next::AnotherHead => {}
                        Next::Tunnel => return Some(End::Tunnel),
                        Next::Body(framing) => self.download = Some((framing, response.persistence)),
                    }
                }
            }
        }
    }
}

impl Matched {
    /// Whether the response has no body whatever it says.
    pub(super) fn is_head(&self) -> bool {
        self.request.kind == Kind::Head
    }
}
