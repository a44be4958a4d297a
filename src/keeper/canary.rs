//! The proof that requests are routed: a canary that the filter matches must
//! reach the preview, and one that it does not match the application.
//!
//! A canary is sent like any request, from this pod to the target pod's address
//! and port, so that a network that bypasses the agent is noticed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::link::hint_to_stop;
use crate::traffic::canary::{CanaryAnswer, HEADER, REACH, REQUEST};
use crate::traffic::{Filter, Rules, Sample};

/// How long a pod of the same cluster may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long the agent may take to connect to the preview or the application and
/// to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes: the agent's answers are shorter.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Why a route is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unproven {
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

/// Proves the route through one target pod on all `ports`. Returns notes on what
/// could not be proven. That another key gets the requests is a note where these
/// rules yield to it (`yields`), and an error elsewhere. `reads_request`: whether the
/// agent reads [`REQUEST`].
pub(super) async fn prove(
    address: IpAddr,
    ports: &[u16],
    rules: &Rules,
    (namespace, target): (&str, &str),
    yields: bool,
    reads_request: bool,
) -> Result<Vec<String>, Unproven> {
    let secret = rules.canary.clone().expect("the keeper's own rules have a secret");
    // An agent that does not read the canary's header judges what is on the wire.
    let sample = Sample::of(&rules.filter).filter(|sample| reads_request || is_on_wire(sample));
    let mut notes = Vec::new();
    if sample.is_none() {
        notes.push(
            "no request could be made that the filter matches: only capture and reachability are proven"
                .to_owned(),
        );
    }
    let (mut is_answered, mut unanswered) = (false, Vec::new());
    for port in ports {
        let to = SocketAddr::from((address, *port));
        let (keyed, value) = match &sample {
            Some(sample) => (sample.clone(), secret.clone()),
            None => (Sample::default(), format!("{secret}{REACH}")),
        };
        let found = send(to, &keyed, &value).await.map_err(|error| lost(to, &error, target))?;
        if let Some(other) = found.taken_by {
            if yields {
                notes.push(format!("the key `{other}` takes these requests first: it is older"));
                continue;
            }
            return Err(Unproven {
                why: format!("the key `{other}` takes these requests first"),
                hint: Some(hint_to_stop(&other, namespace)),
            });
        }
        if let Some(why) = found.unreached {
            return Err(Unproven {
                why: format!("the preview cannot be reached from the target's pod: {why}"),
                hint: Some(
                    "the preview must listen on its pod's address and on the same port (or see `port_mapping`), and no \
                     NetworkPolicy may stand between the two"
                        .to_owned(),
                ),
            });
        }
        match found.unanswered {
            Some(why) => unanswered.push(why),
            None => is_answered = true,
        }
        if found.is_foreign {
            notes.push(format!("the preview's answer on port {port} is not HTTP"));
        }
        if sample.is_some() && !found.matched {
            return Err(Unproven {
                why: "a request with the key did not match at the agent".to_owned(),
                hint: None,
            });
        }
        let plain = send(to, &Sample::default(), &secret).await.map_err(|error| lost(to, &error, target))?;
        if plain.matched && !matches!(rules.filter, Filter::Everything) {
            notes.push(format!("a request without the key to port {port} matches the filter too"));
        }
    }
    // A target may also have ports of other protocols, which no request with a key reaches.
    if let Some(why) = unanswered.first().filter(|_| !is_answered) {
        return Err(Unproven {
            why: format!("the preview accepts connections and answers no request: {why}"),
            hint: Some(
                "the preview must speak HTTP on this port; a service mesh's sidecar may accept connections in its place"
                    .to_owned(),
            ),
        });
    }
    notes.extend(unanswered.into_iter().map(|why| format!("the preview answers no HTTP request at {why}")));
    Ok(notes)
}

/// Sends one canary and reads the agent's answer. An answer that is not the
/// agent's is [`io::ErrorKind::InvalidData`].
async fn send(to: SocketAddr, sample: &Sample, value: &str) -> io::Result<CanaryAnswer> {
    let mut stream = timeout(CONNECT_WAIT, TcpStream::connect(to)).await??;
    let lines: Vec<String> =
        sample.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut headers = lines.concat();
    if !is_on_wire(sample) {
        headers.push_str(&format!("{REQUEST}: {} {}\r\n", sample.method, sample.target));
    }
    // Wherever it lands, it must not run a handler: so it is `OPTIONS /` in each case.
    let Sample { method, target, .. } = Sample::default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {to}\r\nuser-agent: mirrord/{}\r\nconnection: close\r\n{headers}{HEADER}: {value}\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
    );
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await
    };
    let result = timeout(ANSWER_WAIT, exchange).await.unwrap_or_else(|late| Err(late.into()));
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| &answer[at + 4..]);
    match (body.and_then(|body| serde_json::from_slice(body).ok()), result) {
        (Some(found), _) => Ok(found),
        // Something else answered, perhaps without ending its answer.
        (None, Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
        (None, Err(_)) if !answer.is_empty() => Err(io::ErrorKind::InvalidData.into()),
        (None, Err(error)) => Err(error),
    }
}

/// Whether a canary on the wire has the method and the target of the sample.
fn is_on_wire(sample: &Sample) -> bool {
    let Sample { method, target, .. } = Sample::default();
    (&sample.method, &sample.target) == (&method, &target)
}

