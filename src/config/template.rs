//! From the file's text to its values: rendered as a Tera template, then
//! parsed, then read strictly.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tera::{Context, Tera};
use uuid::Uuid;

use super::file::File;
use super::reading::Format;
use super::target::TargetSection;
use super::{Environment, KeySource, absent, ignored, reading, wrong};
use crate::problem::Explain as _;
use crate::session::Key;

/// Stands for the key while the file is asked for the key itself. No file holds
/// it by accident; a plain word, which is read the same in every language.
const UNKNOWN: &str = "mirrord-key-is-not-known-yet-6a1f0c9d";

/// A file as read.
pub(super) struct Loaded {
    pub(super) key: KeySource,
    pub(super) file: File,
    pub(super) warnings: Vec<String>,
    /// Why the file cannot be used, though it has told the key: `file` then holds
    /// what finds environments, as far as that could be read.
    pub(super) trouble: Option<anyhow::Error>,
    /// What `file` lacks of that though it was written.
    pub(super) lost: Lost,
}

/// Which parts of a target could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// The workload.
    pub(super) path: bool,
    /// Its namespace.
    pub(super) namespace: bool,
}

/// The fields that find environments.
const FINDING: &[&str] = &["kube_context", "kubeconfig", "accept_invalid_certificates"];

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
    let rendered = render(&text, format, key.key().as_str(), environment).explain(problem)?;
    let mut value = reading::parse(&rendered, format).explain(problem)?;
    absent::leave_out(&mut value);
    let (finding, lost) = finding(&value);
    let read = ignored::take(&mut value).and_then(|warnings| Ok((reading::strict(value)?, warnings)));
    Ok(match read.explain(problem) {
        Ok((file, warnings)) => Loaded { key, file, warnings, trouble: None, lost: Lost::default() },
        Err(trouble) => Loaded { key, file: finding, warnings: Vec::new(), trouble: Some(trouble), lost },
    })
}

/// The fields that find environments, each as far as it can be read by itself.
fn finding(value: &Value) -> (File, Lost) {
    let readable = FINDING.iter().filter_map(|name| {
        let alone = json!({*name: value.get(name)?});
        reading::strict::<File>(alone.clone()).is_ok().then_some(alone)
    });
    let fields: Map<String, Value> =
        readable.filter_map(|alone| alone.as_object().cloned()).flatten().collect();
    let mut file: File = reading::strict(fields.into()).unwrap_or_default();
    let lost = value.get("target").map_or_else(Lost::default, |written| {
        let lost;
        (file.target, lost) = target(written);
        lost
    });
    (file, lost)
}

/// A target as far as it can be read: a workload that cannot be must not widen
/// the search to other namespaces, nor a namespace to other workloads.
fn target(written: &Value) -> (TargetSection, Lost) {
    let read = |value: Value| reading::strict::<TargetSection>(value).ok();
    if let Some(whole) = read(written.clone()) {
        return (whole, Lost::default());
    }
    let Some(fields) = written.as_object() else {
        return (TargetSection::default(), Lost { path: true, namespace: false });
    };
    let namespace = fields.get("namespace").and_then(|name| read(json!({"namespace": name}))?.namespace);
    let mut others = fields.clone();
    others.remove("namespace");
    let path = read(others.clone().into())
        .or_else(|| read(json!({"path": fields.get("path")?})))
        .and_then(|section| section.path);
    let lost = Lost {
        path: path.is_none() && !others.is_empty(),
        namespace: namespace.is_none() && fields.contains_key("namespace"),
    };
    (TargetSection { path, namespace }, lost)
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
    let rendered = render(text, format, UNKNOWN, environment)?;
    let value = reading::parse(&rendered, format)?;
    let written = || reading::written_key(&rendered, format);
    let key = match value.get("key") {
        None => return Ok(None),
        // Of the numbers that JSON has none for, nothing is left.
        Some(Value::Null) => match written() {
            None => return Ok(None),
            Some(number) => return Err(replaced(&number)),
        },
        Some(Value::String(key)) => key.clone(),
        // Its digits, as long as they are what was written: `1.10` and `007` are not.
        Some(Value::Number(number)) => {
            let digits = number.to_string();
            if number.is_f64() || written().is_some_and(|written| written != digits) {
                return Err(replaced(&digits));
            }
            digits
        }
        Some(other) => {
            return Err(wrong(format!("`key` must be a string, not {}", reading::described(other))).into());
        }
    };
    if key.contains(UNKNOWN) {
        return Err(wrong("`key` is made from `{{ key }}`, itself").into());
    }
    Ok(Some(key.parse().map_err(|error| wrong(format!("`key`: {error}")))?))
}

