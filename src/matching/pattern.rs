//! A user's regular expression: linear in time wherever its syntax allows it,
//! bounded in its steps where it does not.

use super::bounded::{Bounded, Budget};
use super::example;
use super::text;

/// A regular expression, found anywhere in a text unless it is anchored.
///
/// Bytes that are not valid UTF-8 are read as Latin-1. A pattern never matches in a
/// line longer than 16 KiB, nor in one longer than 4 KiB if it is compiled to more than
/// 128 KiB or has look-around or back-references; one of these never matches after it
/// has stepped back 100,000 times in the lines before (`docs/filters.md`, Bounds).
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

/// The longest line that a pattern of ordinary size examines, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The longest line that any other pattern examines, in bytes: each byte may cost as
/// much as the compiled pattern is long.
const MAX_LINE_BYTES_OF_LARGE: usize = 4 * 1024;

/// The size up to which a compiled pattern is an ordinary one, in bytes.
const ORDINARY_SIZE: usize = 128 * 1024;

/// The largest size of a compiled pattern, in bytes: a UUID as `[\w-]{36}` needs 1.8 MB,
/// because `\w` is any letter of any language.
pub(super) const MAX_SIZE: usize = 2 * 1024 * 1024;

#[derive(Clone, Debug)]
enum Engine {
    /// Linear in the line, and the longest line that it examines, in bytes.
    Linear(regex::bytes::Regex, usize),
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
        let sized = |size| regex::bytes::RegexBuilder::new(&source).size_limit(size).build();
        let engine = match sized(ORDINARY_SIZE) {
            Ok(regex) => Engine::Linear(regex, MAX_LINE_BYTES),
            Err(regex::Error::CompiledTooBig(_)) => {
                let large = sized(MAX_SIZE).map_err(|_| too_large(text))?;
                Engine::Linear(large, MAX_LINE_BYTES_OF_LARGE)
            }
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

    /// Whether a long line may cost milliseconds.
    pub const fn is_slow(&self) -> bool {
        !matches!(self.engine, Engine::Linear(_, MAX_LINE_BYTES))
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

/// Why a pattern is refused that would be compiled to more than [`MAX_SIZE`].
pub(super) fn too_large(text: &str) -> String {
    format!(
        "`{text}` is too large once compiled: repeat less, or replace `\\w` and `\\d`, which are those of every \
         language, by `[0-9A-Za-z_]` and `[0-9]`"
    )
}

// === impl Search ===

impl Search<'_> {
    /// Whether the pattern occurs in `line`.
    pub fn is_match(&mut self, line: &[u8]) -> bool {
        match self.engine {
            Engine::Linear(_, longest) if line.len() > *longest => false,
            Engine::Linear(regex, _) => regex.is_match(text::from_bytes(line).as_bytes()),
            Engine::Bounded(_) if line.len() > MAX_LINE_BYTES_OF_LARGE => false,
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
        assert!(matches!(pattern("^a+b$").engine, Engine::Linear(..)));
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
    fn the_longest_line_follows_from_the_size_of_the_compiled_pattern() {
        for (text, longest) in [
            ("x$", MAX_LINE_BYTES),
            (r"[\w-]{36}x$", MAX_LINE_BYTES_OF_LARGE),
            ("(?=x)x$", MAX_LINE_BYTES_OF_LARGE),
        ] {
            for (length, matches) in [(longest, true), (longest + 1, false)] {
                let line = [vec![b'y'; length - 1], vec![b'x']].concat();
                assert_eq!(pattern(text).search().is_match(&line), matches, "{text} {length}");
            }
        }
    }

    #[test]
    fn a_pattern_that_is_large_once_compiled_is_refused() {
        for text in [r"\w{200}", "(?:a{1000}){1000}", r"(?=x)\w{200}"] {
            let error = Pattern::compile(text, Case::Ignored).unwrap_err();
            assert!(error.contains("too large once compiled"), "{text}: {error}");
        }
    }

    #[test]
    fn an_empty_or_broken_pattern_is_refused() {
        let error = |text| Pattern::compile(text, Case::Matters).unwrap_err();
        assert!(error("").contains("empty pattern"));
        assert!(error("(").contains("not a valid regular expression"));
    }
}
