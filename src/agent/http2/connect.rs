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

/// Bytes of one connection that may be under way, which is all the memory that a
/// slow reader can make the agent hold. A multiple of a stream's, because
/// unread streams must not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;

/// Bytes of one stream that may wait for the socket. More of them wait in the
/// stream's window: the library would take as much again for each stream.
const MAX_SEND_BYTES: usize = 64 * 1024;

/// Overhead of small frames that have arrived together, in bytes, before the
/// library gives the connection up: twice the window. The frames are read, and
/// put together, as soon as this thread comes to it.
const FRAME_BUDGET_BYTES: usize = 2 * CONNECTION_WINDOW_BYTES as usize;

/// Bytes of a header list: more than any server's default, so that the
/// application's own limit is the one that counts.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;

/// Streams that clients have reset and whose frames may still arrive. The
/// libraries' defaults are tens; clients with short deadlines cancel hundreds.
const MAX_RESET_STREAMS: usize = 1_024;

/// How long the other side may take to say how many streams it offers.
const SETTINGS_WAIT: Duration = Duration::from_secs(1);

/// The settings towards a client, which is offered as many streams as the
/// application offers to the agent.
pub(super) fn server_settings(streams: usize) -> server::Builder {
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
        .max_local_error_reset_streams(None)
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
