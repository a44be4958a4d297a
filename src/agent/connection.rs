//! Serves one connection: dials the application at once, waits for the first bytes
//! from either side, and hands over to the module for the protocol.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::capture;
use super::closing::reset;
use super::detect::{Detected, SETTINGS_BYTES, detect, may_be_settings};
use super::http1::Http1;
use super::http2::Http2;
use super::relay_buffer::RelayBuffer;
use super::shared::Shared;
use super::tunnel;

/// How long a first line may take, from its first byte. A protocol that is not HTTP
/// but begins like it waits this long for its first answer.
const FIRST_LINE_WAIT: Duration = Duration::from_secs(2);

/// How long the application is dialled for a client that was reset, or that has
/// ended its side without sending anything. When the application's queue is full,
/// the kernel tries again after a second.
const DIAL_WAIT: Duration = Duration::from_secs(1);

/// How serving a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// It was served, or its client has gone.
    Served,
    /// The application no longer listens on the port.
    Refused,
}

/// How long an accepted connection waits for a descriptor or a source port, which
/// other connections give back.
const RESOURCE_WAIT: Duration = Duration::from_secs(1);

/// The pause between two attempts to get one.
const RESOURCE_PAUSE: Duration = Duration::from_millis(50);

/// Which side sent the first bytes.
enum FirstBytes {
    Client,
    Server,
    /// The client, but its first line is late.
    Late,
}

/// Serves one accepted connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, mut client: TcpStream, own: &[SocketAddr]) -> ConnectionEnd {
    let Ok(original) = client.local_addr() else { return ConnectionEnd::Served };
    if own.contains(&original) {
        // The client dialled our listener itself: there is no application.
        return ConnectionEnd::Served;
    }
    let was_reset = Cell::new(false);
    let dialled = tokio::select! {
        biased;
        dialled = dial(&shared, original) => dialled,
        () = gives_up(&client, &was_reset) => return ConnectionEnd::Served,
    };
    let mut server = match dialled {
        Ok(server) => server,
        Err(error) => {
            // Nearly the failure that the client would see without the agent: the
            // connection ends before it carried anything.
            reset(&client);
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            return if refused { ConnectionEnd::Refused } else { ConnectionEnd::Served };
        }
    };
    if was_reset.get() {
        reset(&server);
        return ConnectionEnd::Served;
    }
    let _ = client.set_nodelay(true);
    let mut up = RelayBuffer::default();
    let detected = match first(&mut client, &mut server, &mut up).await {
        Ok(detected) if !shared.over_memory_budget.load(Relaxed) => detected,
        Ok(_) => Detected::Other,
        Err(_) => {
            reset(&client);
            reset(&server);
            return ConnectionEnd::Served;
        }
    };
    if detected == Detected::Http1 {
        // Errors have been passed on to both ends.
        let _ = Box::pin(Http1 { shared, original, client, server, up }.serve()).await;
        return ConnectionEnd::Served;
    }
    if detected == Detected::Http2 {
        let _ = Box::pin(Http2 { shared, original, client, server, up }.serve()).await;
        return ConnectionEnd::Served;
    }
    let mut down = RelayBuffer::default();
    if tunnel::carry(&mut client, &mut server, &mut up, &mut down).await.is_err() {
        reset(&client);
        reset(&server);
    }
    ConnectionEnd::Served
}

/// Dials the application. Without a descriptor or a source port, it makes new
/// connections bypass the agent; this one waits for another to give its own back.
pub(super) async fn dial(shared: &Shared, original: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + RESOURCE_WAIT;
    loop {
        match capture::dial(original).await {
            Err(error) if capture::is_exhausted(&error) && Instant::now() < deadline => {
                shared.exhausted.notify_one();
                sleep(RESOURCE_PAUSE).await;
            }
            dialled => return dialled,
        }
    }
}

/// Waits until the client has gone while the application is dialled: when the
/// application accepts no more, the dial would outlive the client by minutes. The
/// kernel reports a reset only once, so it is noted in `was_reset`.
async fn gives_up(client: &TcpStream, was_reset: &Cell<bool>) {
    // Bytes that it has sent hide its end, but not a reset.
    match client.peek(&mut [0]).await {
        Ok(0) => {}
        Ok(_) => _ = client.ready(Interest::ERROR).await,
        Err(_) => was_reset.set(true),
    }
    // A dial that succeeds takes no time. The application then sees the reset, or
    // serves a client that has ended its side at once and only listens.
    tokio::time::sleep(DIAL_WAIT).await;
}

/// Waits for the first bytes from either side, and detects the protocol. The
/// client's bytes stay in `up`.
async fn first(client: &mut TcpStream, server: &mut TcpStream, up: &mut RelayBuffer) -> io::Result<Detected> {
    let mut deadline: Option<Instant> = None;
    loop {
        match next(client, server, up, deadline).await? {
            FirstBytes::Server | FirstBytes::Late => return Ok(Detected::Other),
            FirstBytes::Client if up.is_ended() => return Ok(Detected::Other),
            FirstBytes::Client => match detect(up.held()) {
                Detected::Undecided => _ = deadline.get_or_insert_with(|| Instant::now() + FIRST_LINE_WAIT),
                decided => return Ok(decided),
            },
        }
    }
}

async fn next(
    client: &mut TcpStream,
    server: &mut TcpStream,
    up: &mut RelayBuffer,
    deadline: Option<Instant>,
) -> io::Result<FirstBytes> {
    let first = std::future::poll_fn(|context| {
        let mut bytes = [0; SETTINGS_BYTES];
        let mut seen = ReadBuf::new(&mut bytes);
        if let Poll::Ready(peeked) = server.poll_peek(context, &mut seen)
            // Fewer bytes than a frame's header count as a greeting: nothing would wake us for the rest.
            && !(peeked.is_ok() && seen.remaining() == 0 && may_be_settings(seen.filled()))
        {
            return Poll::Ready(peeked.map(|_| FirstBytes::Server));
        }
        up.poll_fill(context, client).map_ok(|_| FirstBytes::Client)
    });
    match deadline {
        None => first.await,
        Some(deadline) => tokio::select! {
            first = first => first,
            () = sleep_until(deadline) => Ok(FirstBytes::Late),
        },
    }
}
