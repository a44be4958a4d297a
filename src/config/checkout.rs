//! Whether a kubeconfig belongs to the checkout whose configuration file names it. The
//! author of the checkout, who may be a stranger, then chooses the programs that log in.

use std::path::{Path, PathBuf};

/// The first of `kubeconfigs` that belongs to a checkout: its path is relative, or leads
/// into the checkout of `config_file` or of `current`, the current folder. A kubeconfig of
/// the user's own choice, one of `trusted`, does not.
pub(super) fn first_inside(
    kubeconfigs: &[PathBuf],
    config_file: &Path,
    current: &Path,
    trusted: &[PathBuf],
) -> Option<PathBuf> {
    let trusted: Vec<PathBuf> = trusted.iter().map(|path| real(&current.join(path))).collect();
    let file = current.join(config_file);
    let roots = [root(current), root(file.parent().unwrap_or(current))];
    let is_inside = |path: &&PathBuf| {
        let place = real(&current.join(path));
        !trusted.contains(&place)
            && (path.is_relative()
                || roots.iter().any(|root| place.starts_with(root) || path.starts_with(root)))
    };
    kubeconfigs.iter().find(is_inside).cloned()
}

/// The root of the checkout that holds `folder`: the next folder above with `.git`,
/// else the folder itself, or the one that holds a `.mirrord`.
fn root(folder: &Path) -> PathBuf {
    let folder = real(folder);
    if let Some(root) = folder.ancestors().find(|above| above.join(".git").exists()) {
        return root.to_owned();
    }
    match folder.parent() {
        Some(parent) if folder.ends_with(".mirrord") => parent.to_owned(),
        _ => folder,
    }
}

/// The path without symbolic links, where it exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_inside_the_checkout_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| real(folder.path()).join(path);
        for path in ["repo/.git", "repo/api/.mirrord", "repo/kube", "plain/.mirrord", "home/.kube"] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["repo/kube/config", "plain/config", "home/.kube/config", "home/.kube/other"] {
            std::fs::write(at(path), "").unwrap();
        }
        std::os::unix::fs::symlink(at("repo/kube/config"), at("home/link")).unwrap();
        let trusted = [at("home/.kube/config")];
        let inside = |kubeconfig: &str, file: &str, current: &str| {
            let kubeconfig = kubeconfig.replace("FOLDER", &at("").display().to_string());
            first_inside(&[kubeconfig.into()], Path::new(file), &at(current), &trusted).is_some()
        };
        let deep = ".mirrord/mirrord.json";
        for (kubeconfig, file, current, expected) in [
            ("kube/config", deep, "repo/api", true),
            ("../kube/config", deep, "repo/api", true),
            ("gone", "-", "home", true),
            ("FOLDER/repo/kube/config", deep, "repo/api", true),
            ("FOLDER/repo/api/../kube/config", "-", "repo/api", true),
            ("FOLDER/repo/kube/gone", deep, "repo", true),
            ("FOLDER/home/link", deep, "repo", true),
            ("FOLDER/repo/kube/config", "../repo/api/.mirrord/mirrord.json", "home", true),
            ("FOLDER/plain/config", "../plain/.mirrord/mirrord.json", "home", true),
            ("FOLDER/plain/config", deep, "repo", false),
            ("FOLDER/home/.kube/other", deep, "repo", false),
            ("FOLDER/home/.kube/other", ".mirrord.json", "home", true),
            // kubectl reads it anyway.
            ("FOLDER/home/.kube/config", ".mirrord.json", "home", false),
            (".kube/config", ".mirrord.json", "home", false),
        ] {
            assert_eq!(inside(kubeconfig, file, current), expected, "{kubeconfig} {file} {current}");
        }
    }
}
