//! A user's regular expression: linear in time wherever its syntax allows it,
//! bounded in its steps where it does not.

use super::bounded::{Bounded, Budget, MAX_LINE_BYTES};
use super::example;
use super::text;

/// A regular expression, found anywhere in a text unless it is anchored.
///
/// Bytes that are not valid UTF-8 are read as Latin-1. A pattern with look-around
/// or back-references never matches in a line longer than 4 KiB, nor after it has
/// stepped back 100,000 times in the lines before (`docs/filters.md`, Bounds).
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    case: Case,
    engine: Engine,
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` does not match `A`.
    Matters,
    /// `a` matches `A`.
    Ignored,
}

#[derive(Clone, Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    Bounded(Bounded),
}

/// One pattern tried on several lines that belong together, with one budget of
/// steps for all of them.
#[derive(Debug)]
pub struct Search<'a> {
    engine: &'a Engine,
    budget: Budget,
}

// === impl Pattern ===

impl Pattern {
    /// Compiles `text`; flags in it (`(?i)`) are stronger than `case`. The error
    /// says why it cannot be used.
    pub fn compile(text: &str, case: Case) -> Result<Self, String> {
        if text.is_empty() {
            // Never intended: it would match everything.
            return Err("an empty pattern would match everything".to_owned());
        }
        let source = match case {
            Case::Ignored => format!("(?i){text}"),
            Case::Matters => text.to_owned(),
        };
        let engine = match regex::bytes::Regex::new(&source) {
            Ok(regex) => Engine::Linear(regex),
            Err(_) => Engine::Bounded(Bounded::compile(&source, text)?),
        };
        Ok(Self { text: text.to_owned(), case, engine })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Starts a search with a full budget of steps.
    pub const fn search(&self) -> Search<'_> {
        Search { engine: &self.engine, budget: Budget::new() }
    }

    /// A text in which the pattern probably occurs: the caller has to try it.
    /// `None` for a pattern with look-around or back-references.
    pub fn example(&self) -> Option<String> {
        example::of(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.case == other.case
    }
}

impl Eq for Pattern {}

// === impl Search ===

impl Search<'_> {
    /// Whether the pattern occurs in `line`.
    pub fn is_match(&mut self, line: &[u8]) -> bool {
        match self.engine {
            Engine::Linear(regex) => regex.is_match(text::from_bytes(line).as_bytes()),
            Engine::Bounded(_) if line.len() > MAX_LINE_BYTES => false,
            Engine::Bounded(bounded) => bounded.is_match(&text::from_bytes(line), &mut self.budget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::compile(text, Case::Ignored).unwrap()
    }

    #[test]
    fn look_around_is_understood_and_other_patterns_are_linear() {
        assert!(matches!(pattern("^a+b$").engine, Engine::Linear(_)));
        let ahead = pattern("^x-user: (?!bot)");
        assert!(matches!(ahead.engine, Engine::Bounded(_)));
        assert!(ahead.search().is_match(b"X-User: ann"));
        assert!(!ahead.search().is_match(b"X-User: bot-7"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_matched_as_latin1() {
        assert!(pattern("^x: .*key").search().is_match(b"x: ok key"));
        for text in ["key$", "^x: .. key$", "^x: [^a]+ key$", "^x: \u{ff}\u{fa} key$", "^x: \\w\\w key$"] {
            for text in [text.to_owned(), format!("(?!z){text}")] {
                assert!(pattern(&text).search().is_match(b"x: \xff\xfa key"), "{text}");
            }
        }
    }

    #[test]
    fn an_empty_or_broken_pattern_is_refused() {
        let error = |text| Pattern::compile(text, Case::Matters).unwrap_err();
        assert!(error("").contains("empty pattern"));
        assert!(error("(").contains("not a valid regular expression"));
    }
}
