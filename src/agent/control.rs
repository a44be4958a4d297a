//! How the keeper controls the agent: JSON lines over a Unix socket on the
//! agent's own file system. Whoever may `exec` into this container may control
//! it; the API server's access rules are the only gate.

pub mod bridge;

use std::io;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;

use super::rules_in_force::RulesInForce;
use crate::contract::control::{Reply, Request};

/// A longer line is no message of the keeper's.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Binds the socket, in place of one that an agent before has left.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // Only the namespace's single agent comes here: nobody listens any more.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Serves every controller that connects, for ever.
pub(super) async fn serve(listener: UnixListener, sessions: Rc<RulesInForce>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let sessions = Rc::clone(&sessions);
                // A controller that went away tells nobody why.
                tokio::task::spawn_local(async move { drop(converse(stream, &sessions).await) });
            }
            // Out of descriptors: connections end sooner or later.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, sessions: &RulesInForce) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut events = sessions.events();
    write(&mut writer, &sessions.hello()).await?;
    let mut line = Vec::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => write(&mut writer, &Reply::Event(event)).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
            // What was read of a line stays in `line` when an event comes between.
            read = next_line(&mut reader, &mut line) => {
                if read? == 0 {
                    return Ok(());
                }
                if line.last() != Some(&b'\n') {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let reply = match serde_json::from_slice::<Request>(&line) {
                    Ok(request) => sessions.answer(request),
                    Err(error) => Reply::Error { why: format!("the message is not understood: {error}") },
                };
                line.clear();
                write(&mut writer, &reply).await?;
            }
        }
    }
}

async fn next_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(MAX_LINE_BYTES).read_until(b'\n', line).await
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
