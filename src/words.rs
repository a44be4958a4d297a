//! How names, counts and durations are written in a sentence.

use std::time::Duration;

/// Names in backticks for a sentence, cut after ten.
pub(crate) fn quoted_list(names: &[String]) -> String {
    const MOST: usize = 10;
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

/// The values that are allowed, for a sentence that says "must be …".
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// The known name that `unknown` is most likely a misspelling of: similar, or at
/// most two edits away where two edits are less than half of the word.
pub(crate) fn closest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let is_typo = |name: &str| {
        let edits = strsim::osa_distance(unknown, name);
        edits <= 2 && 2 * edits < unknown.len().max(name.len())
    };
    names
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, name)| *likeness > 0.75 || is_typo(name))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// A number of things: `1 session`, `3 sessions`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The two largest units of a duration: `1h 2m`, `59s`.
pub(crate) fn brief(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The option that names an environment in a command that the user can paste into a
/// POSIX shell: `--key pr-12`.
pub(crate) fn key_option(key: &str) -> String {
    // A key that begins with `-` would be read as an option.
    let separator = if key.starts_with('-') { '=' } else { ' ' };
    format!("--key{separator}{}", shell_word(key))
}

/// A word of a command that the user can paste into a POSIX shell.
pub(crate) fn shell_word(word: &str) -> String {
    shlex::try_quote(word).expect("keys and names hold no NUL").into_owned()
}
