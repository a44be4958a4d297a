//! A matched exchange: the request to the session's preview, its response
//! back to the client, both verbatim.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::answer;
use super::framing::Framing;
use super::head::{self, Kind, Next, Persistence};
use super::relay::Matched;
use crate::agent::keep_alive;
use crate::agent::lane::Lane;
use crate::agent::tunnel;

/// How long a preview pod may take to accept a connection. It is in the same
/// cluster: what takes longer is not there.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The client connection's own connection to a preview, kept between its
/// matched requests.
#[derive(Default)]
pub(super) struct Preview {
    kept: Option<(SocketAddr, TcpStream)>,
    /// Preview pods take turns.
    turn: usize,
}

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
}

enum End {
    Whole(Persistence),
    Tunnel,
    /// The preview went away before it had said anything.
    Silent(io::Error),
}

// === impl Preview ===

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
        };
        match exchange.run().await {
            Ok(End::Whole(persistence)) => {
                let is_uploaded = exchange.upload.is_done();
                let Exchange { matched, client, preview, .. } = exchange;
                if persistence == Persistence::Stays && is_uploaded {
                    self.kept = Some((address, preview));
                }
                if !is_uploaded {
                    // The preview answered without wanting the rest of the body.
                    return answer::linger(client).await.map(|()| Then::Over);
                }
                let closes =
                    persistence == Persistence::Closes || matched.request.persistence == Persistence::Closes;
                Ok(if closes { Then::Over } else { Then::NextRequest })
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

// === impl Exchange ===

impl Exchange<'_> {
    async fn run(&mut self) -> io::Result<End> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(end) = self.poll_down(context) {
                return Poll::Ready(end);
            }
            match self.poll_up(context) {
                // A preview that closes early may have said why.
                Poll::Ready(Err(error)) if !self.answered && error.kind() != io::ErrorKind::InvalidData => {
                    self.poll_down(context).map(|end| end.or(Ok(End::Silent(error))))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.upload.is_done() {
                let held = self.up.held();
                let length = self.upload.advance(held, |_| {}).map_err(|_| io::ErrorKind::InvalidData)?;
                self.matched.copies.body(&held[..length]);
                self.up.clear(length);
                if self.upload.is_done() {
                    self.matched.copies.end();
                }
            }
            ready!(self.up.poll_drain(context, &mut self.preview))?;
            if self.upload.is_done() {
                return self.poll_client_gone(context);
            }
            let filled = if self.matched.copies.are_wanted() {
                self.up.poll_fill(context, self.client)
            } else {
                self.upload.poll_fill(context, self.up, self.client)
            };
            if ready!(filled)? == 0 {
                // Half a request: the preview sees what the application would have seen.
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
    }

    /// While the response is awaited: a client that ends its side, or leaves,
    /// does so towards the preview too.
    fn poll_client_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.client_watched || !self.up.is_empty() {
            return Poll::Pending;
        }
        let mut byte = [0];
        let Ok(peeked) = ready!(self.client.poll_peek(context, &mut ReadBuf::new(&mut byte))) else {
            // Told apart from a preview that failed: nobody is left to be told.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        self.client_watched = false;
        if peeked == 0 {
            ready!(Pin::new(&mut self.preview).poll_shutdown(context))?;
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
                return Poll::Ready(match self.download {
                    Some((Framing::UntilClose, _)) => Ok(End::Whole(Persistence::Closes)),
                    None if !self.answered => {
                        Ok(End::Silent(io::Error::other("it closed the connection without an answer")))
                    }
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
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
