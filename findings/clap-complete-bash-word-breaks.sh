#!/usr/bin/env bash
# clap 4.6.9 with clap_complete 4.6.11 (feature `unstable-dynamic`), bash 5.2.
# The generated bash function hands COMP_WORDS to the program as bash has split them, at `=` and `:`
# too, and puts candidates into COMPREPLY unquoted. So values that hold a colon or a blank, and values
# behind `--flag=`, are not completed, or are completed to a line that means something else.
# zsh and fish, which do not split words there, complete the same values.
# Needs cargo and bash. Output seen: plain <pr-1>, colon <>, equals <>, blank <two words>.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'END'
[package]
name = "keys"
version = "0.0.0"
edition = "2021"
[dependencies]
clap = { version = "=4.6.9", features = ["derive"] }
clap_complete = { version = "=4.6.11", features = ["unstable-dynamic"] }
END
cat >src/main.rs <<'END'
use clap::{CommandFactory, Parser};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::CompleteEnv;

fn keys() -> Vec<CompletionCandidate> {
    ["pr-1", "team:login", "two words"].into_iter().map(CompletionCandidate::new).collect()
}

#[derive(Parser)]
struct Keys {
    #[arg(short, long, add = ArgValueCandidates::new(keys))]
    key: Option<String>,
}

fn main() {
    CompleteEnv::with_factory(Keys::command).complete();
    println!("{:?}", Keys::parse().key);
}
END
cargo build --quiet
PATH=$work/target/debug:$PATH
# The words as bash itself splits them with its default COMP_WORDBREAKS.
complete_in_bash() { # LINE WORD...
  bash -c 'source <(COMPLETE=bash keys); COMP_LINE=$1; COMP_POINT=${#1}; COMP_TYPE=9; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    last=${COMP_WORDS[COMP_CWORD]}; [ "$last" != = ] || last=
    _clap_complete_keys keys "$last" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null; printf "<%s>" "${COMPREPLY[@]}"; echo' bash "$@"
}
plain=$(complete_in_bash 'keys -k pr' keys -k pr)
colon=$(complete_in_bash 'keys -k team:l' keys -k team : l)
equals=$(complete_in_bash 'keys --key=p' keys --key = p)
blank=$(complete_in_bash 'keys -k two' keys -k two)
printf 'plain %s\ncolon %s\nequals %s\nblank %s\n' "$plain" "$colon" "$equals" "$blank"
[ "$plain" = '<pr-1>' ] || { echo "changed: a plain value is not completed" >&2; exit 1; }
[ "$colon" = '<>' ] || { echo "changed: a value with a colon is completed now" >&2; exit 1; }
[ "$equals" = '<>' ] || { echo "changed: a value behind \`=\` is completed now" >&2; exit 1; }
[ "$blank" = '<two words>' ] || { echo "changed: a value with a blank is quoted now" >&2; exit 1; }
