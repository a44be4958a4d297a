//! How long an environment lives.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::duration::{DurationError, Unit, duration};

/// The life of an environment, counted from its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Ends by itself after this time, in whole seconds, at least one.
    Finite(Duration),
    /// Ends when it is stopped.
    Infinite,
}

/// Why a text or a number is not a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlError {
    /// Zero, or less than a second.
    Zero,
    /// A number with more digits than can be counted.
    TooLong,
    /// Neither a number of this unit, nor a duration, nor `infinite`.
    Unreadable(Unit),
}

// === impl Ttl ===

impl Ttl {
    /// Where no source sets one: one hour.
    pub const DEFAULT: Self = Self::Finite(Duration::from_hours(1));

    /// mirrord's mark for a life without end: the largest number of seconds in a u32.
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

// === impl TtlError ===

impl fmt::Display for TtlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => formatter.write_str("a time to live must be at least a second"),
            Self::TooLong => formatter.write_str("it is too large; a time to live without end is `infinite`"),
            Self::Unreadable(unit) => write!(
                formatter,
                "a time to live is {unit} as a number, a duration like `90s` or `2h`, or `infinite`"
            ),
        }
    }
}

impl std::error::Error for TtlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read() {
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
