//! One agent per network namespace: a name that the kernel keeps while its
//! holder lives, and that only one process can hold.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

/// An abstract Unix address (the zero byte makes it so): bound to the network
/// namespace, on no file system, gone with its holder.
const NAME: &str = "\0mirrord-preview-agent";

/// The right to be this network namespace's agent, while this value lives.
#[derive(Debug)]
pub(in crate::agent) struct Singleton(#[expect(dead_code, reason = "held, not used")] Socket);

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
