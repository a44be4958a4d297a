//! `MIRRORD_LOG`: API calls and messages of the API client, on standard error.
//!
//! The log holds no secrets: a call is logged with its method, URL and status,
//! never with a header or a body. Messages in which the client quotes answers
//! are left out.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{ProgressMode, to_stderr, visible};

/// The target and the name of the client's span for one API call.
const CALL: (&str, &str) = ("kube_client::client::builder", "HTTP");
/// The target of messages in which the client quotes the cluster's answers.
const QUOTING: &str = "kube_client::client";
/// The prefix of every target that can be logged.
const ROOT: &str = "kube";

/// A log level for the client, or for parts of it.
#[derive(Clone, Debug)]
pub struct Verbosity {
    targets: Targets,
    /// Directives for targets that this program does not have. Other programs
    /// read the same variable, so they are warned about and not refused.
    pub foreign: Vec<String>,
}

/// The layer that writes the log.
struct CallLog {
    verbosity: Verbosity,
    mode: ProgressMode,
}

/// An API call that has not been answered yet.
struct Call {
    began: Instant,
    fields: Map<String, Value>,
}

// === impl Verbosity ===

impl FromStr for Verbosity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = |word: &str| match word.to_ascii_lowercase().as_str() {
            "off" => Ok(LevelFilter::OFF),
            "error" => Ok(LevelFilter::ERROR),
            "warn" => Ok(LevelFilter::WARN),
            "info" => Ok(LevelFilter::INFO),
            "debug" => Ok(LevelFilter::DEBUG),
            "trace" => Ok(LevelFilter::TRACE),
            _ => Err("a level is `off`, `error`, `warn`, `info`, `debug` or `trace`".to_owned()),
        };
        let mut targets = Targets::new();
        let mut foreign = Vec::new();
        for part in text.split(',').map(str::trim) {
            targets = match part.split_once('=') {
                None => targets.with_target(ROOT, level(part)?),
                Some((target, word)) if target.starts_with(ROOT) => targets.with_target(target, level(word)?),
                Some(_) => {
                    foreign.push(part.to_owned());
                    targets
                }
            };
        }
        Ok(Self { targets, foreign })
    }
}

impl Verbosity {
    /// Starts logging. A process has one log; a second call does nothing.
    pub fn begin(self, mode: ProgressMode) {
        let _ = tracing_subscriber::registry().with(CallLog { verbosity: self, mode }).try_init();
    }

    fn wants(&self, target: &str, level: Level) -> bool {
        target != QUOTING && self.targets.would_enable(target, &level)
    }
}

// === impl CallLog ===

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CallLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_call(metadata) || self.verbosity.wants(metadata.target(), *metadata.level())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| is_call(span.metadata())) else { return };
        let mut fields = RecordedFields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Call { began: Instant::now(), fields: fields.0 });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(call) = span.extensions_mut().get_mut::<Call>() {
            let mut fields = RecordedFields::default();
            values.record(&mut fields);
            call.fields.extend(fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = RecordedFields::default();
        event.record(&mut fields);
        let mut message = fields.0.get("message").map(text).unwrap_or_default();
        if let Some(span) = context.event_span(event)
            && let Some(call) = span.extensions().get::<Call>()
        {
            message = format!("{message}: {} {}", call.text("http.method"), call.text("http.url"));
        }
        self.write(*metadata.level(), metadata.target(), &message, &json!({}));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if !self.verbosity.wants(CALL.0, Level::INFO) {
            return;
        }
        if let Some(call) = span.extensions().get::<Call>() {
            let (method, url) = (call.text("http.method"), call.text("http.url"));
            let status = call.fields.get("http.status_code").cloned().unwrap_or_default();
            let took = u64::try_from(call.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let answer = if status.is_null() { "no answer".to_owned() } else { text(&status) };
            let more = json!({"method": method, "url": url, "status": status, "milliseconds": took});
            self.write(Level::INFO, CALL.0, &format!("{method} {url}: {answer} ({took} ms)"), &more);
        }
    }
}

impl CallLog {
    fn write(&self, level: Level, target: &str, message: &str, more: &Value) {
        let now = Timestamp::now();
        if self.mode != ProgressMode::Json {
            return to_stderr(&visible::line(&format!("{now:.3} {level} {target}: {message}")));
        }
        let mut line = json!({
            "type": "Log", "time": now.to_string(), "level": level.as_str(), "target": target, "message": message,
        });
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        to_stderr(&line.to_string());
    }
}

// === impl Call ===

impl Call {
    fn text(&self, field: &str) -> String {
        self.fields.get(field).map(text).unwrap_or_default()
    }
}

fn is_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (metadata.target(), metadata.name()) == CALL
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The fields of a span or an event.
#[derive(Default)]
struct RecordedFields(Map<String, Value>);

// === impl RecordedFields ===

impl Visit for RecordedFields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_applies_to_the_whole_client_or_to_a_part_of_it() {
        let verbosity: Verbosity = "warn, kube_runtime=debug".parse().unwrap();
        assert!(verbosity.wants("kube_runtime::watcher", Level::DEBUG));
        assert!(verbosity.wants(CALL.0, Level::WARN) && !verbosity.wants(CALL.0, Level::INFO));
        let all: Verbosity = "trace".parse().unwrap();
        // These messages would quote the cluster's answers and the frames' headers.
        assert!(!all.wants(QUOTING, Level::WARN) && !all.wants("h2::codec", Level::ERROR));
        for wrong in ["loud", "", "kube_client=", "info,"] {
            assert!(wrong.parse::<Verbosity>().is_err(), "{wrong}");
        }
        let shared: Verbosity = "warn,h2=trace".parse().unwrap();
        assert!(shared.wants(CALL.0, Level::WARN) && !shared.wants("h2::codec", Level::TRACE));
        assert_eq!(shared.foreign, ["h2=trace"]);
    }
}
