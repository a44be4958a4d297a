//! The path of a connection: dial the application at once, let whoever speaks
//! first decide, and hand over to the engine that fits.

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

/// How long a first line may take, from its first byte. A protocol that is no
/// HTTP but begins like it waits this long for its first answer.
const FIRST_LINE_WAIT: Duration = Duration::from_secs(2);

/// How long the application is dialled for a client that was reset, or has ended
/// its side without a word. When its queue is full, the kernel asks again after a second.
const DIAL_WAIT: Duration = Duration::from_secs(1);

/// Why a connection could not be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It was served.
    Served,
    /// The application does not listen there any more.
    Refused,
}

/// How long a connection that was accepted waits for a descriptor or a source
/// port, which others give back, and how often it asks.
const ROOM_WAIT: Duration = Duration::from_secs(1);
const ROOM_ASKS_EVERY: Duration = Duration::from_millis(50);

enum First {
    Client,
    Server,
    Late,
}

/// Serves one accepted connection to its end.
pub(super) async fn serve(state: Arc<Shared>, mut client: TcpStream, own: &[SocketAddr]) -> Begun {
    let Ok(original) = client.local_addr() else { return Begun::Served };
    if own.contains(&original) {
        // Dialled at our listener directly: it has no application.
        return Begun::Served;
    }
    let was_reset = Cell::new(false);
    let dialled = tokio::select! {
        biased;
        dialled = dial(&state, original) => dialled,
        () = gives_up(&client, &was_reset) => return Begun::Served,
    };
    let mut server = match dialled {
        Ok(server) => server,
        Err(error) => {
            // What the client would have seen without us, or nearly: the
            // connection is gone before it carried anything.
            reset(&client);
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            return if refused { Begun::Refused } else { Begun::Served };
        }
    };
    if was_reset.get() {
        reset(&server);
        return Begun::Served;
    }
    let _ = client.set_nodelay(true);
    let mut up = RelayBuffer::default();
    let engine = match first(&mut client, &mut server, &mut up).await {
        Ok(engine) if !state.over_memory_budget.load(Relaxed) => engine,
        Ok(_) => Detected::Other,
        Err(_) => {
            reset(&client);
            reset(&server);
            return Begun::Served;
        }
    };
    if engine == Detected::Http1 {
        // Errors have been passed on to both ends: there is nobody else to tell.
        let _ = Box::pin(Http1 { state, original, client, server, up }.serve()).await;
        return Begun::Served;
    }
    if engine == Detected::Http2 {
        let _ = Box::pin(Http2 { state, original, client, server, up }.serve()).await;
        return Begun::Served;
    }
    let mut down = RelayBuffer::default();
    if tunnel::carry(&mut client, &mut server, &mut up, &mut down).await.is_err() {
        reset(&client);
        reset(&server);
    }
    Begun::Served
}

/// Dials the application. Where there is no room, new connections are to pass
/// from now on; for this one, which is here already, some may be given back.
async fn dial(state: &Shared, original: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + ROOM_WAIT;
    loop {
        match capture::dial(original).await {
            Err(error) if capture::is_exhausted(&error) && Instant::now() < deadline => {
                state.exhausted.notify_one();
                sleep(ROOM_ASKS_EVERY).await;
            }
            dialled => return dialled,
        }
    }
}

/// Waits until the client has gone while the application is dialled: where that
/// accepts no more, a dial would outlive it by minutes. The kernel tells of a
/// reset once: it is written down.
async fn gives_up(client: &TcpStream, was_reset: &Cell<bool>) {
    // What it has sent is in front of its end, and not of a reset.
    match client.peek(&mut [0]).await {
        Ok(0) => {}
        Ok(_) => _ = client.ready(Interest::ERROR).await,
        Err(_) => was_reset.set(true),
    }
    // A dial that works takes no time. It tells the application of a reset, and
    // serves whoever only listens and has ended its side at once.
    tokio::time::sleep(DIAL_WAIT).await;
}

/// Waits for the first bytes, from whichever side, and says what they are.
/// The client's stay in `up`.
async fn first(client: &mut TcpStream, server: &mut TcpStream, up: &mut RelayBuffer) -> io::Result<Detected> {
    let mut deadline: Option<Instant> = None;
    loop {
        match next(client, server, up, deadline).await? {
            First::Server | First::Late => return Ok(Detected::Other),
            First::Client if up.is_ended() => return Ok(Detected::Other),
            First::Client => match detect(up.held()) {
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
) -> io::Result<First> {
    let speaks = std::future::poll_fn(|context| {
        let mut bytes = [0; SETTINGS_BYTES];
        let mut seen = ReadBuf::new(&mut bytes);
        if let Poll::Ready(peeked) = server.poll_peek(context, &mut seen)
            // A few bytes that may become settings are a greeting: nothing would tell us of the rest.
            && !(peeked.is_ok() && seen.remaining() == 0 && may_be_settings(seen.filled()))
        {
            return Poll::Ready(peeked.map(|_| First::Server));
        }
        up.poll_fill(context, client).map_ok(|_| First::Client)
    });
    match deadline {
        None => speaks.await,
        Some(deadline) => tokio::select! {
            first = speaks => first,
            () = sleep_until(deadline) => Ok(First::Late),
        },
    }
}
