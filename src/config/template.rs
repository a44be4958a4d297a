//! Reads a configuration file: renders its text as a Tera template, parses it, and
//! applies the table of fields.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tera::{Context, Tera};
use uuid::Uuid;

use super::fields::{self, Field};
use super::file::File;
use super::key_source::KeySource;
use super::reading::Format;
use super::target::TargetSection;
use super::{Environment, fates, input, reading, wrong};
use crate::problem::Explain as _;
use crate::session::Key;

/// Replaces `{{ key }}` while the file's own key is read. A plain word, because
/// every language reads it as the same string.
const PLACEHOLDER: &str = "mirrord-key-is-not-known-yet-6a1f0c9d";

/// A file as read.
pub(super) struct Loaded {
    pub(super) key: KeySource,
    pub(super) file: File,
    pub(super) warnings: Vec<String>,
    /// Why the file cannot be used, although its key is known. `file` then holds
    /// only the fields that find environments and can be read.
    pub(super) trouble: Option<anyhow::Error>,
    /// Which of these fields were written, but could not be read.
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
    let read = fates::apply(&mut value).and_then(|warnings| Ok((reading::strict(value.clone())?, warnings)));
    Ok(match read.explain(problem) {
        Ok((file, warnings)) => Loaded { key, file, warnings, trouble: None, lost: Lost::default() },
        Err(trouble) => {
            let (file, lost) = finding(&value);
            Loaded { key, file, warnings: Vec::new(), trouble: Some(trouble), lost }
        }
    })
}

/// The fields that find environments, as far as each can be read by itself.
fn finding(value: &Value) -> (File, Lost) {
    let finds = |field: &&Field| field.honoured().is_some_and(|honoured| honoured.finds);
    let readable = fields::below("").filter(finds).filter_map(|field| {
        let alone = json!({field.name(): value.get(field.name())?});
        reading::strict::<File>(alone.clone()).is_ok().then_some(alone)
    });
    let fields: Map<String, Value> =
        readable.filter_map(|alone| alone.as_object().cloned()).flatten().collect();
    let mut file: File = reading::strict(fields.into()).expect("each of the fields was readable by itself");
    let lost = value.get("target").map_or_else(Lost::default, |written| {
        let lost;
        (file.target, lost) = target(written);
        lost
    });
    (file, lost)
}

/// The target's readable parts. An unreadable workload must not widen the search
/// to other namespaces, nor an unreadable namespace to other workloads.
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
        input::standard_input(input::CONFIGURATION)
    } else {
        input::text(path, input::CONFIGURATION)
    }
}

/// The file's own key. It may be made by any function of the template, but not
/// from `{{ key }}`.
fn key(text: &str, format: Format, environment: &Environment) -> Result<Option<Key>> {
    let rendered = render(text, format, PLACEHOLDER, environment)?;
    let value = reading::parse(&rendered, format)?;
    let written = || reading::written_key(&rendered, format);
    let key = match value.get("key") {
        None => return Ok(None),
        // TOML and YAML numbers without a JSON form (nan, inf) arrive here as null.
        Some(Value::Null) => match written() {
            None => return Ok(None),
            Some(number) => return Err(replaced(&number)),
        },
        Some(Value::String(key)) => key.clone(),
        // A number counts as its digits if it was written so: not `1.10` or `007`.
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
    if key.contains(PLACEHOLDER) {
        return Err(wrong("`key` is made from `{{ key }}`, itself").into());
    }
    Ok(Some(key.parse().map_err(|error| wrong(format!("`key`: {error}")))?))
}

/// A number whose text differs from the one in the file.
fn replaced(read: &str) -> anyhow::Error {
    wrong(format!("`key` is a number that is read as `{read}`")).hint("put it in quotes").into()
}

/// Whether an expression of the template uses `name`.
fn uses(text: &str, name: &str) -> bool {
    ["{{", "{%"].iter().any(|opening| {
        text.split(opening).skip(1).any(|rest| {
            let expression = rest.split(['}', '%']).next().expect("`split` yields at least one part");
            expression
                .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
                .any(|word| word == name)
        })
    })
}

/// Escapes `value` for a string of the language. JSON has one kind of string. TOML
/// and YAML have several: a character that ends one of them would turn the rest of
/// `value` into fields, so such values are refused.
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
        Format::Toml | Format::Yaml => {
            Err(wrong(format!("the {what} `{value}` cannot be written into this file"))
                .because_of(
                    "a quote, a `\\`, a bracket, `: `, `, ` or ` #` in it would be read as part of the file",
                )
                .hint("use another, or write the configuration as JSON")
                .into())
        }
    }
}

/// Renders the template.
pub(super) fn render(text: &str, format: Format, key: &str, environment: &Environment) -> Result<String> {
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
        // Tera names its internal template, which users do not know.
        let invalid = error.to_string().starts_with("Failed to parse");
        let error = anyhow::Error::from(error);
        let words: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
        let words = words.join(": ").replace(" while rendering '__tera_one_off'", "");
        if branch.is_none() && words.contains("`git_branch` not found") {
            return wrong("no branch is checked out, and `{{ git_branch }}` needs one")
                .hint("set `MIRRORD_BRANCH_NAME`")
                .into();
        }
        wrong(if invalid { format!("it is not a valid template:\n{words}") } else { words })
            .hint("`{{ key }}`, `{{ git_branch }}` and `{{ get_env(name=\"…\", default=\"…\") }}` are available")
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
