//! HTTP/2, gRPC included. The agent terminates it, because header compression
//! does not allow to relay single streams byte for byte, and judges each stream
//! alone. Each client connection has one connection to the application. The
//! agent accepts all that the application accepts, and passes on how the
//! application ends streams.

mod announced;
mod answer;
mod application;
mod carry;
mod connect;
mod copy;
mod head;
mod previews;
mod pump;
mod rewound;
mod send;
mod stream;
mod upload;
mod waiting;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::closing::reset;
use super::detect::{PREFACE, may_be_settings};
use super::relay_buffer::RelayBuffer;
use super::shared::Shared;
use super::tunnel;
use announced::Announced;
use application::{Application, Service};
use connect::{Offer, connect, drive, server_settings};
use previews::PreviewConnections;
use rewound::Rewound;
use stream::Stream;

/// How long the agent waits for the application's first bytes before it takes
/// the application to speak HTTP/2. Servers send their settings at once; one
/// that waits for the client's settings must not wait long.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(250);

/// How long data that the application sent before its connection ended may take
/// to reach the client. Streams without data wait for their end as long.
const LAST_DATA_WAIT: Duration = Duration::from_millis(100);

/// One client's connection and its connection to the application.
pub(super) struct Http2 {
    pub(super) shared: Arc<Shared>,
    /// The address that the client dialled.
    pub(super) original: SocketAddr,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    /// The bytes that the client has sent already: at least the preface.
    pub(super) up: RelayBuffer,
}

// === impl Http2 ===

impl Http2 {
    /// Serves the connection to its end.
    ///
    /// # Errors
    ///
    /// A side has broken the protocol, or its connection is broken.
    pub(super) async fn serve(self) -> Result<(), h2::Error> {
        let Self { shared, original, mut client, mut server, mut up } = self;
        // The preface first, as the client sent it: the client must see the answer of
        // an application that does not know HTTP/2.
        if server.write_all(PREFACE).await.is_err() {
            reset(&client);
            return Ok(());
        }
        let Some(first) = speaks_http2(&server).await else {
            up.discard(PREFACE.len());
            let carried = tunnel::carry(&mut client, &mut server, &mut up, &mut RelayBuffer::default()).await;
            if carried.is_err() {
                reset(&client);
                reset(&server);
            }
            return Ok(());
        };
        let application = Rc::new(Application::default());
        let (app, mut driven) = connect(Rewound::after_writing(PREFACE.len(), server)).await?;
        let offer = Offer::limited(driven.max_concurrent_send_streams(), first.header_bytes);
        driven.set_target_window_size(offer.window_bytes());
        let probe = Rc::new(RefCell::new(app.clone()));
        spawn_local(drive(driven, Rc::downgrade(&probe), Rc::clone(&application)));
        let mut builder = server_settings(offer);
        if app.is_extended_connect_protocol_enabled() {
            builder.enable_connect_protocol();
        }
        let client = Rewound::after_reading(Bytes::copy_from_slice(up.held()), client);
        let resets_client = client.reset_flag();
        drop(up);
        let connection = builder.handshake::<_, Bytes>(client).await?;
        let (previews, port) = (Rc::new(PreviewConnections::default()), original.port());
        let connections = ClientConnection { shared, port, app, application, previews, resets_client };
        let result = connections.serve(connection).await;
        connections.application.end();
        drop(probe);
        result
    }
}

/// The state that all streams of one client's connection share.
struct ClientConnection {
    shared: Arc<Shared>,
    port: u16,
    app: SendRequest<Bytes>,
    application: Rc<Application>,
    previews: Rc<PreviewConnections>,
    /// Whether the client's connection ends with a reset.
    resets_client: Rc<Cell<bool>>,
}

// === impl ClientConnection ===

impl ClientConnection {
    async fn serve(&self, mut connection: server::Connection<Rewound, Bytes>) -> Result<(), h2::Error> {
        let application = &self.application;
        let (mut is_leaving, mut is_late) = (false, false);
        let mut deadline: Option<Instant> = None;
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let Some(accepted) = accepted else { return Ok(()) };
                    let (request, respond) = accepted?;
                    spawn_local(self.stream().serve(request, respond));
                }
                () = application.changed() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() && !is_late => {
                    is_late = true;
                }
            }
            if application.is_ending() {
                deadline.get_or_insert_with(|| Instant::now() + LAST_DATA_WAIT);
            }
            match application.service(is_late) {
                // Streams under way end as they end at the application.
                Service::Draining if !is_leaving => {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                Service::Lost(how) => {
                    self.lose(connection, how).await;
                    return Ok(());
                }
                Service::Open | Service::Draining => {}
            }
        }
    }

    fn stream(&self) -> Stream {
        Stream {
            shared: Arc::clone(&self.shared),
            port: self.port,
            app: self.app.clone(),
            application: Rc::clone(&self.application),
            previews: Rc::clone(&self.previews),
        }
    }

    /// Breaks the client's connection as the application's broke with streams under
    /// way: the client must not see streams that the application did not end.
    async fn lose(&self, mut connection: server::Connection<Rewound, Bytes>, how: io::ErrorKind) {
        std::future::poll_fn(|context| {
            // Data that was accepted before leaves as far as it can.
            let _ = connection.poll_closed(context);
            Poll::Ready(())
        })
        .await;
        // A plain close is passed on as a plain close: data that has left still arrives.
        let is_end = matches!(how, io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof);
        self.resets_client.set(!is_end);
    }
}

/// The settings in the application's first bytes, if these may be HTTP/2's. A server
/// that sends nothing after the preface waits for the client's settings, as HTTP/2
/// allows.
async fn speaks_http2(server: &TcpStream) -> Option<Announced> {
    let mut bytes = [0; announced::MAX_BYTES];
    match tokio::time::timeout(FIRST_BYTES_WAIT, server.peek(&mut bytes)).await {
        Ok(Ok(seen)) => may_be_settings(&bytes[..seen]).then(|| Announced::read(&bytes[..seen])),
        Ok(Err(_)) => None,
        Err(_) => Some(Announced::default()),
    }
}
