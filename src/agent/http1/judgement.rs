//! Whose a request is: its head is read, and of its body what a filter wants.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Sleep;

use super::framing::Framing;
use super::head::{self, Doubt, RequestHead};
use crate::agent::shared::{ActiveSession, Counters, Shared};
use crate::traffic::canary;
use crate::traffic::filter::Body;
use crate::traffic::filter::body::MAX_BODY_BYTES;
use crate::traffic::{Head, Judgement};

/// How long a body may take that a filter wants to see. Past it, the request
/// does not match.
const MAX_BODY_WAIT: Duration = Duration::from_secs(1);

/// How many bytes are held for a chunked body: chunk extensions may be long,
/// and hold nothing.
const MAX_CHUNKED_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Whose a request is.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) stealer: Option<ActiveSession>,
    pub(super) mirrors: Vec<ActiveSession>,
    /// Those that may want a copy, once the body is known.
    pub(super) undecided: Vec<ActiveSession>,
    pub(super) canary: Option<canary::Asked<Arc<Counters>>>,
}

/// The wait for a body; it begins when first asked about.
#[derive(Default)]
pub(super) struct BodyWait(Option<Pin<Box<Sleep>>>);

// === impl BodyWait ===

impl BodyWait {
    fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(MAX_BODY_WAIT)));
        sleep.as_mut().poll(context).is_ready()
    }
}

/// Reads the head that is held, `looked_at` bytes of which was looked at before, and its
/// body where a filter wants it. Nothing while more has to come.
pub(super) fn of(
    state: &Shared,
    port: u16,
    held: &[u8],
    looked_at: &mut usize,
    wait: &mut BodyWait,
    context: &mut Context<'_>,
) -> Result<Option<(RequestHead, Judged)>, Doubt> {
    // Looked at again with more of the body, the head is not news.
    let mut scanned = if wait.has_begun() { 0 } else { *looked_at };
    let found = head::request(held, &mut scanned, |request, parsed| {
        let seen = filter_head(parsed);
        let canary = canary::Asked::of(&state.rules(), port, &seen);
        if canary.is_some() {
            return Ok(Some(Judged { canary, ..Judged::default() }));
        }
        let mut judgement = state.judge(port, &seen, Body::Unread);
        if !judgement.undecided.is_empty() {
            let mut whole = Vec::new();
            let mut framing = request.framing;
            framing
                .advance(&held[request.length..], |piece| whole.extend_from_slice(piece))
                .map_err(|_| Doubt)?;
            let come = held.len() - request.length;
            let is_late = || come == 0 && expects_continue(&seen);
            if is_too_long(&request.framing, whole.len(), come) {
                judgement = state.judge(port, &seen, Body::Unknown);
            } else if framing.is_done() {
                judgement = state.judge(port, &seen, Body::Whole(&whole));
            } else if judgement.is_worth_waiting() && !is_late() && !wait.is_over(context) {
                return Ok(None);
            } else {
                // A copy never slows the original; and who waits to be told to go on would wait for us.
                judgement.wait_no_longer();
            }
        } else if judgement.stealer.is_some() {
            // A body that is broken from the start must not reach a preview.
            let mut framing = request.framing;
            framing.advance(&held[request.length..], |_| {}).map_err(|_| Doubt)?;
        }
        state.count(port, &seen, &judgement);
        let Judgement { stealer, mirrors, undecided } = judgement;
        Ok(Some(Judged { stealer, mirrors, undecided, canary: None }))
    })?;
    *looked_at = scanned;
    let Some((request, judged)) = found else { return Ok(None) };
    Ok(judged?.map(|judged| (request, judged)))
}

/// The head, as filters see it.
pub(super) fn filter_head<'a>(parsed: &'a httparse::Request<'_, '_>) -> Head<'a> {
    Head {
        method: parsed.method.unwrap_or_default(),
        target: parsed.path.unwrap_or_default(),
        authority: None,
        headers: parsed.headers,
    }
}

/// Whether a body is longer than filters see: as declared, in its content, or
/// with all that chunks have around theirs.
pub(super) fn is_too_long(framing: &Framing, content: usize, come: usize) -> bool {
    matches!(framing, Framing::Sized(length) if *length > MAX_BODY_BYTES as u64)
        || content > MAX_BODY_BYTES
        || (matches!(framing, Framing::Chunked(_)) && come > MAX_CHUNKED_BYTES)
}

/// Whether the client holds its body back until it is told to go on.
fn expects_continue(head: &Head<'_>) -> bool {
    head.values("expect").any(|value| value.eq_ignore_ascii_case(b"100-continue"))
}
