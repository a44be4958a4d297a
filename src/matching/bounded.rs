//! Regular expressions with look-around or back-references, bounded in the
//! steps that they may take.
//!
//! `fancy_regex` (0.20) fixes the limit of steps when a pattern is compiled and
//! does not tell how many steps a search took, only that it took more than the
//! limit. A budget for all lines of one head needs that number. So the pattern
//! is compiled with several limits, and a search is charged by the limit that
//! sufficed. A single engine would have to charge each line with the whole
//! limit, and could then examine only a handful of lines.

use super::pattern::{self, MAX_SIZE};

/// How many steps back a pattern may take over all lines of one head: some
/// milliseconds. Once they are used up, nothing matches.
const MAX_STEPS: usize = 100_000;

/// The limits that are tried in turn: with the small ones first, an ordinary
/// line costs little of the budget.
const LIMITS: [usize; 3] = [1_000, 10_000, MAX_STEPS];

/// A search that stayed below its limit is charged with the limit divided by
/// this.
const USUAL_PART: usize = 4;

/// A step back may read the line again, so it is charged once more for each
/// stretch of this length, in bytes.
const STRETCH_BYTES: usize = 512;

/// A compiled pattern: one engine for each of [`LIMITS`].
#[derive(Clone, Debug)]
pub(super) struct Bounded(Vec<fancy_regex::Regex>);

/// What is left of the steps for one head.
#[derive(Debug)]
pub(super) struct Budget(usize);

// === impl Bounded ===

impl Bounded {
    /// Compiles `source`. `text` is what the user wrote: positions in an error
    /// are positions in it.
    pub(super) fn compile(source: &str, text: &str) -> Result<Self, String> {
        if has_calls(text) {
            return Err(format!(
                "`{text}` calls one of its groups again, as `(?1)` does: such a pattern could take any amount of \
                 memory"
            ));
        }
        let with = |limit| {
            fancy_regex::RegexBuilder::new(source)
                .backtrack_limit(limit)
                .delegate_size_limit(MAX_SIZE)
                .build()
        };
        LIMITS.into_iter().map(with).collect::<Result<_, _>>().map(Self).map_err(|error| {
            if is_too_large(&error) {
                return pattern::too_large(text);
            }
            let error = fancy_regex::Regex::new(text).err().unwrap_or(error);
            format!("`{text}` is not a valid regular expression: {error}")
        })
    }

    /// Whether the pattern occurs in `line`, within what is left of the budget.
    pub(super) fn is_match(&self, line: &str, budget: &mut Budget) -> bool {
        let weight = 1 + line.len() / STRETCH_BYTES;
        for (regex, limit) in self.0.iter().zip(LIMITS) {
            let cost = limit * weight;
            if limit < 2 * line.len() {
                // One attempt at each position of the line would use it up.
                continue;
            }
            if budget.0 == 0 || cost > MAX_STEPS {
                return false;
            }
            let found = regex.is_match(line);
            budget.0 = budget.0.saturating_sub(if found.is_ok() { cost / USUAL_PART } else { cost });
            if let Ok(found) = found {
                return found;
            }
        }
        false
    }
}

// === impl Budget ===

impl Budget {
    pub(super) const fn new() -> Self {
        Self(MAX_STEPS)
    }
}

/// Whether a part of a pattern is too large once compiled.
fn is_too_large(error: &fancy_regex::Error) -> bool {
    use fancy_regex::CompileError::InnerError;
    let fancy_regex::Error::CompileError(error) = error else { return false };
    matches!(&**error, InnerError(inner) if inner.size_limit().is_some())
}

/// Whether a pattern calls one of its groups (`(?P>name)`, `(?1)`, `\g<1>`).
/// `fancy_regex` copies a group for each call, and the calls inside of it too: a
/// few dozen characters can come to gigabytes.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::matching::{Case, Pattern};

    fn pattern(text: &str) -> Pattern {
        Pattern::compile(text, Case::Ignored).unwrap()
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
            assert!(error.contains("calls one of its groups"), "{text}: {error}");
        }
        for text in [r"(?-i)a(?=b)", r"(?i:a)(?!b)", r"a\\(?=g)", r"(?<a>x)\k<a>"] {
            assert!(Pattern::compile(text, Case::Ignored).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_search_that_explodes_is_cut_off_and_does_not_match() {
        let evil = pattern("^(?=(a+)+$)b");
        let line = [b"a".repeat(60), b"!".to_vec()].concat();
        let start = Instant::now();
        assert!(!evil.search().is_match(&line));
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    fn cpu_time() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("CPU time is not negative")
    }

    #[test]
    fn many_lines_of_one_head_cost_no_more_than_one() {
        for (text, line) in [
            ("^(?=(a+)+$)b", [b"a".repeat(60), b"!".to_vec()].concat()),
            ("(?=x)(a|a)*b|(?=(a|a|.)*$)z", b"a".repeat(1_000)),
            ("(?!z)(a*)*c", b"a".repeat(63)),
        ] {
            let evil = pattern(text);
            // This thread's CPU time: a busy machine is no finding.
            let start = cpu_time();
            assert!(!evil.search().is_match(&line));
            let one = cpu_time().saturating_sub(start);
            let (start, mut search) = (cpu_time(), evil.search());
            assert!((0..2_000).all(|_| !search.is_match(&line)));
            let all = cpu_time().saturating_sub(start);
            // Without a bound for the head it would be 2,000 times one line.
            assert!(all < one * 200 + Duration::from_secs(1), "{text}: {all:?}, one {one:?}");
        }
    }

    #[test]
    fn look_around_finds_a_line_behind_many_others_but_not_a_long_one() {
        let ahead = pattern("^x-user: (?!bot)");
        let mut search = ahead.search();
        for length in [40, 400].repeat(50).into_iter().chain([3_000; 3]) {
            assert!(!search.is_match(&[b"x-other: ".to_vec(), vec![b'y'; length]].concat()));
        }
        assert!(search.is_match(b"x-user: ann"));
        let long = [b"x-user: ann".to_vec(), vec![b'y'; 4 * 1024]].concat();
        assert!(!ahead.search().is_match(&long));
        assert!(pattern("^x-user: ann").search().is_match(&long), "a linear pattern has another bound");
    }
}