/// A number as key that would be another text than the one that was written.
fn replaced(read: &str) -> anyhow::Error {
    wrong(format!("`key` is a number that is read as `{read}`")).hint("put it in quotes").into()
}

/// Whether an expression of the template has `name` in it.
fn uses(text: &str, name: &str) -> bool {
    ["{{", "{%"].iter().any(|opening| {
        text.split(opening).skip(1).any(|rest| {
            let expression = rest.split(['}', '%']).next().unwrap_or_default();
            expression
                .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
                .any(|word| word == name)
        })
    })
}

/// `value` as it stands inside a string of the language. In JSON there is one kind
/// of string; the others have several, with and without quotes, and what ends one
/// of them would put what follows into the file as fields.
fn escaped(what: &str, value: &str, format: Format) -> Result<String> {
    let is_safe = !value.contains(['"', '\\', '\'']) && !value.chars().any(char::is_control);
    let ends_plain = [": ", " #", ", ", "[", "]", "{", "}"].iter().any(|mark| value.contains(mark))
        || value.ends_with([':', ',']);
    match format {
        Format::Json => {
            let quoted = Value::from(value).to_string();
            Ok(quoted[1..quoted.len() - 1].to_owned())
        }
        Format::Toml if is_safe => Ok(value.to_owned()),
        Format::Yaml if is_safe && !ends_plain => Ok(value.to_owned()),
        Format::Toml | Format::Yaml => Err(wrong(format!("the {what} `{value}` cannot stand in this file"))
            .because_of(
                "a quote, a `\\`, a bracket, `: `, `, ` or ` #` in it would be read as part of the file",
            )
            .hint("use another, or write the configuration as JSON")
            .into()),
    }
}

fn render(text: &str, format: Format, key: &str, environment: &Environment) -> Result<String> {
    let mut context = Context::new();
    match escaped("key", key, format) {
        Ok(key) => context.insert("key", &key),
        Err(error) if uses(text, "key") => return Err(error),
        Err(_) => {}
    }
    let branch = if text.contains("git_branch") { branch(environment) } else { None };
    match branch.as_deref().map(|branch| escaped("branch", branch, format)) {
        Some(Ok(branch)) => context.insert("git_branch", &branch),
        Some(Err(error)) if uses(text, "git_branch") => return Err(error),
        Some(Err(_)) | None => {}
    }
    tera(environment).render_str(text, &context).map_err(|error| {
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

/// Tera with its built-in functions, of which `get_env` reads the environment
/// given here instead of the process's.
fn tera(environment: &Environment) -> Tera {
    let environment = environment.clone();
    let get_env = move |arguments: &HashMap<String, Value>| {
        let name = match arguments.get("name") {
            Some(Value::String(name)) => name,
            Some(other) => {
                return Err(tera::Error::msg(format!(
                    "`get_env` needs a string as `name`, not {}",
                    reading::described(other)
                )));
            }
            None => return Err(tera::Error::msg("`get_env` needs a `name`")),
        };
        match environment.raw(name) {
            Some(value) => Ok(Value::from(value)),
            None => arguments
                .get("default")
                .cloned()
                .ok_or_else(|| tera::Error::msg(format!("the environment variable `{name}` is not set"))),
        }
    };
    let mut tera = Tera::default();
    tera.register_function("get_env", get_env);
    tera
}

fn branch(environment: &Environment) -> Option<String> {
    environment.text("MIRRORD_BRANCH_NAME").or_else(|| {
        let output = Command::new("git").args(["branch", "--show-current"]).output().ok()?;
        let branch = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !branch.is_empty()).then_some(branch)
    })
}
