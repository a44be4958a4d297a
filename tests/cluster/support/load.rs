//! A client that never pauses and writes down every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::World;

/// How long an answer may take before the request counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(10);

/// Running clients.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// The answers, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By the expected side.
    pub(crate) right: usize,
    /// By the other side.
    pub(crate) wrong: Vec<String>,
    /// With 503 by an agent without a ready preview pod.
    pub(crate) unavailable: usize,
    /// Not at all.
    pub(crate) failed: Vec<String>,
    pub(crate) latencies: Vec<Duration>,
}

// === impl Load ===

impl Load {
    /// Asks a Service with further header lines, from `clients` at once, each
    /// request on a connection of its own; answers should begin with `expected`.
    pub(crate) async fn begin(
        world: &World,
        service: &str,
        headers: &'static str,
        expected: &'static str,
        clients: usize,
    ) -> Self {
        let address = world.service_address(service).await;
        // A Service that was just made is not known on the node yet.
        super::until("the first right answer", || async {
            let answer = tokio::time::timeout(PATIENCE, ask(&address, headers)).await.ok()?.ok()?;
            answer.1.starts_with(expected).then_some(())
        })
        .await;
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..clients)
            .map(|_| {
                let (over, address) = (Arc::clone(&over), address.clone());
                tokio::spawn(async move {
                    let mut tally = Tally::default();
                    let begun = Instant::now();
                    while !over.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        let answer = tokio::time::timeout(PATIENCE, ask(&address, headers)).await;
                        tally.latencies.push(asked.elapsed());
                        let at = begun.elapsed();
                        match answer {
                            Ok(Ok((200, body))) if body.starts_with(expected) => tally.right += 1,
                            Ok(Ok((503, body))) if body.starts_with("mirrord: ") => tally.unavailable += 1,
                            Ok(Ok((status, body))) => tally.wrong.push(format!("{at:.1?}: {status} {body}")),
                            Ok(Err(error)) => tally.failed.push(format!("{at:.1?}: {error}")),
                            Err(_) => tally.failed.push(format!("{at:.1?}: no answer")),
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                    tally
                })
            })
            .collect();
        Self { over, clients }
    }

    /// Ends it, and sums up.
    pub(crate) async fn end(self) -> Tally {
        self.over.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.await.unwrap();
            sum.right += tally.right;
            sum.unavailable += tally.unavailable;
            sum.wrong.extend(tally.wrong);
            sum.failed.extend(tally.failed);
            sum.latencies.extend(tally.latencies);
        }
        sum.latencies.sort_unstable();
        sum
    }
}

// === impl Tally ===

impl Tally {
    /// One line for the test's output.
    pub(crate) fn line(&self, what: &str) -> String {
        let Self { right, wrong, unavailable, failed, .. } = self;
        format!(
            "{what}: {right} right, {} wrong, {unavailable} unavailable, {} failed, median {:.2?}",
            wrong.len(),
            failed.len(),
            self.quantile(50)
        )
    }

    /// A latency that `percent` of the answers did not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        self.latencies.get(self.latencies.len() * percent / 100).copied().unwrap_or_default()
    }

    /// Checks that every request was answered by the right side. A few may be answered by
    /// the other side if the agents report that they were starved of CPU.
    #[track_caller]
    pub(crate) fn flawless_but_for_lapses(self, what: &str, lapses: usize) {
        if lapses == 0 {
            return self.flawless(what);
        }
        eprintln!("{}, {lapses} lapses of agents", self.line(what));
        assert!(self.wrong.len() * 20 <= self.right, "{}: {:?}", self.line(what), self.wrong);
        Self { wrong: Vec::new(), ..self }.flawless(what);
    }

    /// Checks that every request was answered by the right side.
    #[track_caller]
    pub(crate) fn flawless(&self, what: &str) {
        eprintln!("{}", self.line(what));
        assert!(self.right > 0, "{what}: nothing was asked");
        assert!(
            self.wrong.is_empty() && self.failed.is_empty() && self.unavailable == 0,
            "{}: {:?} {:?}",
            self.line(what),
            self.wrong,
            self.failed
        );
    }
}

async fn ask(address: &str, headers: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((address, 80)).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: shop\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.trim().to_owned())),
        _ => Err(std::io::Error::other(format!("half an answer: {answer:?}"))),
    }
}
