//! How much memory the copies for one session may take while they wait for its
//! preview.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that may wait for one session's preview before copies are dropped.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that each piece of a copy costs beside its content: bodies may arrive in
/// pieces of one byte.
const PIECE_BYTES: usize = 128;

/// The budget of one session, shared by all of its copies.
#[derive(Clone, Debug, Default)]
pub(super) struct CopyBudget(Arc<AtomicUsize>);

/// Bytes taken out of a budget. Dropped, they go back.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: CopyBudget,
    bytes: usize,
}

// === impl CopyBudget ===

impl CopyBudget {
    /// Takes out a piece of so many bytes, if it fits.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.extend(bytes).then_some(reservation)
    }

    #[cfg(test)]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

// === impl Reservation ===

impl Reservation {
    /// Adds a piece of so many bytes, if it fits.
    pub(super) fn extend(&mut self, bytes: usize) -> bool {
        let bytes = bytes + PIECE_BYTES;
        let fits = |reserved: usize| Some(reserved + bytes).filter(|total| *total <= MAX_BYTES);
        let is_taken = self.budget.0.fetch_update(Relaxed, Relaxed, fits).is_ok();
        if is_taken {
            self.bytes += bytes;
        }
        is_taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_use_up_the_budget_too_and_return_all_of_it() {
        let budget = CopyBudget::default();
        assert!(budget.reserve(MAX_BYTES).is_none(), "a piece costs more than its bytes");
        let pieces: Vec<_> = std::iter::from_fn(|| budget.reserve(1)).collect();
        assert!((1_000..40_000).contains(&pieces.len()), "{}", pieces.len());
        drop(pieces);
        assert_eq!(budget.reserved_bytes(), 0);
        assert!(budget.reserve(MAX_BYTES - PIECE_BYTES).is_some());
    }
}
