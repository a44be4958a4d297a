//! HTTP/2, gRPC included: terminated, because header compression leaves no
//! other way, with each stream judged alone. One connection to the
//! application for one of the client; what the application accepts is not
//! refused here, and how it ends streams is how they end.

mod application;
mod copy;
mod previews;
mod pump;
mod rewound;
mod stream;
mod waiting;

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, client, server};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::detect::{PREFACE, SETTINGS_BYTES, may_be_settings};
use super::lane::Lane;
use super::shared::Shared;
use super::tunnel;
use application::{Application, Standing};
use previews::Previews;
use rewound::Rewound;
use stream::Stream;

/// What one stream may have on its way: enough for its round trip within a cluster.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What one connection may have on its way: all the memory that a slow reader
/// can make us hold. So many times a stream's, because streams that nobody
/// reads must not stop those that somebody does.
const CONNECTION_WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;

/// What one stream may have waiting for the socket. What waits beyond that waits
/// in its window: the library would take so much again for each stream.
const MAX_SEND_BYTES: usize = 64 * 1024;

/// What small frames that have come at once may cost beside their bytes before
/// the connection is given up: twice what its window lets through. They are
/// read, and put together, as soon as this thread comes to it.
const FRAME_BUDGET_BYTES: usize = 2 * CONNECTION_WINDOW_BYTES as usize;

/// Header lists that are let through: more than any server's default, so that
/// the application's limit is the one that counts.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;

/// Streams that clients have reset and whose frames may still arrive. The
/// libraries' defaults are tens; clients with short deadlines cancel hundreds.
const MAX_RESET_STREAMS: usize = 1_024;

/// How long the application may take to say how many streams it offers.
const SETTINGS_WAIT: Duration = Duration::from_secs(1);

/// How long the application's first bytes are awaited before its answer is
/// taken to be HTTP/2: servers send their settings with the preface, and one
/// that waits for ours must not wait long.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(250);

/// How long what an application has said before its connection ended may take
/// to reach the client: as long as it lies around, others wait for their end.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(100);

/// One client's connection and its application's.
pub(super) struct Http2 {
    pub(super) state: Arc<Shared>,
    /// Where the client had dialled.
    pub(super) original: SocketAddr,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    /// What the client has sent already: the preface, at least.
    pub(super) up: Lane,
}

// === impl Http2 ===

impl Http2 {
    /// Serves the connection to its end.
    pub(super) async fn serve(self) -> Result<(), h2::Error> {
        let Self { state, original, mut client, mut server, mut up } = self;
        // The preface first, as the client has said it: how an application that
        // does not know it answers is for the client to see.
        if server.write_all(PREFACE).await.is_err() {
            tunnel::reset(&client);
            return Ok(());
        }
        if !speaks_http2(&server).await {
            up.discard(PREFACE.len());
            let carried = tunnel::carry(&mut client, &mut server, &mut up, &mut Lane::default()).await;
            if carried.is_err() {
                tunnel::reset(&client);
                tunnel::reset(&server);
            }
            return Ok(());
        }
        let application = Rc::new(Application::default());
        let (app, driven) = connect(Rewound::said(PREFACE.len(), server)).await?;
        let streams = driven.max_concurrent_send_streams();
        let probe = Rc::new(RefCell::new(app.clone()));
        spawn_local(drive(driven, Rc::downgrade(&probe), Rc::clone(&application)));
        let mut builder = server::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(MAX_SEND_BYTES)
            .data_frame_budget(FRAME_BUDGET_BYTES)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_concurrent_streams(u32::try_from(streams).unwrap_or(u32::MAX))
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(None);
        if app.is_extended_connect_protocol_enabled() {
            builder.enable_connect_protocol();
        }
        let client = Rewound::read(Bytes::copy_from_slice(up.held()), client);
        let breaker = client.breaker();
        drop(up);
        let connection = builder.handshake::<_, Bytes>(client).await?;
        let (previews, port) = (Rc::new(Previews::default()), original.port());
        let served = Served { state, port, app, application, previews, breaker };
        let result = served.serve(connection).await;
        served.application.end();
        drop(probe);
        result
    }
}

/// A client's connection that is HTTP/2, and what its streams need.
struct Served {
    state: Arc<Shared>,
    port: u16,
    app: SendRequest<Bytes>,
    application: Rc<Application>,
    previews: Rc<Previews>,
    breaker: Rc<Cell<bool>>,
}

