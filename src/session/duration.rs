//! Durations as people type them: `90s`, `1h 30m`, or a number of a field's
//! own unit. The one grammar of flags, variables and labels.

use std::fmt;
use std::time::Duration;

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// A number with more digits than can be counted.
    TooLong,
    /// Neither a number nor a duration with units.
    Unreadable,
}

// === impl Unit ===

impl Unit {
    /// A whole number of this unit, at most as much as a [`Duration`] holds.
    pub fn times(self, number: u64) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(number),
            Self::Minutes => Duration::from_secs(number.saturating_mul(60)),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
        })
    }
}

/// Reads a number of `unit`, or a duration with units of its own.
pub fn duration(text: &str, unit: Unit) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return with_units(text).ok_or(DurationError::Unreadable);
    }
    text.parse().map(|number| unit.times(number)).map_err(|_| DurationError::TooLong)
}

/// humantime panics where the sum is slightly above what a [`Duration`] holds.
/// The limits on letters and on digits in a row keep every sum far below that.
fn with_units(text: &str) -> Option<Duration> {
    const MAX_LETTERS: usize = 64;
    const MAX_DIGITS: usize = 10;
    let is_short = |number: &str| number.len() <= MAX_DIGITS;
    if text.len() > MAX_LETTERS || !text.split(|letter: char| !letter.is_ascii_digit()).all(is_short) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_counts_the_unit_and_units_are_read_as_written() {
        for (text, minutes, seconds) in
            [("5", 300, 5), (" 5 ", 300, 5), ("90s", 90, 90), ("1h 30m", 5400, 5400)]
        {
            assert_eq!(duration(text, Unit::Minutes), Ok(Duration::from_secs(minutes)), "{text}");
            assert_eq!(duration(text, Unit::Seconds), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-5", "1.5", "soon", "5 m m"] {
            assert_eq!(duration(text, Unit::Seconds), Err(DurationError::Unreadable), "{text}");
        }
        assert_eq!(duration("99999999999999999999", Unit::Seconds), Err(DurationError::TooLong));
    }

    #[test]
    fn a_sum_above_what_a_duration_holds_does_not_panic() {
        // Found by tests/fuzz: the library panicked.
        assert_eq!(duration("18446744073709551615.1s0.9s", Unit::Seconds), Err(DurationError::Unreadable));
        let most = "9999999999y 9999999999y 9999999999y 9999999999y 9999999999y";
        assert!(duration(most, Unit::Seconds).is_ok());
    }
}
