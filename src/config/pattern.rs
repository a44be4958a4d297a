//! Patterns of names: `*` for any text, `?` for one character.

/// A pattern of a label's or a variable's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(glob::Pattern);

// === impl NamePattern ===

impl NamePattern {
    /// Every text is a pattern: other characters with a meaning in globs are literal.
    pub(super) fn new(text: &str) -> Self {
        let mut pattern = text.replace('[', "[[]");
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        Self(glob::Pattern::new(&pattern).expect("a glob without `**` and unclosed `[` is valid"))
    }

    /// Whether the whole of `name` matches; `*` also takes `/`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_and_question_mark_are_the_only_wildcards() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("*", "anything.at/all", true),
            ("app", "app", true),
            ("app", "apps", false),
            ("app*", "app.kubernetes.io/name", true),
            ("*.io/*", "app.kubernetes.io/name", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxabc", false),
            ("", "", true),
            ("", "a", false),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
            ("a**", "abc", true),
        ] {
            assert_eq!(NamePattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }
}
