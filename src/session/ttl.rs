//! How long an environment lives.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The life of an environment, counted from its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Ends by itself after this time, in whole seconds, at least one.
    Finite(Duration),
    /// Ends when it is stopped.
    Infinite,
}

/// Why a text or a number is no time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlError {
    /// Zero, or less than a second.
    Zero,
    /// More minutes than can be counted.
    TooLong,
    /// Neither minutes, nor a duration, nor `infinite`.
    Unreadable,
}

// === impl Ttl ===

impl Ttl {
    /// Without anybody's wish: one hour.
    pub const DEFAULT: Self = Self::Finite(Duration::from_hours(1));

    /// mirrord's own mark for "for ever": as many seconds as a u32 holds.
    const FOR_EVER: u64 = u32::MAX as u64;

    /// A life of `seconds`; 2^32-1 and more are infinite, as in mirrord.
    pub fn from_seconds(seconds: u64) -> Result<Self, TtlError> {
        match seconds {
            0 => Err(TtlError::Zero),
            Self::FOR_EVER.. => Ok(Self::Infinite),
            _ => Ok(Self::Finite(Duration::from_secs(seconds))),
        }
    }

    /// A life of `minutes`.
    pub fn from_minutes(minutes: u64) -> Result<Self, TtlError> {
        Self::from_seconds(minutes.saturating_mul(60))
    }

    /// The value of the label: `3600s` or `infinite`.
    pub fn label_value(self) -> String {
        match self {
            Self::Finite(life) => format!("{}s", life.as_secs()),
            Self::Infinite => "infinite".to_owned(),
        }
    }

    /// Reads the value of the label.
    pub fn from_label_value(value: &str) -> Option<Self> {
        if value == "infinite" {
            return Some(Self::Infinite);
        }
        Self::from_seconds(value.strip_suffix('s')?.parse().ok()?).ok()
    }
}

/// As on the command line: minutes as a number, `90s`, `2h`, or `infinite`.
impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("infinite") {
            return Ok(Self::Infinite);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_number = !text.is_empty();
            let minutes = text.parse();
            return Self::from_minutes(
                minutes.map_err(|_| if is_number { TtlError::TooLong } else { TtlError::Unreadable })?,
            );
        }
        let life = duration(text).ok_or(TtlError::Unreadable)?;
        Self::from_seconds(life.as_secs())
    }
}

/// A duration as people type it: `90s`, `1h 30m`.
///
/// The library panics where the whole is a hair above what a [`Duration`]
/// holds. With so few letters, and so few digits in a row, it never comes near.
pub fn duration(text: &str) -> Option<Duration> {
    const MAX_LETTERS: usize = 64;
    const MAX_DIGITS: usize = 10;
    let is_short = |number: &str| number.len() <= MAX_DIGITS;
    if text.len() > MAX_LETTERS || !text.split(|letter: char| !letter.is_ascii_digit()).all(is_short) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

impl fmt::Display for Ttl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(life) => humantime::format_duration(*life).fmt(formatter),
            Self::Infinite => formatter.write_str("infinite"),
        }
    }
}

// === impl TtlError ===

impl fmt::Display for TtlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Zero => "a time to live must be at least a second",
            Self::TooLong => "it is too large; a time to live without end is `infinite`",
            Self::Unreadable => {
                "a time to live is minutes as a number, a duration like `90s` or `2h`, or `infinite`"
            }
        })
    }
}

impl std::error::Error for TtlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read() {
        let seconds = |seconds| Ok(Ttl::Finite(Duration::from_secs(seconds)));
        for (text, ttl) in [
            ("1", seconds(60)),
            ("90", seconds(5400)),
            ("90s", seconds(90)),
            ("2h", seconds(7200)),
            ("1h 30m", seconds(5400)),
            ("infinite", Ok(Ttl::Infinite)),
            ("INFINITE", Ok(Ttl::Infinite)),
            ("4294967295s", Ok(Ttl::Infinite)),
            ("18446744073709551615", Ok(Ttl::Infinite)),
            ("0", Err(TtlError::Zero)),
            ("0s", Err(TtlError::Zero)),
            ("500ms", Err(TtlError::Zero)),
            ("", Err(TtlError::Unreadable)),
            ("-5", Err(TtlError::Unreadable)),
            ("1.5", Err(TtlError::Unreadable)),
            ("soon", Err(TtlError::Unreadable)),
            ("99999999999999999999", Err(TtlError::TooLong)),
            // Found by tests/fuzz: the library panicked.
            ("18446744073709551615.1s0.9s", Err(TtlError::Unreadable)),
            ("9999999999y 9999999999y 9999999999y 9999999999y 9999999999y", Ok(Ttl::Infinite)),
        ] {
            assert_eq!(text.parse::<Ttl>(), ttl, "{text}");
        }
    }

    #[test]
    fn the_label_survives_a_round_trip() {
        for ttl in [Ttl::DEFAULT, Ttl::Infinite] {
            assert_eq!(Ttl::from_label_value(&ttl.label_value()), Some(ttl));
        }
        for value in ["", "s", "3600", "0s", "x"] {
            assert_eq!(Ttl::from_label_value(value), None, "{value}");
        }
    }
}
