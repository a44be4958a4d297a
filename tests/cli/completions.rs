//! The files in `completions/` are what the binary prints.

use std::path::Path;
use std::process::Command;

#[test]
fn the_completion_files_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [
        ("bash", "mirrord.bash"),
        ("zsh", "_mirrord"),
        ("fish", "mirrord.fish"),
        ("elvish", "mirrord.elv"),
        ("powershell", "_mirrord.ps1"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_mirrord")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let path = folder.join(file);
        let held = std::fs::read(&path).unwrap_or_default();
        assert!(held == output.stdout, "run `mirrord completions {shell} > completions/{file}`");
    }
}
