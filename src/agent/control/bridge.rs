//! `mirrord agent control`: sends standard input to the agent, and its answers to
//! standard output. The keeper runs it in the agent's container with `exec`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::problem::{Explain as _, Problem};

/// How often, and how many times, to connect to an agent that is starting: for ten
/// seconds.
const TRIES_EVERY: Duration = Duration::from_millis(100);
const MAX_TRIES: u32 = 100;

/// Copies in both directions until the agent ends the conversation.
pub(in crate::agent) fn run(socket: &Path) -> anyhow::Result<()> {
    let stream = connect(socket).explain(|| {
        Problem::new("could not reach the agent")
            .because_of(format!("no agent answers at `{}`", socket.display()))
    })?;
    let mut upward = stream.try_clone()?;
    // The thread ends with the process: a read of standard input cannot be interrupted.
    thread::spawn(move || {
        let _ = copy(&mut io::stdin().lock(), &mut upward);
        let _ = upward.shutdown(Shutdown::Write);
    });
    copy(&mut &stream, &mut io::stdout().lock())?;
    Ok(())
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut tries = 0;
    loop {
        match UnixStream::connect(socket) {
            Err(_) if tries < MAX_TRIES => {
                tries += 1;
                thread::sleep(TRIES_EVERY);
            }
            result => return result,
        }
    }
}

/// Like `io::copy`, but flushes each piece.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
        to.flush()?;
    }
}
