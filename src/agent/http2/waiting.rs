//! Data of one stream that has come and has no room yet on its way out. How
//! much there can be, the stream's window says; in how many pieces, the sender.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces shorter than this are put together: each costs more than its bytes.
const SMALL_BYTES: usize = 4 * 1024;

/// Pieces in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: VecDeque<Bytes>,
    /// Small ones that came behind them.
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

    /// One more piece, behind all others.
    pub(super) fn push(&mut self, piece: Bytes) {
        let was_empty = self.is_empty();
        self.bytes += piece.len();
        if piece.is_empty() {
            return;
        }
        // One that nothing else waits with leaves as it is, most of the time at once.
        if piece.len() < SMALL_BYTES && !was_empty {
            self.small.extend_from_slice(&piece);
            return;
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    /// Up to so many bytes of the first piece.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        let taken = match self.pieces.front_mut() {
            None => self.small.split_to(most.min(self.small.len())).freeze(),
            Some(first) if first.len() > most => first.split_to(most),
            Some(_) => self.pieces.pop_front().unwrap_or_default(),
        };
        self.bytes -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_in_their_order_whatever_their_sizes() {
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
    fn many_small_pieces_are_few() {
        let mut waiting = Waiting::default();
        (0..10_000).for_each(|_| waiting.push(Bytes::from_static(b"x")));
        assert_eq!((waiting.take(1).len(), waiting.take(20_000).len()), (1, 9_999));
        assert!(waiting.is_empty());
    }
}
