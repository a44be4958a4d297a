//! Serves keepers: JSON lines over a Unix socket on the file system of the agent's
//! own container. The API server's access rules are the only protection: those who
//! may `exec` into this container may control the agent.

pub mod bridge;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::rules_in_force::RulesInForce;
use crate::contract::control::{ControlRequest, Reply};

/// The longest line that a keeper sends, in bytes.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// The pause after a failed accept: the process has no descriptors left, until
/// connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the socket, in place of one that an earlier agent has left.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // There is one agent in this network namespace, so the old socket has no listener.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Serves every keeper that connects, for ever.
pub(super) async fn serve(listener: UnixListener, rules: Rc<RulesInForce>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let rules = Rc::clone(&rules);
                // The errors are those of a keeper that has gone.
                tokio::task::spawn_local(async move { drop(converse(stream, &rules).await) });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(stream: UnixStream, rules: &Rc<RulesInForce>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    write(&mut writer, &rules.hello()).await?;
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line).await? {
        let reply = match serde_json::from_slice::<ControlRequest>(&line) {
            Ok(request) => rules.answer(request).await,
            Err(error) => Reply::Error { why: format!("the message is not understood: {error}") },
        };
        write(&mut writer, &reply).await?;
    }
    Ok(())
}

/// Reads the next line into `line`; false at the end. A line without an end within
/// [`MAX_LINE_BYTES`] is an error.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let limit = u64::try_from(MAX_LINE_BYTES).expect("the limit is small");
    match reader.take(limit).read_until(b'\n', line).await? {
        0 => Ok(false),
        _ if line.last() == Some(&b'\n') => Ok(true),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for (length, is_read) in [(MAX_LINE_BYTES - 1, true), (MAX_LINE_BYTES, false)] {
            let mut bytes = vec![b' '; length];
            bytes.push(b'\n');
            let mut line = Vec::new();
            let read = read_line(&mut bytes.as_slice(), &mut line).await;
            assert_eq!(read.is_ok_and(|is_line| is_line), is_read, "{length}");
        }
        let mut line = vec![b'x'];
        assert!(!read_line(&mut [].as_slice(), &mut line).await.unwrap());
    }
}
