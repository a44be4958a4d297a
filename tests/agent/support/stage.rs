//! The same port twice, with and without the agent: whoever compares the two
//! sees what the agent changes.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::agent::Agent;
use super::{Place, World};

/// An application that listens without a pause, so that the agent captures its
/// port for as long as a test lasts; and the same port's neighbour, which the
/// agent does not capture.
pub(crate) struct Stage {
    pub(crate) world: World,
    captured: TcpListener,
    plain: TcpListener,
    pub(crate) agent: Agent,
}

/// Which of the stage's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Captured,
    Plain,
}

// === impl Stage ===

impl Stage {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let captured = world.listen(Place::Pod, "0.0.0.0", 8080);
        let plain = world.listen(Place::Pod, "0.0.0.0", 8081);
        let agent = Agent::stealing(&world, &[8080]);
        Self { world, captured, plain, agent }
    }

    /// A connection of the client's, and the application's end of it. That of
    /// the captured port must come by way of the agent, which is in the pod.
    pub(crate) fn connection(&self, way: Way) -> (TcpStream, TcpStream) {
        let client = self.world.connect(if way == Way::Captured { 8080 } else { 8081 });
        client.set_nodelay(true).unwrap();
        let (app, peer) = self.accept(way);
        assert_eq!(peer.ip() == client.local_addr().unwrap().ip(), way == Way::Plain, "{way:?}: from {peer}");
        (client, app)
    }

    /// The application's end of the next connection, and whose it is.
    pub(crate) fn accept(&self, way: Way) -> (TcpStream, SocketAddr) {
        let listener = if way == Way::Captured { &self.captured } else { &self.plain };
        let (app, peer) = listener.accept().unwrap();
        app.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (app, peer)
    }
}

/// What an end of a connection is told when the other gives it up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

pub(crate) fn end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (seen, End::Closed),
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (seen, End::Reset),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}
