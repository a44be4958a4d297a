//! `mirrord agent control`: standard input to the agent, its answers to
//! standard output. It runs in the agent's container, by the keeper's `exec`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::problem::{Explain as _, Problem};

/// How often, and how many times, an agent that is just starting is tried: ten seconds.
const TRIES_EVERY: Duration = Duration::from_millis(100);
const MAX_TRIES: u32 = 100;

/// Carries lines both ways until the agent ends the conversation.
pub(in crate::agent) fn run(socket: &Path) -> anyhow::Result<()> {
    let stream = connect(socket).explain(|| {
        Problem::new("could not reach the agent")
            .because_of(format!("no agent answers at `{}`", socket.display()))
    })?;
    let mut upward = stream.try_clone()?;
    // Ends with the process: a read of standard input cannot be interrupted.
    thread::spawn(move || {
        let _ = carry(&mut io::stdin().lock(), &mut upward);
        let _ = upward.shutdown(Shutdown::Write);
    });
    carry(&mut &stream, &mut io::stdout().lock())?;
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

/// Like `io::copy`, but every piece leaves at once.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
        to.flush()?;
    }
}
