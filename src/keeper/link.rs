//! The keeper's knowledge of one agent, and how each event changes it. Pure: the
//! actor acts on the [`Effect`].

use jiff::{SignedDuration, Timestamp};

use super::conversation::AgentEvent;
use crate::contract::report::Obstacle;
use crate::traffic::{Counts, Refusal};
use crate::words;

/// The pause before a lost conversation is begun again, and before a first
/// refusal is tried again: rights that were made a moment ago may not be known
/// to every API server yet.
pub(crate) const SHORT_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The pause before a repeated refusal is tried again.
pub(crate) const LONG_PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// How long the rules of another environment, which ends, may stay in the way.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_secs(15);

/// The state of one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Link {
    /// The name of the agent's container. Another container is another agent.
    pub(crate) container: String,
    /// How the agent captures, once it has said so.
    pub(crate) method: Option<String>,
    /// The generation of the rules in force.
    pub(crate) in_force: Option<u64>,
    /// The generation whose routes are proven, with notes on the rest.
    pub(crate) proven: Option<(u64, Vec<String>)>,
    /// Why the routes are not proven.
    pub(crate) unproven: Option<Obstacle>,
    /// Why the agent has no rules, and will not have any by itself.
    pub(crate) refused: Option<Obstacle>,
    /// The generation of newer rules of the session, which another keeper has sent.
    pub(crate) superseded_by: Option<u64>,
    /// Since when another session has the requests, and which.
    pub(crate) contested: Option<(Timestamp, Obstacle)>,
    /// That the agent has suspended the filter.
    pub(crate) suspended: Option<Obstacle>,
    /// The counters of the session at this agent.
    pub(crate) counts: Counts,
    /// Connections that are older than the capture.
    pub(crate) predating: usize,
    /// No conversation is begun before this instant.
    pub(crate) pause: Option<Timestamp>,
    /// Since when the API server refuses conversations.
    pub(crate) forbidden: Option<Timestamp>,
    /// Whether a conversation is under way.
    pub(crate) is_open: bool,
    /// Whether the agent has answered in it.
    pub(crate) has_answered: bool,
    /// Whether the agent has withdrawn the session's rules.
    pub(crate) is_withdrawn: bool,
}

/// The consequences of an event outside of the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The conversation goes on.
    Continues,
    /// The conversation is over; a line for the log, if it is worth one.
    Ended(Option<String>),
}

// === impl Link ===

impl Link {
    /// A conversation with the agent in `container` begins.
    pub(crate) fn open(&mut self, container: &str) {
        container.clone_into(&mut self.container);
        self.is_open = true;
        self.pause = None;
    }

    /// Whether a conversation may be begun at `now`.
    pub(crate) fn is_free(&self, now: Timestamp) -> bool {
        !self.is_open && self.pause.is_none_or(|until| until <= now)
    }

    /// Takes in an event of the agent of the session `session` in `namespace`.
    pub(crate) fn apply(
        &mut self,
        event: AgentEvent,
        (namespace, session): (&str, &str),
        now: Timestamp,
    ) -> Effect {
        match event {
            AgentEvent::Hello(method) => {
                self.has_answered = true;
                self.forbidden = None;
                self.method = Some(method.as_str().to_owned());
                self.refused = None;
            }
            AgentEvent::ForeignVersion(version) => {
                let why = format!(
                    "its agent has version {version}, and this version cannot exchange messages with it"
                );
                self.refused = Some(
                    Obstacle::new(why)
                        .hint("stop the environments of that version on this target, and start again"),
                );
            }
            AgentEvent::InForce { generation } => {
                self.in_force = Some(generation);
                self.superseded_by = None;
                self.refused = None;
                self.contested = None;
            }
            AgentEvent::Refused(refusal) => self.refuse(refusal, namespace, now),
            AgentEvent::Proven { generation, notes } => {
                self.proven = Some((generation, notes));
                self.unproven = None;
            }
            AgentEvent::Unproven(unproven) => {
                self.unproven =
                    Some(Obstacle { why: unproven.why, hint: unproven.hint, is_forbidden: false });
            }
            AgentEvent::Status(status) => {
                if let Some(own) = status.sessions.iter().find(|one| one.session == session) {
                    self.counts = own.counts;
                    self.suspended = own.suspended_after_milliseconds.map(suspended);
                }
                self.predating = status.predating;
            }
            AgentEvent::Withdrawn => self.is_withdrawn = true,
            AgentEvent::Forbidden(why) => return Effect::Ended(self.forbid(&why, now)),
            AgentEvent::Ended(why) => {
                self.close(SHORT_PAUSE, now);
                self.in_force = None;
                self.superseded_by = None;
                if !std::mem::take(&mut self.has_answered) {
                    // Out of reach for longer than the lease: the proof does not hold any more.
                    self.proven = None;
                }
                return Effect::Ended(Some(format!("the conversation with the agent is over: {why}")));
            }
        }
        Effect::Continues
    }

