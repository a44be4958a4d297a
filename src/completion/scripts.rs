//! The completion scripts that clap generates, with functions that ask the
//! cluster added where the shell allows it.

use clap_complete::Shell;

/// The script that clap generates, with live completion for bash, zsh and fish.
///
/// # Panics
///
/// If a newer `clap_complete` writes other lines than those that are replaced here: a
/// script without live completion would be printed otherwise.
pub fn wired(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => {
            let registration = "complete -F _mirrord -o";
            assert!(script.contains(registration), "clap_complete registers the function by this line");
            let script = script.replace(registration, "complete -F _mirrord_live -o");
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

/// A line of the zsh script with the function that completes its value.
fn zsh(line: &str) -> String {
    // The value name `NAME` also stands for contexts and users.
    let is_namespace = ["-n+[", "-namespace=["].iter().any(|mark| line.contains(mark));
    let name = if is_namespace { ":NAME:_mirrord_live_namespace" } else { ":NAME:_default" };
    line.replace(":KEY:_default", ":KEY:_mirrord_live_key")
        .replace(":KIND/NAME:_default", ":KIND/NAME:_mirrord_live_target")
        .replace(":NAME:_default", name)
}

/// Inserts `more` before the last occurrence of `mark`.
fn before(script: &str, mark: &str, more: &str) -> String {
    let place = script.rfind(mark).expect("clap_complete writes this line");
    format!("{}{more}\n{}", &script[..place], &script[place..])
}

/// bash splits words at `=` and `:`; a key may contain both.
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
    # The value is never a file.
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

    #[test]
    fn contexts_and_users_are_not_completed_as_namespaces() {
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
