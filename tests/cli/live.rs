//! Completion in real shells: the words that they pass to `mirrord`, and how they use the
//! answer. A script replaces `mirrord` and records its arguments; the cluster tests check
//! real answers.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with a `mirrord` that offers three keys.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\necho \"$@\" >> \"$ASKED\"\nprintf '%s\\n' pr-1 \"it's a:b\" team:login\n";
    let path = folder.path().join("mirrord");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn completions(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file)
}

/// The output of a shell that runs the script `program`, and the arguments that `mirrord`
/// got; `None` without such a shell on this machine.
#[expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that is skipped says so, and shells are found by PATH"
)]
fn driven(shell: &str, program: &str) -> Option<(String, String)> {
    let folder = folder();
    let asked = folder.path().join("asked");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(shell)
        .args(["-c", program])
        .env("PATH", path)
        .env("HOME", folder.path())
        .env("ASKED", &asked)
        .env("TERM", "dumb")
        .env("LC_ALL", "C.UTF-8")
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no {shell} here");
            return None;
        }
        output => output.unwrap(),
    };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((said, std::fs::read_to_string(asked).unwrap_or_default()))
}

/// bash's completion at the end of `line`, split into words like bash does.
fn bash(line: &str, words: &[&str]) -> (String, String) {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let program = format!(
        "source '{}'; COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; \
         COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _mirrord_live mirrord \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        completions("mirrord.bash").display(),
        words.join(" ")
    );
    driven("bash", &program).unwrap()
}

#[test]
fn bash_completes_from_the_cluster() {
    let (said, asked) =
        bash("mirrord preview -n a stop -k ", &["mirrord", "preview", "-n", "a", "stop", "-k", ""]);
    assert_eq!(said, "pr-1\nit\\'s\\ a:b\nteam:login\n");
    assert_eq!(asked, "candidates key -- preview -n a stop -k \n");
    let (said, _) = bash("mirrord preview stop --key=p", &["mirrord", "preview", "stop", "--key", "=", "p"]);
    assert_eq!(said, "pr-1\n");
    let (said, _) = bash("mirrord preview stop --key=", &["mirrord", "preview", "stop", "--key", "="]);
    assert!(said.starts_with("pr-1\n"), "{said}");
    // bash replaces the part behind the last colon with the candidate.
    let (said, _) =
        bash("mirrord preview stop -k team:l", &["mirrord", "preview", "stop", "-k", "team", ":", "l"]);
    assert_eq!(said, "login\n");
    let (_, asked) = bash("mirrord preview start -t d", &["mirrord", "preview", "start", "-t", "d"]);
    assert_eq!(asked, "candidates target -- preview start -t d\n");
    let (_, asked) =
        bash("mirrord preview rbac --namespace ", &["mirrord", "preview", "rbac", "--namespace", ""]);
    assert_eq!(asked, "candidates namespace -- preview rbac --namespace \n");
    let (said, asked) = bash("mirrord preview st", &["mirrord", "preview", "st"]);
    assert_eq!((said.as_str(), asked.as_str()), ("start\nstatus\nstop\n", ""));
}

#[test]
fn fish_completes_from_the_cluster() {
    let ask = |line: &str| {
        let program = format!("source '{}'; complete -C '{line}'", completions("mirrord.fish").display());
        driven("fish", &program)
    };
    let Some((said, asked)) = ask("mirrord preview -n a stop -k ") else { return };
    let mut offered: Vec<&str> = said.lines().collect();
    offered.sort_unstable();
    assert_eq!(offered, ["it's a:b", "pr-1", "team:login"]);
    assert_eq!(asked, "candidates key -- preview -n a stop -k\n");
    let (said, _) = ask("mirrord preview stop --key=p").unwrap();
    assert_eq!(said, "--key=pr-1\n");
    let (_, asked) = ask("mirrord preview start -t d").unwrap();
    assert_eq!(asked, "candidates target -- preview start -t\n");
    let (said, asked) = ask("mirrord preview sto").unwrap();
    assert_eq!((said.split('\t').next(), asked.as_str()), (Some("stop"), ""));
}

/// zsh completes only at a prompt, so it runs interactively.
#[test]
fn zsh_completes_from_the_cluster() {
    let ask = |line: &str, end: &str| {
        let program = format!(
            "zmodload zsh/zpty
             zpty shell zsh -f -i
             zpty -w shell 'PROMPT=; unsetopt zle_bracketed_paste; fpath=({} $fpath); autoload -U compinit; compinit -u -D; print READ\"\"Y'
             zpty -r shell seen '*READY*'
             zpty -w -n shell $'{line}\\t'
             integer tries=0
             seen=
             while [[ $seen != *{end}* ]] && (( tries++ < 100 )); do
               sleep 0.1
               zpty -r -t shell part && seen+=$part
             done
             print -r -- $seen
             zpty -d shell",
            completions("").display()
        );
        driven("zsh", &program)
    };
    let Some((said, asked)) = ask("mirrord preview --context c stop -n a -k p", "pr-1") else { return };
    assert!(said.contains("pr-1"), "{said:?}");
    assert_eq!(asked, "candidates key -- preview --context c stop -n a -k p\n");
    let (said, asked) = ask("mirrord preview start --target=team", "team:login").unwrap();
    assert!(said.contains("login"), "{said:?}");
    assert_eq!(asked, "candidates target -- preview start --target=team\n");
}
