//! Completion of keys, namespaces and targets, which only the cluster knows.
//!
//! The generated scripts call `mirrord candidates WHAT -- WORDS`, which help does
//! not list. clap's own dynamic completion was tried and not taken: its bash
//! function does not complete values that contain a colon or follow `--flag=`, and
//! does not quote blanks (`findings/clap-complete-bash-word-breaks.sh`).

pub mod candidates;
pub mod scripts;

use std::path::PathBuf;

use crate::config::Overrides;

/// A kind of value that the cluster completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// Keys of existing environments.
    Key,
    /// Namespaces.
    Namespace,
    /// Workloads, or the targets of existing environments.
    Target,
}

/// The part of an unfinished command line on which candidates depend.
#[derive(Debug, Default)]
pub struct Typed {
    /// The flags that say where to look.
    pub flags: Overrides,
    /// Whether the verb is about existing environments.
    pub is_of_sessions: bool,
}

// === impl CandidateKind ===

impl CandidateKind {
    /// Reads the word that the scripts pass.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "key" => Some(Self::Key),
            "namespace" => Some(Self::Namespace),
            "target" => Some(Self::Target),
            _ => None,
        }
    }
}

// === impl Typed ===

impl Typed {
    /// Reads a command line that is unfinished and may be wrong.
    pub fn of(words: &[String]) -> Self {
        let mut typed = Self::default();
        // bash splits words at `=`, the other shells do not.
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "=").collect();
        for (place, word) in words.iter().enumerate() {
            if matches!(*word, "status" | "stop" | "extend") {
                typed.is_of_sessions = true;
            }
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (*word, words.get(place + 1).copied()),
            };
            // The flag has a default value.
            if matches!(flag, "-f" | "--config-file") {
                typed.flags.config_file = Some(PathBuf::from(crate::cli::DEFAULT_FILE));
            }
            let Some(value) = value.filter(|value| !value.is_empty() && !value.starts_with('-')) else {
                continue;
            };
            match flag {
                "-n" | "--namespace" | "--target-namespace" => {
                    typed.flags.namespace = Some(value.to_owned());
                }
                "--context" => typed.flags.context = Some(value.to_owned()),
                "--kubeconfig" => typed.flags.kubeconfig = Some(PathBuf::from(value)),
                "-f" | "--config-file" => typed.flags.config_file = Some(PathBuf::from(value)),
                _ => {}
            }
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        Typed::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn an_unfinished_line_gives_the_flags_typed_so_far() {
        for line in [
            "preview -f x.toml stop -n a -k ",
            "preview stop --namespace=a --config-file x.toml -k",
            "preview stop --target-namespace = a -f x.toml --key =",
        ] {
            let Typed { flags, is_of_sessions } = typed(line);
            assert!(is_of_sessions, "{line}");
            assert_eq!(
                (flags.namespace.as_deref(), flags.config_file),
                (Some("a"), Some("x.toml".into())),
                "{line}"
            );
        }
        let Typed { flags, is_of_sessions } = typed("preview start -f --context c --kubeconfig k -n");
        assert!(!is_of_sessions);
        assert_eq!((flags.context.as_deref(), flags.kubeconfig), (Some("c"), Some("k".into())));
        assert_eq!((flags.namespace, flags.config_file), (None, Some(crate::cli::DEFAULT_FILE.into())));
    }
}
