//! A user's regular expression: case-insensitive for heads, linear in time
//! wherever the pattern allows it, bounded where it does not.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How many steps back a pattern with look-around or back-references may take
/// over all the lines of one head: some milliseconds. Past it nothing matches.
const MAX_BACKTRACKS: usize = 100_000;

/// The engine tells whether it has taken more steps than so many, not how many:
/// few are tried first, so that plain lines cost little of the whole.
const TRIES: [usize; 3] = [1_000, 10_000, MAX_BACKTRACKS];

/// A run that was not cut off is taken to have cost this part of what it may.
const USUAL_PART: usize = 4;

/// A step back may read the line again: it counts once more for each stretch of
/// this length, in bytes.
const STRETCH_BYTES: usize = 512;

/// A longer line is not given to a pattern with look-around or back-references,
/// in bytes: a step back there may cost as much as the line is long.
const MAX_BOUNDED_BYTES: usize = 4 * 1024;

/// A regular expression over text. Bytes that are no UTF-8 are each a Latin-1
/// character.
///
/// One with look-around or back-references is bounded in its work: it never
/// matches in a line longer than 4 KiB, nor once it has stepped back too often
/// in the lines before.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Linear(regex::bytes::Regex),
    /// One for each of [`TRIES`].
    Bounded(Vec<fancy_regex::Regex>),
}

/// One pattern tried on the lines of one head, with one budget for all of them.
pub(super) struct Search<'a> {
    engine: &'a Engine,
    budget: usize,
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
        } else if has_calls(text) {
            return Err(format!(
                "`{text}` calls a group of its own again: that could take any amount of memory"
            ));
        } else {
            let bounded = |limit| fancy_regex::RegexBuilder::new(&source).backtrack_limit(limit).build();
            let tries = TRIES.into_iter().map(bounded).collect::<Result<_, _>>();
            tries.map(Engine::Bounded).map_err(|error| {
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

    /// Begins with one head.
    pub(super) const fn search(&self) -> Search<'_> {
        Search { engine: &self.engine, budget: MAX_BACKTRACKS }
    }
}

// === impl Search ===

impl Search<'_> {
    /// Whether the pattern occurs in `bytes`.
    pub(super) fn is_match(&mut self, bytes: &[u8]) -> bool {
        let text = characters(bytes);
        match self.engine {
            Engine::Linear(regex) => regex.is_match(text.as_bytes()),
            Engine::Bounded(_) if bytes.len() > MAX_BOUNDED_BYTES => false,
            Engine::Bounded(regexes) => {
                let weight = 1 + text.len() / STRETCH_BYTES;
                for (regex, limit) in regexes.iter().zip(TRIES) {
                    let cost = limit * weight;
                    if limit < 2 * text.len() {
                        // Looking at each place of the line alone would use it up.
                        continue;
                    }
                    if self.budget == 0 || cost > MAX_BACKTRACKS {
                        return false;
                    }
                    let found = regex.is_match(&*text);
                    let cost = if found.is_ok() { cost / USUAL_PART } else { cost };
                    self.budget = self.budget.saturating_sub(cost);
                    if let Ok(found) = found {
                        return found;
                    }
                }
                false
            }
        }
    }
}

