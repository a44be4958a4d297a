//! A user's regular expression: case-insensitive for heads, linear in time
//! wherever the pattern allows it, bounded where it does not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How many steps a pattern with look-around or back-references may take on
/// one line: some milliseconds. Past it the line does not match.
const MAX_BACKTRACKS: usize = 100_000;

/// A regular expression over bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    Bounded(Box<fancy_regex::Regex>),
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug)]
pub(super) enum Case {
    Matters,
    Ignored,
}

// === impl Pattern ===

impl Pattern {
    /// Compiles `text`, which says by itself whether case matters.
    pub(super) fn compile(text: &str, case: Case) -> Result<Self, String> {
        if text.is_empty() {
            // It would match everything, which nobody types on purpose.
            return Err("an empty pattern would match every request".to_owned());
        }
        let source = match case {
            Case::Ignored => format!("(?i){text}"),
            Case::Matters => text.to_owned(),
        };
        let engine = if let Ok(regex) = regex::bytes::Regex::new(&source) {
            Engine::Linear(regex)
        } else {
            fancy_regex::RegexBuilder::new(&source)
                .backtrack_limit(MAX_BACKTRACKS)
                .build()
                .map(|regex| Engine::Bounded(Box::new(regex)))
                .map_err(|error| {
                    // Positions are those of what was written.
                    let error = fancy_regex::Regex::new(text).err().unwrap_or(error);
                    format!("`{text}` is no regular expression: {error}")
                })?
        };
        Ok(Self { text: text.to_owned(), engine })
    }

    /// The pattern as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern occurs in `bytes`.
    pub(super) fn is_match(&self, bytes: &[u8]) -> bool {
        match &self.engine {
            Engine::Linear(regex) => regex.is_match(bytes),
            Engine::Bounded(regex) => regex.is_match(&*characters(bytes)).unwrap_or(false),
        }
    }
}

/// The bytes as text: UTF-8 where they are, else each byte as the Latin-1
/// character that it was in HTTP's first days. Nothing is lost either way.
pub(super) fn characters(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::compile(&text, Case::Ignored)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn look_around_is_understood_and_plain_patterns_stay_linear() {
        assert!(matches!(pattern("^a+b$").engine, Engine::Linear(_)));
        let ahead = pattern("^x-user: (?!bot)");
        assert!(matches!(ahead.engine, Engine::Bounded(_)));
        assert!(ahead.is_match(b"X-User: ann"));
        assert!(!ahead.is_match(b"X-User: bot-7"));
    }

    #[test]
    fn a_pattern_that_explodes_is_cut_off_and_does_not_match() {
        let evil = pattern("^(?=(a+)+$)b");
        let line = [b"a".repeat(60), b"!".to_vec()].concat();
        let start = Instant::now();
        assert!(!evil.is_match(&line));
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_matched_all_the_same() {
        assert!(pattern("^x: .*key").is_match(b"x: ok key"));
        assert!(pattern("key$").is_match(b"x: \xff\xfe key"));
        assert!(pattern("(?!z)key$").is_match(b"x: \xff\xfe key"));
    }

    #[test]
    fn an_empty_or_broken_pattern_is_refused() {
        assert!(Pattern::try_from(String::new()).is_err());
        assert!(Pattern::try_from("(".to_owned()).unwrap_err().contains("no regular expression"));
    }
}
