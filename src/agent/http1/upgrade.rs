//! `Upgrade: h2c` in a matched request: a preview that took it would have the
//! whole connection, and everybody's requests that follow on it. It is asked
//! for something that nobody speaks instead, so that requests stay HTTP/1, and
//! each is judged by itself. A server may ignore an `Upgrade` as it likes.

/// What takes the token's place, as long as it is.
const NOTHING: &[u8] = b"no-";

/// Spoils `h2c` in the `Upgrade` headers of a head; other protocols stay, and so do all lengths.
pub(super) fn refuse_h2c(head: &mut [u8]) {
    for line in head.split_mut(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at_mut(colon);
        if !name.eq_ignore_ascii_case(b"upgrade") {
            continue;
        }
        for token in value[1..].split_mut(|byte| *byte == b',') {
            let Some(start) = token.iter().position(|byte| !byte.is_ascii_whitespace()) else { continue };
            if let Some(token) = token[start..].first_chunk_mut::<3>()
                && token.eq_ignore_ascii_case(b"h2c")
            {
                token.copy_from_slice(NOTHING);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2c_is_spoilt_wherever_it_is_offered_and_nothing_else_is() {
        for (head, spoilt) in [
            ("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "GET / HTTP/1.1\r\nUpgrade: no-\r\n\r\n"),
            (
                "GET / HTTP/1.1\r\nupgrade:websocket ,\tH2C, h2c-16\r\n\r\n",
                "GET / HTTP/1.1\r\nupgrade:websocket ,\tno-, no--16\r\n\r\n",
            ),
            (
                "GET /h2c HTTP/1.1\r\nX: h2c\r\nUpgrade: \r\n\r\n",
                "GET /h2c HTTP/1.1\r\nX: h2c\r\nUpgrade: \r\n\r\n",
            ),
            ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
        ] {
            let mut bytes = head.as_bytes().to_vec();
            refuse_h2c(&mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), spoilt);
        }
    }
}
