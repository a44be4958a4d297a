//! Completion of what only the cluster knows: keys, namespaces and targets.
//!
//! The generated scripts ask `mirrord candidates WHAT -- WORDS`, which is no
//! part of the help. clap's own dynamic completion would not do: what it calls
//! for a value does not see the other words, as in `-n staging -t <TAB>`.

use std::path::PathBuf;

use clap_complete::Shell;

use crate::config::Overrides;

/// What is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The keys of the environments that there are.
    Key,
    /// Namespaces.
    Namespace,
    /// Workloads, or the targets of the environments that there are.
    Target,
}

/// What has been typed so far, as far as candidates depend on it.
#[derive(Debug, Default)]
pub struct Typed {
    /// Where to look.
    pub flags: Overrides,
    /// Whether the verb is about environments that there are.
    pub is_of_sessions: bool,
}

// === impl Wanted ===

impl Wanted {
    /// The word that the scripts use.
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
    /// Reads a command line that is not finished, and may never be right.
    pub fn of(words: &[String]) -> Self {
        let mut typed = Self::default();
        // bash parts words at `=`, the other shells do not.
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "=").collect();
        for (place, word) in words.iter().enumerate() {
            if matches!(*word, "status" | "stop" | "extend") {
                typed.is_of_sessions = true;
            }
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (*word, words.get(place + 1).copied()),
            };
            // Without a value it has its own.
            if matches!(flag, "-f" | "--config-file") {
                typed.flags.config_file = Some(PathBuf::from(super::DEFAULT_FILE));
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

/// The script that clap generates, asking the cluster where the shell allows it.
pub fn wired(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => {
            let script = script.replace("complete -F _mirrord -o", "complete -F _mirrord_live -o");
            before(&script, "if [[ \"${BASH_VERSINFO", BASH)
        }
        Shell::Zsh => {
            let lines: String = script.lines().map(|line| zsh(line) + "\n").collect();
            before(&lines, "if [ \"$funcstack[1]\"", ZSH)
        }
        Shell::Fish => format!("{script}{FISH}"),
        _ => script.to_owned(),
    }
}

/// An argument's line, with the function that knows its values.
fn zsh(line: &str) -> String {
    // `NAME` is also a context's, and a user's.
    let is_namespace = ["-n+[", "-namespace=["].iter().any(|mark| line.contains(mark));
    let name = if is_namespace { ":NAME:_mirrord_live_namespace" } else { ":NAME:_default" };
    line.replace(":KEY:_default", ":KEY:_mirrord_live_key")
        .replace(":KIND/NAME:_default", ":KIND/NAME:_mirrord_live_target")
        .replace(":NAME:_default", name)
}

/// Puts `more` before the last place where the script says `mark`.
fn before(script: &str, mark: &str, more: &str) -> String {
    match script.rfind(mark) {
        Some(place) => format!("{}{more}\n{}", &script[..place], &script[place..]),
        None => script.to_owned(),
    }
}

/// What bash takes for a word ends at `=` and `:`; a key may hold both.
const BASH: &str = r#"# Asks the cluster for keys, namespaces and targets.
_mirrord_live() {
    local what line="${COMP_LINE:0:COMP_POINT}" words
    local typed="${line##*[[:space:]]}"
    read -ra words <<< "${line%"${typed}"}"
    local flag="${words[${#words[@]}-1]}"
    if [[ "${typed}" == --*=* ]]; then
        flag="${typed%%=*}"
        typed="${typed#*=}"
    fi
    case "${flag}" in
        -k|--key) what=key ;;
        -n|--namespace|--target-namespace) what=namespace ;;
        -t|--target) what=target ;;
        *) _mirrord "$@"; return ;;
    esac
    local candidate part=""
    if [[ "${typed}" == *:* && "${COMP_WORDBREAKS}" == *:* ]]; then
        part="${typed%"${typed##*:}"}"
    fi
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [[ "${candidate}" == "${typed}"* ]]; then
            COMPREPLY+=("$(printf '%q' "${candidate#"${part}"}")")
        fi
    done < <(mirrord candidates "${what}" -- "${COMP_WORDS[@]:1}" </dev/null 2>/dev/null)
    # No file can be meant.
    compopt +o default +o bashdefault 2>/dev/null
}
"#;

const ZSH: &str = r#"# Asks the cluster for keys, namespaces and targets.
_mirrord_live() {
    local -a typed candidates
    typed=(${(Q)${(z)LBUFFER}})
    candidates=(${(f)"$(mirrord candidates $1 -- ${typed[2,-1]} </dev/null 2>/dev/null)"})
    compadd -a candidates
}
_mirrord_live_key() { _mirrord_live key }
_mirrord_live_namespace() { _mirrord_live namespace }
_mirrord_live_target() { _mirrord_live target }
"#;

const FISH: &str = r#"
# Asks the cluster for keys, namespaces and targets.
function __fish_mirrord_live
    set -l typed (commandline -opc)
    command mirrord candidates $argv[1] -- $typed[2..-1] </dev/null 2>/dev/null
end
complete -c mirrord -n "__fish_mirrord_using_subcommand preview" -s k -l key -x -a "(__fish_mirrord_live key)"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start status stop extend doctor rbac" -s n -l namespace -l target-namespace -x -a "(__fish_mirrord_live namespace)"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start status stop extend doctor" -s t -l target -x -a "(__fish_mirrord_live target)"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        Typed::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_that_is_not_finished_says_where_to_look() {
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
        assert_eq!((flags.namespace, flags.config_file), (None, Some(super::super::DEFAULT_FILE.into())));
    }

    #[test]
    fn the_names_of_contexts_and_users_are_no_namespaces() {
        assert_eq!(
            zsh("'--context=[The kubeconfig]:NAME:_default' \\"),
            "'--context=[The kubeconfig]:NAME:_default' \\"
        );
        assert_eq!(
            zsh("'-n+[The namespace]:NAME:_default' \\"),
            "'-n+[The namespace]:NAME:_mirrord_live_namespace' \\"
        );
        assert_eq!(zsh("'--user=[This user]:NAME:_default' \\"), "'--user=[This user]:NAME:_default' \\");
    }
}
