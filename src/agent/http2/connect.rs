//! HTTP/2 connections that the agent opens, and the settings of both roles.

use std::cell::RefCell;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, server};
use tokio::io::{AsyncRead, AsyncWrite};

use super::application::Application;

/// Bytes of one stream that may be under way: enough for its round trip within
/// a cluster.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Streams that a client may have open at once, where the application offers more or
/// states no limit.
const MAX_STREAMS: u32 = 1_000;

/// Bytes of one connection that may be under way before the number of its streams is
/// known: as many streams as most servers offer.
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;

/// Bytes of one stream that may wait for the socket. More of them wait in the
/// stream's window: the library would take as much again for each stream.
const MAX_SEND_BYTES: usize = 64 * 1024;

/// Overhead of small frames that have arrived together, in bytes, before the
/// library gives the connection up. The frames are read, and put together, as soon
/// as this thread comes to it.
const FRAME_BUDGET_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a response's header list, and the most that a request's may have: Go's
/// servers announce as much.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;

/// Bytes of a request's header list, where the application announces no more. Most
/// servers accept less. The library counts 32 bytes for each line beside its text.
const DEFAULT_HEADER_BYTES: u32 = 64 * 1024;

/// Streams that clients have reset and whose frames may still arrive. The
/// libraries' defaults are tens; clients with short deadlines cancel hundreds.
const MAX_RESET_STREAMS: usize = 1_024;

/// Streams of one connection that the library may reset because the other side broke
/// a rule, over the connection's whole life, before it ends the connection. A peer
/// that reads nothing would otherwise make the queue of resets grow without limit
/// (RUSTSEC-2024-0003). This is the library's default: so many resets, and the GOAWAY
/// after them, fit into the smallest socket buffers.
const MAX_ERROR_RESETS: usize = 1_024;

/// How long the other side may take to say how many streams it offers.
const SETTINGS_WAIT: Duration = Duration::from_secs(1);

/// How much an application offers to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Streams at once.
    streams: u32,
    /// Bytes of a request's header list.
    header_bytes: u32,
}

// === impl Offer ===

impl Offer {
    /// The part that the agent passes on of an offer of so many streams, and of the
    /// header list that was announced.
    pub(super) fn limited(streams: usize, header_bytes: Option<u32>) -> Self {
        Self {
            streams: u32::try_from(streams).map_or(MAX_STREAMS, |streams| streams.min(MAX_STREAMS)),
            header_bytes: header_bytes.unwrap_or_default().clamp(DEFAULT_HEADER_BYTES, MAX_HEADER_BYTES),
        }
    }

    /// Bytes of one connection that may be under way. Streams whose data is not read
    /// must not stop the others, so that each has room for its whole window.
    pub(super) fn window_bytes(self) -> u32 {
        (self.streams + 1) * STREAM_WINDOW_BYTES
    }
}

/// The settings towards a client.
pub(super) fn server_settings(offer: Offer) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(offer.window_bytes())
        .max_send_buffer_size(MAX_SEND_BYTES)
        .data_frame_budget(FRAME_BUDGET_BYTES)
        .max_header_list_size(offer.header_bytes)
        .max_concurrent_streams(offer.streams)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_ERROR_RESETS));
    builder
}

/// Begins HTTP/2 as the client of `stream`, and learns how many streams the
/// other side offers. The caller has to drive the connection on.
///
/// # Errors
///
/// The connection is broken, or the other side does not speak HTTP/2.
pub(super) async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
) -> Result<(SendRequest<Bytes>, client::Connection<T>), h2::Error> {
    let (sender, mut connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(MAX_SEND_BYTES)
        .data_frame_budget(FRAME_BUDGET_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_ERROR_RESETS))
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await?;
    // Settings come before anything else: they are there once the ping is answered.
    if let Some(mut ping) = connection.ping_pong() {
        ping.send_ping(Ping::opaque())?;
        let answered = std::future::poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended);
            }
            ping.poll_pong(context).map_ok(|_| ())
        });
        // A server that answers no ping is odd, but it works.
        tokio::time::timeout(SETTINGS_WAIT, answered).await.unwrap_or(Ok(()))?;
    }
    Ok((sender, connection))
}

/// Drives the application's connection to its end, and tells `application` once
/// it takes no more streams: at a GOAWAY at once, though streams under way may
/// keep the connection open for long. The probe belongs to the caller, because
/// the connection stays open as long as there is a sender.
pub(super) async fn drive<T: AsyncRead + AsyncWrite + Unpin>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_passed_on_within_limits() {
        for (streams, announced, expected) in [
            (100, None, (100, 64 * 1024)),
            (usize::MAX, Some(8 * 1024), (1_000, 64 * 1024)),
            (0, Some(200_000), (0, 200_000)),
            (1_001, Some(u32::MAX), (1_000, 1024 * 1024)),
        ] {
            let offer = Offer::limited(streams, announced);
            assert_eq!((offer.streams, offer.header_bytes), expected, "{streams}, {announced:?}");
            assert!(offer.window_bytes() > offer.streams * STREAM_WINDOW_BYTES);
        }
    }
}
