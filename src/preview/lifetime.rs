//! Every deadline of an environment's root. Pure: the root and the time come
//! in, a number of seconds goes out.
//!
//! A deadline is the Job's `activeDeadlineSeconds`: whole seconds from the start
//! of the root; `None` where the root has no end. The one deadline that is not
//! here is [`ENDING`](crate::session::ENDING), by which a root is told to end.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::session::Ttl;

/// How long an environment may take to be made, beyond the limit for its start,
/// before Kubernetes removes what a dead CLI left.
const START_MARGIN: Duration = Duration::from_mins(10);
/// How long the record of a failed start is kept: until somebody who saw CI fail
/// has come to look.
const RECORD_KEPT: Duration = Duration::from_mins(15);

/// The instant from which an environment's time to live is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedFrom {
    /// `start` waits, and sets the deadline at the instant of readiness.
    Readiness,
    /// Nobody waits.
    Creation,
}

/// The inputs of the deadlines that hold before an environment is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// How long it is to live.
    pub(crate) ttl: Ttl,
    /// How long `start` may wait for it, image pulls apart.
    pub(crate) start_limit: Duration,
    /// The instant from which `ttl` is counted.
    pub(crate) counted_from: CountedFrom,
}

// === impl Lifetime ===

impl Lifetime {
    /// The deadline of a root that does not own all its objects yet: Kubernetes
    /// removes it soon if the CLI dies.
    pub(crate) fn at_creation(self) -> Option<i64> {
        let whole = self.once_created();
        match self.counted_from {
            // This one ends soon by itself, and moves on while somebody waits.
            CountedFrom::Readiness => whole,
            CountedFrom::Creation => {
                let half_made = seconds(self.start_limit.saturating_add(START_MARGIN));
                Some(whole.map_or(half_made, |whole| whole.min(half_made)))
            }
        }
    }

    /// The deadline of a root that owns all its objects, until they are ready.
    pub(crate) fn once_created(self) -> Option<i64> {
        self.until_ready().map(seconds)
    }

    /// The same, moved on by the time that was `waited` while an image is pulled.
    pub(crate) fn while_pulling(self, waited: Duration) -> Option<i64> {
        self.until_ready().map(|deadline| seconds(deadline.saturating_add(waited)))
    }

    fn until_ready(self) -> Option<Duration> {
        match (self.ttl, self.counted_from) {
            (Ttl::Finite(life), CountedFrom::Readiness) => Some(life.saturating_add(self.start_limit)),
            (Ttl::Finite(life), CountedFrom::Creation) => Some(life),
            (Ttl::Infinite, CountedFrom::Readiness) => Some(self.start_limit.saturating_add(START_MARGIN)),
            (Ttl::Infinite, CountedFrom::Creation) => None,
        }
    }
}

/// The deadline that lets `root` live for `ttl` from `instant`: the instant of
/// readiness, or the time of an `extend`.
pub(crate) fn counted_from(root: &Job, ttl: Ttl, instant: Timestamp) -> Option<i64> {
    let Ttl::Finite(life) = ttl else { return None };
    let start = root.status.as_ref().and_then(|status| status.start_time.as_ref());
    let start = start.or(root.metadata.creation_timestamp.as_ref()).map_or(instant, |time| time.0);
    Some(seconds(life).saturating_add(instant.duration_since(start).as_secs().max(0)))
}

/// The deadline of a root that is replaced by one whose pods may take
/// `start_limit` to be ready. It never moves a deadline back.
pub(crate) fn retiring(root: &Job, start_limit: Duration, now: Timestamp) -> Option<i64> {
    let current = root.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    current.into_iter().chain(counted_from(root, Ttl::Finite(start_limit), now)).min()
}

/// The deadline of the root that keeps the reason of a failed start.
pub(crate) fn failed_record() -> i64 {
    seconds(RECORD_KEPT)
}

/// A Job's deadline counts whole seconds.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn lifetime(ttl: Ttl, counted_from: CountedFrom) -> Lifetime {
        Lifetime { ttl, start_limit: MINUTE, counted_from }
    }

    /// A root that started at second 10 of the epoch.
    fn root(deadline: Option<i64>) -> Job {
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "1970-01-01T00:00:05Z"},
            "spec": {"template": {}, "activeDeadlineSeconds": deadline},
            "status": {"startTime": "1970-01-01T00:00:10Z"},
        }))
        .unwrap()
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_start_whose_cli_died_always_ends() {
        let hours = |hours| Ttl::Finite(Duration::from_hours(hours));
        let short = Ttl::Finite(Duration::from_secs(90));
        let half_made = Some(60 + 600);
        for (ttl, counted_from, at_creation, once_created) in [
            (Ttl::Infinite, CountedFrom::Creation, half_made, None),
            (hours(8), CountedFrom::Creation, half_made, Some(8 * 3600)),
            (short, CountedFrom::Creation, Some(90), Some(90)),
            (Ttl::Infinite, CountedFrom::Readiness, half_made, half_made),
            (hours(8), CountedFrom::Readiness, Some(8 * 3600 + 60), Some(8 * 3600 + 60)),
            (short, CountedFrom::Readiness, Some(90 + 60), Some(90 + 60)),
        ] {
            let lifetime = lifetime(ttl, counted_from);
            let deadlines = (lifetime.at_creation(), lifetime.once_created());
            assert_eq!(deadlines, (at_creation, once_created), "{lifetime:?}");
        }
    }

    #[test]
    fn a_long_pull_moves_the_deadline_on() {
        let pulled = |ttl, counted_from| lifetime(ttl, counted_from).while_pulling(MINUTE * 5);
        assert_eq!(pulled(Ttl::Finite(MINUTE), CountedFrom::Readiness), Some(60 + 60 + 300));
        assert_eq!(pulled(Ttl::Infinite, CountedFrom::Readiness), Some(60 + 600 + 300));
        assert_eq!(pulled(Ttl::Infinite, CountedFrom::Creation), None);
        let endless = Ttl::Finite(Duration::MAX);
        assert_eq!(pulled(endless, CountedFrom::Readiness), Some(i64::MAX));
    }

    #[test]
    fn a_life_is_counted_from_an_instant_by_the_start_of_the_root() {
        for (ttl, instant, deadline) in [
            (Ttl::Finite(MINUTE), second(30), Some(80)),
            // The clock of the instant is behind that of the root's start.
            (Ttl::Finite(MINUTE), second(1), Some(60)),
            (Ttl::Infinite, second(30), None),
        ] {
            assert_eq!(counted_from(&root(None), ttl, instant), deadline, "{ttl} {instant}");
        }
        let mut unstarted = root(None);
        unstarted.status = None;
        assert_eq!(counted_from(&unstarted, Ttl::Finite(MINUTE), second(30)), Some(85), "by its creation");
    }

    #[test]
    fn a_replaced_root_never_lives_longer_than_before() {
        for (before, after) in [(None, 80), (Some(3600), 80), (Some(70), 70), (Some(1), 1)] {
            assert_eq!(retiring(&root(before), MINUTE, second(30)), Some(after), "{before:?}");
        }
    }

    #[test]
    fn the_record_of_a_failed_start_is_kept_for_a_quarter_of_an_hour() {
        assert_eq!(failed_record(), 900);
    }
}
