//! Whether a preview answers HTTP: a proxy beside it may accept every connection in its
//! place, and a port may be open before anything serves it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::detect::{PREFACE, may_be_settings};

/// How long the first bytes of an answer may take. The keeper waits for 10 s in all.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// How long the rest of an answer is read, so that the close is not a reset for the server.
const REST_WAIT: Duration = Duration::from_millis(250);

/// A frame of HTTP/2 settings without entries, which follows the preface.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The first bytes of a preview's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A status line, or HTTP/2 settings.
    Http,
    /// Something else.
    Other,
    /// None, for this reason.
    Nothing(String),
}

/// Asks the server at `address` for its options: servers answer `OPTIONS *` themselves,
/// without a handler of the application. `connect` is called again for HTTP/2.
///
/// # Errors
///
/// Those of `connect`.
pub(super) async fn first(
    address: SocketAddr,
    connect: impl AsyncFn(SocketAddr) -> io::Result<TcpStream>,
) -> io::Result<Answer> {
    let request = format!(
        "OPTIONS * HTTP/1.1\r\nhost: {address}\r\nuser-agent: mirrord/{}\r\nconnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
    );
    let mut closed = String::new();
    // A server that speaks HTTP/2 only may close a connection that begins otherwise.
    for request in [request.as_bytes(), &[PREFACE, SETTINGS].concat()] {
        let mut stream = connect(address).await?;
        match timeout(ANSWER_WAIT, exchange(&mut stream, request)).await {
            Ok(Ok(bytes)) if !bytes.is_empty() => {
                let mut rest = Vec::new();
                // The first bytes are enough, and the rest may never end.
                let _ = timeout(REST_WAIT, stream.take(64 * 1024).read_to_end(&mut rest)).await;
                let is_http = is_status_line(&bytes) || may_be_settings(&bytes);
                return Ok(if is_http { Answer::Http } else { Answer::Other });
            }
            Ok(result) => {
                closed = match result {
                    Ok(_) => "it closes the connection without an answer".to_owned(),
                    Err(error) => format!("no answer: {error}"),
                };
            }
            Err(_) => {
                return Ok(Answer::Nothing(format!("no answer within {} s", ANSWER_WAIT.as_secs())));
            }
        }
    }
    Ok(Answer::Nothing(closed))
}

/// The first bytes of the answer; none if the server closes the connection.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    // The server may have closed, after bytes that can still be read.
    let written = stream.write_all(request).await;
    let mut buffer = [0; 64];
    match stream.read(&mut buffer).await? {
        0 => written.map(|()| Vec::new()),
        read => Ok(buffer[..read].to_vec()),
    }
}

fn is_status_line(bytes: &[u8]) -> bool {
    let beginning = b"HTTP/";
    bytes.starts_with(beginning) || beginning.starts_with(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The answer of a server that reads what comes first, and answers to that.
    async fn answer(serve: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).await.unwrap();
                stream.write_all(&serve(&buffer[..read])).await.unwrap();
            }
        });
        let found = first(address, TcpStream::connect).await.unwrap();
        server.abort();
        found
    }

    #[tokio::test]
    async fn only_a_status_line_or_http2_settings_are_an_answer_in_http() {
        let status = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answer(|_| status.to_vec()).await, Answer::Http);
        // A server of HTTP/2 only, which closes all other connections.
        let http2 =
            |request: &[u8]| if request.starts_with(PREFACE) { SETTINGS.to_vec() } else { Vec::new() };
        assert_eq!(answer(http2).await, Answer::Http);
        assert_eq!(answer(|_| b"220 mail ready\r\n".to_vec()).await, Answer::Other);
        let closes = "it closes the connection without an answer".to_owned();
        assert_eq!(answer(|_| Vec::new()).await, Answer::Nothing(closes));
    }

    #[tokio::test]
    async fn the_question_is_one_that_servers_answer_without_a_handler() {
        let (questions, mut asked) = tokio::sync::mpsc::unbounded_channel();
        answer(move |request| {
            questions.send(String::from_utf8_lossy(request).into_owned()).unwrap();
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec()
        })
        .await;
        assert!(asked.recv().await.unwrap().starts_with("OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1:"));
    }
}