/// Why a canary was not answered, and what to do about it.
fn lost(to: SocketAddr, error: &io::Error, target: &str) -> Unproven {
    let (why, hint) = match error.kind() {
        io::ErrorKind::InvalidData => (
            format!("a request to {to} bypassed the agent and reached the application"),
            "a service mesh or a node's proxy may carry it around the agent; name the port at which it reaches the \
             application in `feature.network.incoming.ports`",
        ),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => (
            format!("nothing listens at {to}"),
            "name the ports of the application in `feature.network.incoming.ports`",
        ),
        io::ErrorKind::TimedOut => (
            format!("{to} does not answer the keeper's pod"),
            "a NetworkPolicy may block it: allow pods with the label `preview.mirrord.io/role=keeper`, or start with \
             `--no-wait`, which proves nothing",
        ),
        _ => (format!("a request to {to} was lost: {error}"), "look at the agent's log in that pod"),
    };
    Unproven { why: format!("{why} (`{target}`)"), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::traffic::fixture;

    fn rules() -> Rules {
        fixture::rules(&json!({"preview": ["127.0.0.1"], "canary": "secret"}))
    }

    /// The proof against a server that gives these answers, one to each connection.
    async fn proven(answers: Vec<&'static str>) -> Result<Vec<String>, Unproven> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                assert!(String::from_utf8_lossy(&request).contains("x-mirrord-canary: secret\r\n"));
                if answer.is_empty() {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let result =
            prove("127.0.0.1".parse().unwrap(), &[port], &rules(), ("shop", "deployment/shop"), false, true)
                .await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn the_agents_answer_proves_a_route_or_says_what_prevents_it() {
        const MATCHED: &str = "HTTP/1.1 200 OK\r\n\r\n{\"matched\":true}";
        const PLAIN: &str = "HTTP/1.1 200 OK\r\n\r\n{\"matched\":false}";
        assert_eq!(proven(vec![MATCHED, PLAIN]).await, Ok(Vec::new()));
        let why = async |answer| proven(vec![answer]).await.unwrap_err().why;
        let unreached = "HTTP/1.1 200 OK\r\n\r\n{\"matched\":true,\"unreached\":\"10.0.0.9:80: refused\"}";
        assert!(why(unreached).await.contains("cannot be reached from the target's pod: 10.0.0.9:80"));
        let unanswered =
            "HTTP/1.1 200 OK\r\n\r\n{\"matched\":true,\"unanswered\":\"10.0.0.9:80: it closes\"}";
        let silent = proven(vec![unanswered, PLAIN]).await.unwrap_err();
        assert_eq!(
            silent.why,
            "the preview accepts connections and answers no request: 10.0.0.9:80: it closes"
        );
        assert!(silent.hint.unwrap().contains("must speak HTTP"));
        let foreign = "HTTP/1.1 200 OK\r\n\r\n{\"matched\":true,\"is_foreign\":true}";
        assert!(proven(vec![foreign, PLAIN]).await.unwrap()[0].ends_with("is not HTTP"));
        assert!(why(PLAIN).await.contains("did not match at the agent"));
        let taken = "HTTP/1.1 200 OK\r\n\r\n{\"matched\":false,\"taken_by\":\"pr-0\"}";
        assert!(why(taken).await.contains("`pr-0` takes these requests first"));
        // An application answered, so the request bypassed the agent.
        for application in ["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "220 mail ready\r\n"] {
            assert!(why(application).await.contains("bypassed the agent"), "{application}");
        }
        assert!(why("").await.contains("nothing listens at"));
    }

    #[tokio::test]
    async fn every_request_on_the_wire_is_options_whatever_the_filter_wants() {
        let filter =
            json!({"all_of": [{"method": "DELETE"}, {"path": "^/orders/1$"}, {"header": "^x-user: ann$"}]});
        let rules = fixture::rules(&json!({"preview": ["127.0.0.1"], "canary": "secret", "filter": filter}));
        for (reads_request, first) in [
            (
                true,
                "x-user: ann\r\nx-mirrord-canary-request: DELETE /orders/1\r\nx-mirrord-canary: secret\r\n\r\n",
            ),
            (false, "x-mirrord-canary: secret reach\r\n\r\n"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                let mut requests = Vec::new();
                for matched in [true, false] {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    requests.push(String::from_utf8(request).unwrap());
                    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{{\"matched\":{matched}}}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                requests
            });
            let address = "127.0.0.1".parse().unwrap();
            let of_target = ("shop", "deployment/shop");
            let notes = prove(address, &[port], &rules, of_target, false, reads_request).await.unwrap();
            assert_eq!(notes.is_empty(), reads_request, "{notes:?}");
            let requests = server.await.unwrap();
            assert!(
                requests.iter().all(|request| request.starts_with("OPTIONS / HTTP/1.1\r\n")),
                "{requests:?}"
            );
            assert!(requests[0].ends_with(first), "{requests:?}");
        }
    }

    #[test]
    fn a_timeout_and_an_answer_of_something_else_have_different_hints() {
        let to = "10.0.0.1:80".parse().unwrap();
        let lost = |kind: io::ErrorKind| lost(to, &kind.into(), "deployment/shop");
        let timed_out = lost(io::ErrorKind::TimedOut);
        assert!(
            timed_out.why.contains("does not answer the keeper's pod")
                && timed_out.why.contains("`deployment/shop`")
        );
        assert!(timed_out.hint.unwrap().contains("preview.mirrord.io/role=keeper"));
        assert!(lost(io::ErrorKind::InvalidData).hint.unwrap().contains("service mesh"));
        assert!(lost(io::ErrorKind::HostUnreachable).why.contains("was lost"));
    }
}
