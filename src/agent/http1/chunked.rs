//! Where a chunked body ends. This parser is stricter than any server: bytes that
//! two parsers could read in two ways are an error, and make the connection a
//! tunnel.

/// The longest size line of a chunk, and the longest trailer section, that this
/// parser accepts.
const MAX_LINE_BYTES: u32 = 16 * 1024;

/// A place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the hexadecimal size: the value so far and its digits.
    Size { value: u64, digits: u8 },
    /// In the extensions behind the size, up to the CR.
    Extension { value: u64, bytes: u32 },
    /// The LF of a size line is next.
    SizeEnd { value: u64 },
    /// In the data.
    Data { left: u64 },
    /// The CR, then the LF behind the data.
    DataCr,
    /// The LF behind the data.
    DataLf,
    /// At the start of a trailer line, after so many bytes of trailers.
    TrailerStart { bytes: u32 },
    /// Inside a trailer line.
    Trailer { bytes: u32 },
    /// The LF of a trailer line is next.
    TrailerLf { bytes: u32 },
    /// The last LF of the body is next.
    LastLf,
    /// Behind the body.
    Done,
}

/// The body can be read in two ways, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadChunk;

// === impl Chunked ===

impl Chunked {
    /// Before the first chunk.
    pub(super) const START: Self = Self::Size { value: 0, digits: 0 };

    /// Reads on through `bytes` and returns how many of them belong to the body.
    /// Calls `data` with each piece of the content.
    pub(super) fn advance(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Done {
            if let Self::Data { left } = *self {
                let piece = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                data(&bytes[at..at + piece]);
                at += piece;
                self.skip(piece as u64);
            } else {
                *self = self.after(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Skips so many bytes of a chunk's data, at most the rest of it.
    pub(super) fn skip(&mut self, bytes: u64) {
        if let Self::Data { left } = self {
            *left -= bytes;
            if *left == 0 {
                *self = Self::DataCr;
            }
        }
    }

    fn after(self, byte: u8) -> Result<Self, BadChunk> {
        Ok(match (self, byte) {
            (Self::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(byte).to_digit(16).ok_or(BadChunk)?);
                // Fifteen digits are enough for a petabyte; sixteen could overflow a server's integer.
                if digits == 15 {
                    return Err(BadChunk);
                }
                Self::Size { value: value * 16 + digit, digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BadChunk),
            (Self::Size { value, .. }, b';') => Self::Extension { value, bytes: 1 },
            (Self::Size { value, .. } | Self::Extension { value, .. }, b'\r') => Self::SizeEnd { value },
            (Self::Extension { value, bytes }, _) if is_field(byte) && bytes < MAX_LINE_BYTES => {
                Self::Extension { value, bytes: bytes + 1 }
            }
            (Self::SizeEnd { value: 0 }, b'\n') => Self::TrailerStart { bytes: 0 },
            (Self::SizeEnd { value }, b'\n') => Self::Data { left: value },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::TrailerStart { .. }, b'\r') => Self::LastLf,
            // A line that starts with white space continues the last one: obsolete and ambiguous.
            (Self::TrailerStart { bytes } | Self::Trailer { bytes }, _)
                if is_field(byte)
                    && bytes < MAX_LINE_BYTES
                    && (matches!(self, Self::Trailer { .. }) || !byte.is_ascii_whitespace()) =>
            {
                Self::Trailer { bytes: bytes + 1 }
            }
            (Self::Trailer { bytes }, b'\r') => Self::TrailerLf { bytes },
            (Self::TrailerLf { bytes }, b'\n') => Self::TrailerStart { bytes },
            (Self::LastLf, b'\n') => Self::Done,
            _ => return Err(BadChunk),
        })
    }
}

/// Whether a line may hold the byte: visible characters, spaces, tabs, and bytes above ASCII.
const fn is_field(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(usize, bool, Vec<u8>), BadChunk> {
        let (mut place, mut content) = (Chunked::START, Vec::new());
        let used = place.advance(bytes, |piece| content.extend_from_slice(piece))?;
        Ok((used, place == Chunked::Done, content))
    }

    #[test]
    fn a_body_ends_where_its_last_chunk_and_trailers_end() {
        for (body, content) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5;a=b;c=\"d;e\"\r\nhello\r\n00\r\n\r\n", "hello"),
            ("A\r\n0123456789\r\n1\r\n!\r\n0\r\nx: y\r\nz:\r\n\r\n", "0123456789!"),
        ] {
            let more = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(
                read(more.as_bytes()),
                Ok((body.len(), true, content.as_bytes().to_vec())),
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_body_that_two_servers_could_read_in_two_ways_is_refused() {
        for body in [
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "+5\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5\n",
            "5\rhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\rX",
            "g\r\n",
            ";\r\n",
            "0\r\nx: y\n",
            "0\r\n x\r\n",
            "0\r\n\n",
            "5;a\nb\r\n",
            "5;a\0b\r\n",
            "1000000000000000\r\n",
            "0000000000000005\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Err(BadChunk), "{body:?}");
        }
    }

    proptest! {
        // More of them on demand: the default reads PROPTEST_CASES.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_result_does_not_depend_on_how_the_bytes_are_cut(
            bytes in prop::collection::vec(prop::sample::select(b"05aF;\r\n x:".to_vec()), 0..40),
            cuts in prop::collection::vec(0_usize..40, 0..6),
        ) {
            let whole = read(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut place, mut content, mut used) = (Chunked::START, Vec::new(), 0);
            let pieces: Result<(), BadChunk> = cuts.windows(2).try_for_each(|window| {
                used += place.advance(&bytes[window[0]..window[1]], |piece| content.extend_from_slice(piece))?;
                Ok(())
            });
            prop_assert_eq!(pieces.map(|()| (used, place == Chunked::Done, content)), whole);
        }
    }
}
