//! The `info` lines of `start`.

use jiff::Timestamp;

use crate::session::{Key, Session};
use crate::words;

/// The lines about an environment: key, namespace and pod are first and in this
/// order, because other programs read them. The features contribute
/// `contributed`; `typed` are the flags that select the cluster.
pub(in crate::preview) fn started(
    session: &Session,
    pods: &[String],
    contributed: Vec<String>,
    typed: &[(&str, String)],
    now: Timestamp,
) -> Vec<String> {
    let key = &session.key;
    let mut lines = vec![format!("key: {key}"), format!("namespace: {}", session.namespace)];
    lines.extend(pods.iter().map(|pod| format!("pod: {pod}")));
    lines.push(match (session.expiry, session.left(now)) {
        (Some(expiry), Some(left)) => format!("expires: {expiry} (in {})", humantime::format_duration(left)),
        _ => "expires: never".to_owned(),
    });
    lines.extend(contributed);
    let command = |verb| command(verb, key, &session.namespace, typed);
    lines.push(format!("look: {}", command("status")));
    lines.push(format!("stop: {}", command("stop")));
    lines
}

/// A command for one environment that works in any shell: it names the cluster
/// with the flags that were `typed`.
pub(in crate::preview) fn command(
    verb: &str,
    key: &Key,
    namespace: &str,
    typed: &[(&str, String)],
) -> String {
    let mut command = format!("mirrord preview {verb} {} -n {namespace}", words::key_option(key.as_str()));
    for (flag, value) in typed {
        command.push_str(&format!(" {flag} {}", words::shell_word(value)));
    }
    command
}