// === impl Served ===

impl Served {
    async fn serve(&self, mut connection: server::Connection<Rewound, Bytes>) -> Result<(), h2::Error> {
        let application = &self.application;
        let (mut is_leaving, mut is_late) = (false, false);
        let mut patience: Option<Instant> = None;
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let Some(accepted) = accepted else { return Ok(()) };
                    let (request, respond) = accepted?;
                    spawn_local(self.stream().serve(request, respond));
                }
                () = application.changed() => {}
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() && !is_late => {
                    is_late = true;
                }
            }
            if application.is_ending() {
                patience.get_or_insert_with(|| Instant::now() + LAST_WORDS_WAIT);
            }
            match application.standing(is_late) {
                // The application takes no more: neither do we, and what is under way ends as it ends there.
                Standing::TakesNoMore if !is_leaving => {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                Standing::Lost(how) => {
                    self.lose(connection, how).await;
                    return Ok(());
                }
                Standing::Serves | Standing::TakesNoMore => {}
            }
        }
    }

    fn stream(&self) -> Stream {
        Stream {
            state: Arc::clone(&self.state),
            port: self.port,
            app: self.app.clone(),
            application: Rc::clone(&self.application),
            previews: Rc::clone(&self.previews),
        }
    }

    /// The application's connection has broken, with streams under way: the
    /// client learns it as if there were nobody in between, and not as streams
    /// that somebody has ended.
    async fn lose(&self, mut connection: server::Connection<Rewound, Bytes>, how: io::ErrorKind) {
        std::future::poll_fn(|context| {
            // What was passed on leaves as far as it can; nothing else is of use any more.
            let _ = connection.poll_closed(context);
            Poll::Ready(())
        })
        .await;
        // An end without a word is passed on as that: what has left still arrives.
        let is_end = matches!(how, io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof);
        self.breaker.set(!is_end);
    }
}

/// Whether the application's first bytes are what HTTP/2 begins with. One that
/// says nothing to the preface waits for more, as HTTP/2 may.
async fn speaks_http2(server: &TcpStream) -> bool {
    let mut bytes = [0; SETTINGS_BYTES];
    match tokio::time::timeout(FIRST_BYTES_WAIT, server.peek(&mut bytes)).await {
        Ok(Ok(seen)) => may_be_settings(&bytes[..seen]),
        Ok(Err(_)) => false,
        Err(_) => true,
    }
}

/// Makes an HTTP/2 client of a connection, and learns how many streams the
/// other side offers. The connection is to be driven on.
async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
) -> Result<(SendRequest<Bytes>, client::Connection<T>), h2::Error> {
    let (sender, mut connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(MAX_SEND_BYTES)
        .data_frame_budget(FRAME_BUDGET_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await?;
    // Settings come before anything else: with the answer to a ping they are there.
    if let Some(mut ping) = connection.ping_pong() {
        ping.send_ping(Ping::opaque())?;
        let answered = std::future::poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended);
            }
            ping.poll_pong(context).map_ok(|_| ())
        });
        // A server that answers no ping is odd, but not for us to refuse.
        tokio::time::timeout(SETTINGS_WAIT, answered).await.unwrap_or(Ok(()))?;
    }
    Ok((sender, connection))
}

/// Drives the application's connection, and says when it takes no more: with a
/// GOAWAY at once, though what is under way may keep it open for long. The probe
/// is the caller's, because whoever could send keeps the connection from ending.
async fn drive<T: AsyncRead + AsyncWrite + Unpin>(
    mut connection: client::Connection<T>,
    probe: Weak<RefCell<SendRequest<Bytes>>>,
    application: Rc<Application>,
) {
    let mut is_told = false;
    std::future::poll_fn(|context| {
        let ended = Pin::new(&mut connection).poll(context);
        if ended.is_ready() {
            application.is_gone();
        } else if !is_told && let Some(probe) = probe.upgrade() {
            let Poll::Ready(Err(error)) = probe.borrow_mut().poll_ready(context) else {
                return Poll::Pending;
            };
            is_told = true;
            if error.is_io() { application.is_gone() } else { application.leaves() }
        }
        ended.map(drop)
    })
    .await;
}
