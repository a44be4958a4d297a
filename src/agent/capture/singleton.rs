//! One agent per network namespace: each binds the same name, which only one
//! process can have, until it ends.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

/// An abstract Unix address, by its first byte: it belongs to the network namespace,
/// not to a file system, and ends with the process.
const NAME: &str = "\0mirrord-preview-agent";

/// This network namespace's only agent, while this value lives.
#[derive(Debug)]
pub(in crate::agent) struct Singleton(
    #[expect(dead_code, reason = "the name is bound while the socket is open")] Socket,
);

// === impl Singleton ===

impl Singleton {
    /// Takes the name; `None` if another agent has it.
    pub(in crate::agent) fn take() -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        match socket.bind(&SockAddr::unix(NAME)?) {
            Ok(()) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }
}
