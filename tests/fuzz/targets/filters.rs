//! A filter, a zero byte, a request head and its body: the request is judged
//! within the time limit, and alike after the filter was written and read again.
#![no_main]

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
    let unread = filter.judge(&head, Body::Unread);
    let whole = filter.judge(&head, Body::Whole(&request[length..]));
    assert_eq!(again.judge(&head, Body::Whole(&request[length..])), whole);
    assert!(matches!(whole, Answer::Yes | Answer::No), "the whole request has an answer");
    if let Answer::Yes | Answer::No = unread {
        assert_eq!(unread, whole, "an answer does not change with the body");
    }
});
