//! From the file's text to its values: rendered as a Tera template, then
//! parsed, then read strictly.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tera::{Context, Tera};
use uuid::Uuid;

use super::file::File;
use super::reading::Format;
use super::{Environment, KeySource, absent, ignored, reading, wrong};
use crate::problem::Explain as _;
use crate::session::Key;

/// Stands for the key while the file is asked for the key itself. No file can
/// hold it by accident.
const UNKNOWN: &str = "\u{1}mirrord-key-is-not-known-yet\u{1}";

/// A file as read.
pub(super) struct Loaded {
    pub(super) key: KeySource,
    pub(super) file: File,
    pub(super) warnings: Vec<String>,
    /// Why the file cannot be used, though it has told the key: `file` then holds
    /// what finds environments, as far as that could be read.
    pub(super) trouble: Option<anyhow::Error>,
}

/// The fields that find environments.
const FINDING: &[&str] = &["kube_context", "kubeconfig", "accept_invalid_certificates", "target"];

/// Reads the file at `path`, standard input for `-`.
pub(super) fn load(
    path: &Path,
    given: Option<&Key>,
    environment: &Environment,
    randomness: Uuid,
) -> Result<Loaded> {
    let shown = if is_stdin(path) { "standard input".to_owned() } else { format!("`{}`", path.display()) };
    let text = text(path).explain(|| wrong(format!("could not read the configuration from {shown}")))?;
    let problem = || wrong(format!("the configuration in {shown} cannot be used"));
    let format = Format::of(path).explain(problem)?;
    let key = match given {
        Some(key) => KeySource::Given(key.clone()),
        None => match key(&text, format, environment).explain(problem)? {
            Some(key) => KeySource::Given(key),
            None => KeySource::Generated(Key::generated(randomness)),
        },
    };
    let rendered = render(&text, key.key().as_str(), environment).explain(problem)?;
    let mut value = reading::parse(&rendered, format).explain(problem)?;
    absent::leave_out(&mut value);
    let finding = finding(&value);
    let read = ignored::take(&mut value).and_then(|warnings| Ok((reading::strict(value)?, warnings)));
    Ok(match read.explain(problem) {
        Ok((file, warnings)) => Loaded { key, file, warnings, trouble: None },
        Err(trouble) => Loaded { key, file: finding, warnings: Vec::new(), trouble: Some(trouble) },
    })
}

/// The fields that find environments, each as far as it can be read by itself.
fn finding(value: &Value) -> File {
    let readable = FINDING.iter().filter_map(|name| {
        let alone = json!({*name: value.get(name)?});
        reading::strict::<File>(alone.clone()).is_ok().then_some(alone)
    });
    let fields: Map<String, Value> =
        readable.filter_map(|alone| alone.as_object().cloned()).flatten().collect();
    reading::strict(fields.into()).unwrap_or_default()
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn text(path: &Path) -> std::io::Result<String> {
    if is_stdin(path) {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        Ok(text)
    } else {
        std::fs::read_to_string(path)
    }
}

/// The file's own key: rendered without one, so that it may come from any
/// function but not from itself.
fn key(text: &str, format: Format, environment: &Environment) -> Result<Option<Key>> {
    let value = reading::parse(&render(text, UNKNOWN, environment)?, format)?;
    let key = match value.get("key") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(key)) => key.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => {
            return Err(wrong(format!("`key` must be a string, not {}", reading::described(other))).into());
        }
    };
    if key.contains(UNKNOWN) {
        return Err(wrong("`key` is made from `{{ key }}`, itself").into());
    }
    Ok(Some(key.parse().map_err(|error| wrong(format!("`key`: {error}")))?))
}

fn render(text: &str, key: &str, environment: &Environment) -> Result<String> {
    let mut context = Context::new();
    // The key stands inside JSON strings: it is escaped as one.
    let quoted = Value::from(key).to_string();
    let escaped = if key == UNKNOWN {
        UNKNOWN.replace('\u{1}', "\\u0001")
    } else {
        quoted[1..quoted.len() - 1].to_owned()
    };
    context.insert("key", &escaped);
    let branch = if text.contains("git_branch") { branch(environment) } else { None };
    if let Some(branch) = &branch {
        context.insert("git_branch", branch);
    }
    Tera::one_off(text, &context, false).map_err(|error| {
        // Tera names its own template, `__tera_one_off`, which nobody wrote.
        let invalid = error.to_string().starts_with("Failed to parse");
        let error = anyhow::Error::from(error);
        let words: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
        let words = words.join(": ").replace(" while rendering '__tera_one_off'", "");
        if branch.is_none() && words.contains("`git_branch` not found") {
            return wrong("no branch is checked out, and `{{ git_branch }}` asks for one")
                .hint("set `MIRRORD_BRANCH_NAME`")
                .into();
        }
        wrong(if invalid { format!("it is no valid template:\n{words}") } else { words })
            .hint("`{{ key }}`, `{{ git_branch }}` and `{{ get_env(name=\"…\", default=\"…\") }}` are known")
            .into()
    })
}

fn branch(environment: &Environment) -> Option<String> {
    environment.text("MIRRORD_BRANCH_NAME").or_else(|| {
        let output = Command::new("git")
            .args(["branch", "--show-current"])
            .current_dir(PathBuf::from("."))
            .output()
            .ok()?;
        let branch = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !branch.is_empty()).then_some(branch)
    })
}
