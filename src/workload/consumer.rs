//! Recognises workloads that fetch their work themselves: consumers of a queue,
//! schedulers. A copy of one does real work, with or without a key.

use serde_json::Value;

use super::Source;
use super::container::Choice;

/// Programs that only consume or schedule.
const PROGRAMS: &[&str] = &["celery", "sidekiq", "resque", "dramatiq", "rqworker"];
/// Names of such workloads, alone or after a hyphen.
const NAMES: &[&str] = &["worker", "workers", "consumer", "consumers", "scheduler"];
/// Prefixes of variables that hold a queue's address.
const VARIABLES: &[&str] = &["KAFKA_", "RABBITMQ_", "SQS_"];

/// The sign by which a workload is recognised, in words; `None` without one.
pub fn sign(name: &str, source: &Source, container: &Choice) -> Option<String> {
    if is_consumer_name(name) {
        return Some(format!("it is called `{name}`"));
    }
    let spec = source.template.get("spec")?;
    let container = spec.get("containers")?.get(container.index)?;
    let text = |field: &str| container.get(field).and_then(Value::as_str).unwrap_or_default();
    if is_consumer_name(text("name")) {
        return Some(format!("its container is called `{}`", text("name")));
    }
    let image = text("image");
    let repository =
        image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
    if is_consumer_name(repository) {
        return Some(format!("its image is `{image}`"));
    }
    let words = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
    // The API holds a shell script as one word.
    let words =
        words("command").chain(words("args")).filter_map(Value::as_str).flat_map(str::split_whitespace);
    let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(program) = words.map(program).find(|program| PROGRAMS.contains(&program.as_str())) {
        return Some(format!("it runs `{program}`"));
    }
    let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
    let mut names = variables.filter_map(|variable| variable.get("name")?.as_str());
    let queue = names.find(|name| VARIABLES.iter().any(|prefix| name.starts_with(prefix)))?;
    Some(format!("it has the variable `{queue}`"))
}

fn is_consumer_name(name: &str) -> bool {
    let last = name.rsplit(['-', '_']).next().unwrap_or_default();
    NAMES.contains(&last) || name.split(['-', '_']).any(|part| PROGRAMS.contains(&part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::container::choose;

    #[test]
    fn a_consumer_is_recognised_by_name_program_or_variables() {
        let web = json!({"name": "web", "image": "registry.test:5000/shop:celery-1"});
        let with = |field: &str, value: Value| {
            let mut container = web.clone();
            container[field] = value;
            container
        };
        let cases = [
            ("shop", web.clone(), None),
            ("worker-portal", web.clone(), None),
            ("mail-worker", web.clone(), Some("it is called `mail-worker`")),
            ("shop", with("name", "consumer".into()), Some("its container is called `consumer`")),
            (
                "shop",
                with("image", "registry.test/sidekiq-jobs@sha256:1".into()),
                Some("its image is `registry.test/sidekiq-jobs@sha256:1`"),
            ),
            (
                "shop",
                with("command", json!(["sh", "-c", "exec /usr/bin/celery -A shop"])),
                Some("it runs `celery`"),
            ),
            (
                "shop",
                with("env", json!([{"name": "MY_KAFKA_"}, {"name": "SQS_URL"}])),
                Some("it has the variable `SQS_URL`"),
            ),
        ];
        for (name, container, expected) in cases {
            let template = json!({"spec": {"containers": [container]}});
            let source = Source { template: template.as_object().unwrap().clone(), ..Source::default() };
            assert_eq!(
                sign(name, &source, &choose(&source, None).unwrap()).as_deref(),
                expected,
                "{template}"
            );
        }
    }
}
