//! Which sessions get a request: its head is judged, and its body where a filter
//! asks for that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::time::{Sleep, sleep};

use super::filter_body::FilterBody;
use super::head::{self, Doubt, RequestHead, filter_head};
use crate::agent::shared::{Counters, MAX_BODY_WAIT, Shared};
use crate::traffic::filter::Body;
use crate::traffic::{Head, Judgement, canary};

/// The result for one request.
pub(super) enum JudgedRequest {
    /// The keeper's canary.
    Canary(canary::Judged<Arc<Counters>>),
    /// A request, and the sessions that it goes to. Those still undecided mirror,
    /// and want to see the body first.
    Request(Judgement<Arc<Counters>>),
}

/// Judges the requests of one connection, one after the other.
#[derive(Default)]
pub(super) struct Judge {
    /// How many bytes of the head were looked at.
    scanned: usize,
    /// The request whose body is awaited, once its head has been judged.
    awaited: Option<Awaited>,
}

/// A request that is held back until a filter has seen its body.
struct Awaited {
    head: RequestHead,
    body: FilterBody,
    timeout: Pin<Box<Sleep>>,
}

/// The first look at a request.
enum FirstLook {
    Judged(JudgedRequest),
    Awaits(FilterBody),
}

// === impl Judge ===

impl Judge {
    /// Judges the request at the start of `held`. `None`: more bytes are needed,
    /// and `context` is also woken when the wait for a body is over. A filter judges
    /// a head at most twice, in however many pieces the body arrives.
    pub(super) fn poll(
        &mut self,
        shared: &Shared,
        port: u16,
        held: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Option<(RequestHead, JudgedRequest)>, Doubt> {
        if self.awaited.is_some() {
            let judged = self.poll_body(shared, port, held, context);
            if judged.is_err() {
                // Judged again from its start, it is an error again.
                self.awaited = None;
            }
            return judged;
        }
        // After an error, all bytes are looked at again: on a new connection to the
        // application, the same bytes are judged once more.
        let mut scanned = std::mem::take(&mut self.scanned);
        let first = head::request(held, &mut scanned, |request, parsed| {
            first_look(shared, port, &held[request.length..], request, &filter_head(parsed))
        })?;
        let Some((request, first)) = first else {
            self.scanned = scanned;
            return Ok(None);
        };
        match first? {
            FirstLook::Judged(judged) => Ok(Some((request, judged))),
            FirstLook::Awaits(body) => {
                let mut timeout = Box::pin(sleep(MAX_BODY_WAIT));
                // It wakes this task only after it has been polled.
                let _ = timeout.as_mut().poll(context);
                self.awaited = Some(Awaited { head: request, body, timeout });
                Ok(None)
            }
        }
    }

    fn poll_body(
        &mut self,
        shared: &Shared,
        port: u16,
        held: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Option<(RequestHead, JudgedRequest)>, Doubt> {
        let Some(Awaited { head, body, timeout }) = &mut self.awaited else { return Ok(None) };
        let bytes = &held[head.length..];
        body.advance(&bytes[body.received()..]).map_err(|_| Doubt)?;
        if !body.is_too_long() && !body.is_whole() && timeout.as_mut().poll(context).is_pending() {
            return Ok(None);
        }
        let whole = (body.is_whole() && !body.is_too_long()).then(|| body.content(bytes));
        let known = match &whole {
            Some(whole) => Body::Whole(whole),
            None if body.is_too_long() => Body::Unknown,
            None => Body::Unread,
        };
        let judged = head::request(held, &mut 0, |_, parsed| {
            let seen = filter_head(parsed);
            let mut judgement = shared.judge(port, &seen, known);
            judgement.wait_no_longer();
            shared.count(port, &seen, &judgement);
            JudgedRequest::Request(judgement)
        });
        self.awaited = None;
        judged
    }
}

/// Judges a request by its head, and by its body if that is not worth waiting for.
fn first_look(
    shared: &Shared,
    port: u16,
    bytes: &[u8],
    request: &RequestHead,
    seen: &Head<'_>,
) -> Result<FirstLook, Doubt> {
    if let Some(canary) = canary::Judged::of(&shared.rules(), port, seen) {
        return Ok(FirstLook::Judged(JudgedRequest::Canary(canary)));
    }
    let mut judgement = shared.judge(port, seen, Body::Unread);
    if !judgement.undecided.is_empty() || judgement.stealer.is_some() {
        let mut body = FilterBody::new(request.framing);
        // A body that is broken from the start must not reach a preview.
        body.advance(bytes).map_err(|_| Doubt)?;
        if judgement.undecided.is_empty() {
            // The head has settled it.
        } else if body.is_too_long() {
            judgement = shared.judge(port, seen, Body::Unknown);
        } else if body.is_whole() {
            judgement = shared.judge(port, seen, Body::Whole(&body.content(bytes)));
        } else if judgement.is_worth_waiting() && !(body.received() == 0 && expects_continue(seen)) {
            return Ok(FirstLook::Awaits(body));
        } else {
            // A copy never delays the original, and a client that waits for a 100 (continue)
            // sends no body before it.
            judgement.wait_no_longer();
        }
    }
    shared.count(port, seen, &judgement);
    Ok(FirstLook::Judged(JudgedRequest::Request(judgement)))
}

/// Whether the client holds its body back until it receives a 100 (continue).
fn expects_continue(head: &Head<'_>) -> bool {
    head.values("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::traffic::judge::Session;
    use crate::traffic::{Rules, Table};

    fn shared() -> Shared {
        let rules = Rules::read(json!({
            "version": 1, "session": "s", "generation": 1, "key": "pr-1", "order": 1, "lease_seconds": 60,
            "mode": "steal", "ports": [{"port": 80}], "preview": [],
            "filter": {"body": {"query": "$.user", "matches": "^ann$"}},
        }));
        let session = Session { rules: rules.unwrap(), kept: Arc::default() };
        let shared = Shared::new(1);
        shared.set_rules(Table::empty().with(session).unwrap());
        shared
    }

    async fn first_judgement(
        shared: &Shared,
        bytes: &[u8],
        mut ends: impl Iterator<Item = usize>,
    ) -> Option<JudgedRequest> {
        let mut judge = Judge::default();
        std::future::poll_fn(|context| {
            let judged = ends.find_map(|end| judge.poll(shared, 80, &bytes[..end], context).transpose());
            Poll::Ready(judged.map(|judged| judged.unwrap().1))
        })
        .await
    }

    #[tokio::test]
    async fn a_request_in_doubt_is_in_doubt_when_it_is_judged_again() {
        let shared = shared();
        let head = b"POST / HTTP/1.1\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n".as_slice();
        let chunks = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"us\r\nno size\r\n";
        let begin = chunks.len() - b"no size\r\n".len();
        for (bytes, ends) in
            [(head, vec![head.len()]), (head, vec![10, head.len()]), (chunks, vec![begin, chunks.len()])]
        {
            let mut judge = Judge::default();
            std::future::poll_fn(|context| {
                let mut poll = |end: usize| judge.poll(&shared, 80, &bytes[..end], context);
                let (last, first) = ends.split_last().unwrap();
                for end in first {
                    assert!(poll(*end).is_ok_and(|judged| judged.is_none()));
                }
                assert!(poll(*last).is_err());
                assert!(poll(*last).is_err(), "again, after {ends:?}");
                Poll::Ready(())
            })
            .await;
        }
    }

    #[tokio::test]
    async fn a_body_in_many_pieces_costs_little_more_than_in_one() {
        let body = format!(r#"{{"user":"ann","padding":"{}"}}"#, "x".repeat(10_000));
        let padding = format!("x-padding: {}\r\n", "y".repeat(2_000)).repeat(60);
        let head = format!("POST / HTTP/1.1\r\n{padding}content-length: {}\r\n\r\n", body.len());
        let (bytes, shared) = ([head.as_bytes(), body.as_bytes()].concat(), shared());
        let mut times = [Duration::MAX; 2];
        for _ in 0..5 {
            for (time, step) in times.iter_mut().zip([body.len(), 1]) {
                let begun = Instant::now();
                let ends = (head.len()..=bytes.len()).step_by(step);
                let judged = first_judgement(&shared, &bytes, ends).await;
                *time = (*time).min(begun.elapsed());
                let Some(JudgedRequest::Request(judgement)) = judged else { panic!("it is judged") };
                assert!(judgement.stealer.is_some());
            }
        }
        let [whole, in_pieces] = times;
        assert!(in_pieces < 10 * whole, "{whole:?} whole, {in_pieces:?} byte by byte");
    }
}