/// Whether a pattern calls one of its groups (`(?P>name)`, `(?1)`, `\g<1>`).
/// Each call is a copy, calls in what is called multiply, and a few dozen
/// characters come to gigabytes.
fn has_calls(text: &str) -> bool {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let rest = &text[at + character.len_utf8()..];
        let is_call = match character {
            '\\' => characters.next().is_some_and(|(_, escaped)| escaped == 'g'),
            '(' => rest.strip_prefix('?').is_some_and(|rest| {
                let numbered = rest.trim_start_matches(['+', '-']);
                rest.starts_with(['&', 'R'])
                    || rest.starts_with("P>")
                    || numbered.starts_with(|first: char| first.is_ascii_digit())
            }),
            _ => false,
        };
        if is_call {
            return true;
        }
    }
    false
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
    fn calls_of_groups_are_refused_before_they_multiply() {
        // The last one was found by fuzzing: a gigabyte for 100 characters.
        for text in [
            r"(?<a>x)(?P>a)(?=y)",
            r"(x)(?1)(?=y)",
            r"(x)(?-1)(?=y)",
            r"(x)\g<1>(?=y)",
            r"x(?R)?(?=y)",
            r"(yx...................-user(6im-.......-user(6im-(: )?ua(a)|b)(?P>1)*(: )?ua(a)|b)(?P>2)*b)ethod",
        ] {
            let error = Pattern::compile(text, Case::Ignored).unwrap_err();
            assert!(error.contains("calls a group"), "{text}: {error}");
        }
        for text in [r"(?-i)a(?=b)", r"(?i:a)(?!b)", r"a\\(?=g)", r"(?<a>x)\k<a>"] {
            assert!(Pattern::compile(text, Case::Ignored).is_ok(), "{text}");
        }
    }

    #[test]
    fn look_around_is_understood_and_plain_patterns_stay_linear() {
        assert!(matches!(pattern("^a+b$").engine, Engine::Linear(_)));
        let ahead = pattern("^x-user: (?!bot)");
        assert!(matches!(ahead.engine, Engine::Bounded(_)));
        assert!(ahead.search().is_match(b"X-User: ann"));
        assert!(!ahead.search().is_match(b"X-User: bot-7"));
    }

    #[test]
    fn a_pattern_that_explodes_is_cut_off_and_does_not_match() {
        let evil = pattern("^(?=(a+)+$)b");
        let line = [b"a".repeat(60), b"!".to_vec()].concat();
        let start = Instant::now();
        assert!(!evil.search().is_match(&line));
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn many_lines_of_one_head_cost_no_more_than_one() {
        for (text, line) in [
            ("^(?=(a+)+$)b", [b"a".repeat(60), b"!".to_vec()].concat()),
            ("(?=x)(a|a)*b|(?=(a|a|.)*$)z", b"a".repeat(1_000)),
            ("(?!z)(a*)*c", b"a".repeat(63)),
        ] {
            let evil = pattern(text);
            let start = Instant::now();
            assert!(!evil.search().is_match(&line));
            let one = start.elapsed();
            let (start, mut search) = (Instant::now(), evil.search());
            assert!((0..2_000).all(|_| !search.is_match(&line)));
            let all = start.elapsed();
            assert!(all < one * 60 + Duration::from_millis(500), "{text}: {all:?}, one {one:?}");
        }
    }

    #[test]
    fn look_around_finds_its_line_behind_many_others_and_in_no_long_one() {
        let ahead = pattern("^x-user: (?!bot)");
        let mut search = ahead.search();
        for length in [40, 400].repeat(50).into_iter().chain([3_000; 3]) {
            assert!(!search.is_match(&[b"x-other: ".to_vec(), vec![b'y'; length]].concat()));
        }
        assert!(search.is_match(b"x-user: ann"));
        let long = [b"x-user: ann".to_vec(), vec![b'y'; MAX_BOUNDED_BYTES]].concat();
        assert!(!ahead.search().is_match(&long));
        assert!(pattern("^x-user: ann").search().is_match(&long), "linear ones know no such bound");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_matched_all_the_same() {
        assert!(pattern("^x: .*key").search().is_match(b"x: ok key"));
        for text in ["key$", "^x: .. key$", "^x: [^a]+ key$", "^x: \u{ff}\u{fa} key$", "^x: \\w\\w key$"] {
            for text in [text.to_owned(), format!("(?!z){text}")] {
                assert!(pattern(&text).search().is_match(b"x: \xff\xfa key"), "{text}");
            }
        }
    }

    #[test]
    fn an_empty_or_broken_pattern_is_refused() {
        assert!(Pattern::try_from(String::new()).is_err());
        assert!(Pattern::try_from("(".to_owned()).unwrap_err().contains("no regular expression"));
    }
}
