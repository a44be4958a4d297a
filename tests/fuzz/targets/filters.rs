//! A filter, a zero byte, a request head and its body: the request is judged
//! within the time limit, and alike after the filter was written and read again.
#![no_main]

use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Request, Status};
use mirrord::traffic::filter::Body;
use mirrord::traffic::{Answer, Filter, Head};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (Some(filter), Some(request)) = (parts.next(), parts.next()) else { return };
    let Ok(filter) = serde_json::from_slice::<Filter>(filter) else { return };
    let again: Filter = serde_json::from_value(serde_json::to_value(&filter).unwrap()).unwrap();
    assert_eq!(again, filter);
    let mut headers = [EMPTY_HEADER; 32];
    let mut parsed = Request::new(&mut headers);
    let Ok(Status::Complete(length)) = parsed.parse(request) else { return };
    let head = Head {
        method: parsed.method.unwrap_or_default(),
        target: parsed.path.unwrap_or_default(),
        authority: None,
        headers: parsed.headers,
    };
    // The agent suspends a filter after 50 ms; a fuzzed one on a busy machine gets more.
    let begun = Instant::now();
    let is_over = || begun.elapsed() > Duration::from_secs(1);
    let unread = filter.judge(&head, Body::Unread, &is_over);
    let whole = filter.judge(&head, Body::Whole(&request[length..]), &is_over);
    let once_more = again.judge(&head, Body::Whole(&request[length..]), &is_over);
    if is_over() {
        return;
    }
    assert_eq!(once_more, whole);
    assert!(matches!(whole, Answer::Yes | Answer::No), "the whole request has an answer");
    if let Answer::Yes | Answer::No = unread {
        assert_eq!(unread, whole, "an answer does not change with the body");
    }
});
