//! Rules whose keeper is silent. The session keeps its requests until the lease ends, but
//! a preview pod may be gone unnoticed and its address may be given to another pod. The
//! agent therefore tries the addresses itself: one that does not accept a connection once
//! gets no more requests before the next renewal. An address changes hands only with a
//! pause in which nothing listens there, since a pod takes a while to start.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::RulesInForce;
use crate::agent::preview_pods::PreviewPods;
use crate::traffic::Rules;
use crate::traffic::judge::Session;

/// The pause between two rounds.
const TRIES_EVERY: Duration = Duration::from_millis(500);

// === impl RulesInForce ===

impl RulesInForce {
    /// Begins to watch the preview pods of sessions whose keepers are silent.
    pub(in crate::agent) fn watch_silent(self: &Rc<Self>) {
        let now = Instant::now();
        for (session, lease) in self.leases.borrow_mut().iter_mut() {
            if lease.is_overdue(now) && !lease.is_watched {
                lease.is_watched = true;
                warn!(session, "no renewal: the preview pods are tried until the next one");
                spawn_local(Rc::clone(self).watch_previews(session.clone()));
            }
        }
    }

    async fn watch_previews(self: Rc<Self>, session: String) {
        while let Some(rules) = self.silent(&session) {
            let tries = rules
                .preview
                .iter()
                .map(|address| async { (!PreviewPods::accepts(&rules, *address).await).then_some(*address) });
            let lost: Vec<IpAddr> = join_all(tries).await.into_iter().flatten().collect();
            // A renewal may have come meanwhile.
            if !lost.is_empty() && self.silent(&session).is_some_and(|now| now == rules) {
                self.lose(&session, &lost);
            }
            sleep(TRIES_EVERY).await;
        }
    }

    /// The rules of a session whose keeper is silent.
    fn silent(&self, session: &str) -> Option<Rules> {
        let leases = self.leases.borrow();
        leases.get(session).filter(|lease| lease.is_watched)?;
        Some(self.shared.rules().get(session)?.rules.clone())
    }

    /// Sends no more requests to these addresses.
    fn lose(&self, session: &str, lost: &[IpAddr]) {
        let Some(mut rules) = self.silent(session) else { return };
        let sent = rules.clone();
        rules.preview.retain(|address| !lost.contains(address));
        self.replace(rules);
        if let Some(lease) = self.leases.borrow_mut().get_mut(session) {
            lease.sent.get_or_insert(sent);
        }
        warn!(session, ?lost, "preview pods are gone while there is no renewal");
    }

    /// Puts the rules back in force that the keeper sent.
    pub(super) fn restore(&self, session: &str) {
        let sent = self.leases.borrow_mut().get_mut(session).and_then(|lease| lease.sent.take());
        if let Some(rules) = sent {
            self.replace(rules);
        }
    }

    /// Puts other rules of the same generation in force.
    fn replace(&self, rules: Rules) {
        let table = self.shared.rules();
        let Some(known) = table.get(&rules.session) else { return };
        let kept = Arc::clone(&known.kept);
        let table = table.with(Session { rules, kept });
        self.shared.set_rules(table.expect("the session claims the same requests as before"));
    }
}
