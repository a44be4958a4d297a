//! The time to live of an environment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::duration::{DurationError, Unit, duration};

/// A time to live, counted from the environment's readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The environment expires after this time: whole seconds, at least one.
    Finite(Duration),
    /// The environment lives until it is stopped.
    Infinite,
}

/// Why a text or a number is not a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TtlError {
    /// Zero, or less than a second.
    #[error("a time to live must be at least a second")]
    Zero,
    /// A number with more digits than a u64 holds.
    #[error("it is too large; for a time to live without end use `infinite`")]
    TooLong,
    /// Neither a number of this unit, nor a duration, nor `infinite`.
    #[error("a time to live is {0} as a number, a duration like `90s` or `2h`, or `infinite`")]
    Unreadable(Unit),
}

// === impl Ttl ===

impl Ttl {
    /// The default: one hour.
    pub const DEFAULT: Self = Self::Finite(Duration::from_hours(1));

    /// mirrord's own value for "infinite": the largest u32, in seconds.
    const INFINITE_SECONDS: u64 = u32::MAX as u64;

    /// A time to live of `seconds`; 2^32-1 and more are infinite, as in mirrord.
    pub fn from_seconds(seconds: u64) -> Result<Self, TtlError> {
        match seconds {
            0 => Err(TtlError::Zero),
            Self::INFINITE_SECONDS.. => Ok(Self::Infinite),
            _ => Ok(Self::Finite(Duration::from_secs(seconds))),
        }
    }

    /// A time to live of `minutes`.
    pub fn from_minutes(minutes: u64) -> Result<Self, TtlError> {
        Self::from_seconds(Unit::Minutes.times(minutes).as_secs())
    }

    /// Reads `infinite`, a number of `unit`, or a duration like `90s` or `2h`.
    pub fn read(text: &str, unit: Unit) -> Result<Self, TtlError> {
        if text.trim().eq_ignore_ascii_case("infinite") {
            return Ok(Self::Infinite);
        }
        let life = duration(text, unit).map_err(|error| match error {
            DurationError::TooLong => TtlError::TooLong,
            DurationError::Unreadable => TtlError::Unreadable(unit),
        })?;
        Self::from_seconds(life.as_secs())
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

/// As on the command line: a bare number counts minutes.
impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        Self::read(text, Unit::Minutes)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(life) => humantime::format_duration(*life).fmt(formatter),
            Self::Infinite => formatter.write_str("infinite"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_durations_and_infinite_are_read() {
        let seconds = |seconds| Ok(Ttl::Finite(Duration::from_secs(seconds)));
        let unreadable = TtlError::Unreadable(Unit::Minutes);
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
            ("", Err(unreadable)),
            ("-5", Err(unreadable)),
            ("1.5", Err(unreadable)),
            ("soon", Err(unreadable)),
            ("99999999999999999999", Err(TtlError::TooLong)),
            // Found by tests/fuzz: the library panicked.
            ("18446744073709551615.1s0.9s", Err(unreadable)),
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
