//! `Upgrade: h2c` in a matched request. A preview that accepted it would get the
//! whole connection, with all later requests of all sessions. The agent therefore
//! replaces the token by one that no server knows: requests stay HTTP/1, and each
//! is judged. A server may always ignore an `Upgrade`.

/// The replacement for `h2c`, of the same length.
const UNKNOWN: &[u8] = b"no-";

/// Replaces `h2c` in the `Upgrade` headers of a head. Other protocols and all
/// lengths stay as they are.
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
                token.copy_from_slice(UNKNOWN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2c_is_replaced_in_upgrade_headers_only() {
        for (head, replaced) in [
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
            assert_eq!(String::from_utf8(bytes).unwrap(), replaced);
        }
    }
}
