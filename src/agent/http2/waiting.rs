//! Data of one stream that was received and waits for room to be sent. The
//! stream's window limits its bytes; the sender decides their number of pieces.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces shorter than this are joined: each costs more than its bytes.
const SMALL_BYTES: usize = 4 * 1024;

/// Pieces in the order in which they were received.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: VecDeque<Bytes>,
    /// Small pieces that were received after them.
    small: BytesMut,
    bytes: usize,
}

// === impl Waiting ===

impl Waiting {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many bytes wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a piece behind all others.
    pub(super) fn push(&mut self, piece: Bytes) {
        let was_empty = self.is_empty();
        self.bytes += piece.len();
        if piece.is_empty() {
            return;
        }
        // A piece that waits alone is not copied: most of the time it leaves at once.
        if piece.len() < SMALL_BYTES && !was_empty {
            self.small.extend_from_slice(&piece);
            return;
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    /// Takes up to `most` bytes of the first piece.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        let taken = match self.pieces.front_mut() {
            None => self.small.split_to(most.min(self.small.len())).freeze(),
            Some(first) if first.len() > most => first.split_to(most),
            Some(_) => self.pieces.pop_front().expect("there is a first piece"),
        };
        self.bytes -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_leave_in_order() {
        let mut waiting = Waiting::default();
        let mut expected = Vec::new();
        for (number, length) in
            [1, 1, SMALL_BYTES, 3, 2, 0, SMALL_BYTES + 1, SMALL_BYTES, 1].into_iter().enumerate()
        {
            let piece = vec![u8::try_from(number).unwrap(); length];
            expected.extend_from_slice(&piece);
            waiting.push(piece.into());
        }
        assert_eq!(waiting.bytes(), expected.len());
        let mut left = Vec::new();
        for most in [1, 2, 700, 3].into_iter().cycle() {
            if waiting.is_empty() {
                break;
            }
            let taken = waiting.take(most);
            assert!(!taken.is_empty() && taken.len() <= most);
            left.extend_from_slice(&taken);
        }
        assert_eq!(left, expected);
    }

    #[test]
    fn many_small_pieces_are_joined() {
        let mut waiting = Waiting::default();
        (0..10_000).for_each(|_| waiting.push(Bytes::from_static(b"x")));
        assert_eq!((waiting.take(1).len(), waiting.take(20_000).len()), (1, 9_999));
        assert!(waiting.is_empty());
    }
}