    fn refuse(&mut self, refusal: Refusal, namespace: &str, now: Timestamp) {
        let Refusal { why, conflicting_key, newer_generation, .. } = refusal;
        self.in_force = None;
        self.superseded_by = newer_generation;
        let obstacle = Obstacle::new(format!("the agent does not accept the rules: {why}"));
        let Some(key) = conflicting_key else {
            self.refused = Some(obstacle);
            return;
        };
        // The other environment may just be ending: the next renewal tries again.
        let obstacle = obstacle.hint(&hint_to_stop(&key, namespace));
        let (since, obstacle) = self.contested.get_or_insert((now, obstacle));
        if now.duration_since(*since) >= ENDS_WITHIN {
            self.refused = Some(obstacle.clone());
        }
    }

    /// Returns a line for the log.
    fn forbid(&mut self, why: &str, now: Timestamp) -> Option<String> {
        if self.forbidden.is_none() {
            self.forbidden = Some(now);
            self.close(SHORT_PAUSE, now);
            return Some(format!("not yet allowed to exec into the agent's container: {why}"));
        }
        self.close(LONG_PAUSE, now);
        let obstacle = Obstacle::new(format!("the keeper may not exec into its agents' containers: {why}"))
            .hint("the keeper needs the rights that `mirrord preview rbac` prints");
        self.refused = Some(Obstacle { is_forbidden: true, ..obstacle });
        None
    }

    fn close(&mut self, pause: SignedDuration, now: Timestamp) {
        self.is_open = false;
        self.pause = Some(later(now, pause));
    }
}

/// A filter was suspended after a judgement that took so long.
fn suspended(milliseconds: u64) -> Obstacle {
    let why = format!(
        "its agent has suspended the filter, and requests match no more: judging one of them took {milliseconds} ms"
    );
    Obstacle::new(why).hint("start again with a filter that does less for each request")
}

/// What to do about the environment with `key`, which has the requests.
pub(super) fn hint_to_stop(key: &str, namespace: &str) -> String {
    let key = words::key_option(key);
    format!("stop it with `mirrord preview stop {key} -n {namespace}`, or use another filter")
}

