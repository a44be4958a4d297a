//! The same application with and without the agent, on two ports, to compare them.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::agent::Agent;
use super::{Place, World};

/// An application that listens on a port that the agent captures, as long as the test
/// runs, and on another one that it does not capture.
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

    /// A connection from the client, and the application's end of it. On the captured
    /// port it must go through the agent, whose address is the pod's.
    pub(crate) fn connection(&self, way: Way) -> (TcpStream, TcpStream) {
        let client = self.world.connect(if way == Way::Captured { 8080 } else { 8081 });
        client.set_nodelay(true).unwrap();
        let (app, peer) = self.accept(way);
        assert_eq!(peer.ip() == client.local_addr().unwrap().ip(), way == Way::Plain, "{way:?}: from {peer}");
        (client, app)
    }

    /// The application's end of the next connection, and its source.
    pub(crate) fn accept(&self, way: Way) -> (TcpStream, SocketAddr) {
        let listener = if way == Way::Captured { &self.captured } else { &self.plain };
        let (app, peer) = listener.accept().unwrap();
        app.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (app, peer)
    }
}

/// How one end of a connection sees that the other has ended it.
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