/// `now` and a pause of seconds, up to the end of time.
pub(crate) fn later(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::control::{AgentStatus, CaptureMethod, SessionStatus};
    use crate::keeper::canary::Unproven;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open() -> Link {
        let mut link = Link::default();
        link.open("mirrord-agent-1");
        link
    }

    /// Applies events, each at the second before it.
    fn after(link: &mut Link, events: impl IntoIterator<Item = (i64, AgentEvent)>) -> Vec<Effect> {
        let apply = |(at, event)| link.apply(event, ("shop", "s1"), second(at));
        events.into_iter().map(apply).collect()
    }

    fn refusal(conflicting_key: Option<&str>) -> AgentEvent {
        AgentEvent::Refused(Refusal {
            session: Some("s1".to_owned()),
            why: "port 80 is taken".to_owned(),
            conflicting_key: conflicting_key.map(str::to_owned),
            newer_generation: None,
        })
    }

    fn ended() -> AgentEvent {
        AgentEvent::Ended("the connection broke".to_owned())
    }

    #[test]
    fn accepted_rules_end_every_refusal() {
        let mut link = open();
        after(&mut link, [(0, AgentEvent::Hello(CaptureMethod::SkLookup)), (0, refusal(None))]);
        assert_eq!((link.method.as_deref(), link.in_force), (Some("sk_lookup"), None));
        assert_eq!(
            link.refused.as_ref().unwrap().why,
            "the agent does not accept the rules: port 80 is taken"
        );
        after(&mut link, [(1, refusal(Some("pr-2"))), (2, AgentEvent::InForce { generation: 7 })]);
        assert_eq!((link.in_force, &link.refused, &link.contested), (Some(7), &None, &None));
    }

    #[test]
    fn another_key_becomes_an_obstacle_only_if_its_environment_does_not_end() {
        let mut link = open();
        after(&mut link, [(0, refusal(Some("pr-2"))), (14, refusal(Some("pr-2")))]);
        assert_eq!(link.refused, None);
        after(&mut link, [(15, refusal(Some("pr-2")))]);
        let hint = link.refused.unwrap().hint.unwrap();
        assert!(hint.starts_with("stop it with `mirrord preview stop --key pr-2 -n shop`"), "{hint}");
    }

    #[test]
    fn the_hint_to_stop_an_environment_survives_a_shell_with_any_key() {
        for key in
            ["pr-12", "a b", "it's", r#"say "hi""#, "$(reboot) `id`; rm -rf ~ | cat > x & #!", "-x", "\\"]
        {
            let mut link = open();
            after(&mut link, [(0, refusal(Some(key))), (15, refusal(Some(key)))]);
            let hint = link.refused.unwrap().hint.unwrap();
            let command = hint.strip_prefix("stop it with `").unwrap();
            let command = command.strip_suffix("`, or use another filter").unwrap();
            let words = shlex::split(command).unwrap();
            let given = if key.starts_with('-') {
                vec![format!("--key={key}")]
            } else {
                vec!["--key".to_owned(), key.to_owned()]
            };
            let wanted = [
                &["mirrord", "preview", "stop"].map(str::to_owned)[..],
                &given,
                &["-n", "shop"].map(str::to_owned),
            ];
            assert_eq!(words, wanted.concat(), "{command}");
        }
    }

    #[test]
    fn an_older_keeper_is_superseded_until_its_rules_are_accepted_again() {
        let mut link = open();
        let older = Refusal {
            session: Some("s1".to_owned()),
            why: "generation 6 is older than 7, which is in force".to_owned(),
            conflicting_key: None,
            newer_generation: Some(7),
        };
        after(&mut link, [(0, AgentEvent::Refused(older))]);
        assert_eq!(link.superseded_by, Some(7));
        after(&mut link, [(1, AgentEvent::InForce { generation: 8 })]);
        assert_eq!(link.superseded_by, None);
    }

    #[test]
    fn an_agent_of_another_version_is_an_obstacle() {
        let mut link = open();
        after(&mut link, [(0, AgentEvent::ForeignVersion("9.0.0".to_owned()))]);
        assert!(link.refused.unwrap().why.contains("version 9.0.0"));
    }

    #[test]
    fn a_proof_replaces_the_reason_why_there_was_none() {
        let mut link = open();
        let unproven = Unproven { why: "no answer".to_owned(), hint: Some("look".to_owned()) };
        after(&mut link, [(0, AgentEvent::Unproven(unproven))]);
        let obstacle = link.unproven.clone().unwrap();
        assert_eq!((obstacle.why.as_str(), obstacle.hint.as_deref()), ("no answer", Some("look")));
        after(&mut link, [(1, AgentEvent::Proven { generation: 7, notes: vec!["a note".to_owned()] })]);
        assert_eq!((link.unproven, link.proven), (None, Some((7, vec!["a note".to_owned()]))));
    }

    fn status(session: &str, matched: u64, suspended_after_milliseconds: Option<u64>) -> AgentEvent {
        let session = SessionStatus {
            session: session.to_owned(),
            key: "k".to_owned(),
            generation: 7,
            lease_seconds_left: 60,
            counts: Counts { matched, ..Counts::default() },
            suspended_after_milliseconds,
        };
        AgentEvent::Status(Box::new(AgentStatus {
            method: CaptureMethod::SkLookup,
            captured: Vec::new(),
            connections: 0,
            predating: 3,
            reset: 0,
            sessions: vec![session],
        }))
    }

    #[test]
    fn a_filter_that_the_agent_has_suspended_is_an_obstacle_until_another_agent_asks_it() {
        let mut link = open();
        after(&mut link, [(0, status("s2", 0, Some(73)))]);
        assert_eq!(link.suspended, None, "that of another session");
        after(&mut link, [(1, status("s1", 0, Some(73)))]);
        let Obstacle { why, hint, .. } = link.suspended.clone().unwrap();
        assert!(why.contains("suspended the filter") && why.contains("73 ms"), "{why}");
        assert!(hint.unwrap().contains("a filter that does less"));
        after(&mut link, [(2, status("s1", 0, None))]);
        assert_eq!(link.suspended, None);
    }

    #[test]
    fn counts_are_those_of_the_own_session() {
        let mut link = open();
        after(&mut link, [(0, status("s1", 5, None)), (1, status("s2", 9, None))]);
        assert_eq!((link.counts.matched, link.predating), (5, 3));
    }

    #[test]
    fn a_conversation_that_ends_is_begun_again_after_a_pause_and_keeps_its_proof_once() {
        let mut link = open();
        let proven = AgentEvent::Proven { generation: 7, notes: Vec::new() };
        after(
            &mut link,
            [(0, AgentEvent::Hello(CaptureMethod::SkLookup)), (0, AgentEvent::InForce { generation: 7 })],
        );
        let effects = after(&mut link, [(1, proven), (10, ended())]);
        let log = "the conversation with the agent is over: the connection broke".to_owned();
        assert_eq!(effects, [Effect::Continues, Effect::Ended(Some(log))]);
        assert_eq!(
            (link.in_force, link.proven.is_some()),
            (None, true),
            "a short loss does not end the proof"
        );
        assert!(!link.is_free(second(10)));
        assert!(link.is_free(second(11)));
        link.open("mirrord-agent-1");
        assert!(!link.is_free(second(11)));
        after(&mut link, [(20, ended())]);
        assert_eq!(link.proven, None, "the agent has not answered since");
    }

    #[test]
    fn a_first_refusal_of_the_api_server_may_be_too_early_and_a_second_is_an_obstacle() {
        let forbidden = || AgentEvent::Forbidden("pods \"x\" is forbidden".to_owned());
        let mut link = open();
        let effects = after(&mut link, [(0, forbidden())]);
        assert!(matches!(&effects[..], [Effect::Ended(Some(_))]));
        assert_eq!((&link.refused, link.is_free(second(1))), (&None, true));
        link.open("mirrord-agent-1");
        assert_eq!(after(&mut link, [(1, forbidden())]), [Effect::Ended(None)]);
        assert_eq!((link.is_free(second(15)), link.is_free(second(16))), (false, true));
        assert!(link.refused.clone().unwrap().is_forbidden);
        link.open("mirrord-agent-1");
        after(&mut link, [(16, AgentEvent::Hello(CaptureMethod::Nftables))]);
        assert_eq!((link.refused, link.forbidden), (None, None), "the rights are known now");
    }

    #[test]
    fn a_withdrawal_is_noted() {
        let mut link = open();
        assert_eq!(after(&mut link, [(0, AgentEvent::Withdrawn)]), [Effect::Continues]);
        assert!(link.is_withdrawn);
    }
}
