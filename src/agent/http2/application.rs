//! What is known of the application's connection, so that the client's ends as
//! the application's ends: with a GOAWAY where there was one, and broken off
//! where it broke off.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::sync::{Notify, watch};

/// The application's connection, as its driver and its streams see it.
pub(super) struct Application {
    changed: Notify,
    /// It takes no more streams.
    is_leaving: Cell<bool>,
    /// It has ended, though what it has said may still be on its way.
    is_over: Cell<bool>,
    /// Its streams that are under way.
    open: Cell<usize>,
    /// Those of them that broke with it, and how that was.
    lost: Cell<usize>,
    how: Cell<Option<io::ErrorKind>>,
    /// Whether the client's connection has ended.
    end: watch::Sender<bool>,
}

/// How the client's connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As before.
    Serves,
    /// With what it has, and nothing new.
    TakesNoMore,
    /// Not at all: streams broke with the application's connection, and what
    /// else it had said has been passed on.
    Lost(io::ErrorKind),
}

/// A stream of the application's that is under way.
pub(super) struct Open(Rc<Application>);

// === impl Application ===

impl Default for Application {
    fn default() -> Self {
        Self {
            changed: Notify::new(),
            is_leaving: Cell::new(false),
            is_over: Cell::new(false),
            open: Cell::new(0),
            lost: Cell::new(0),
            how: Cell::new(None),
            end: watch::Sender::new(false),
        }
    }
}

impl Application {
    /// Waits until there is something new.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// It has said that it takes no more.
    pub(super) fn leaves(&self) {
        self.is_leaving.set(true);
        self.changed.notify_one();
    }

    /// It has ended.
    pub(super) fn is_gone(&self) {
        self.is_over.set(true);
        self.changed.notify_one();
    }

    /// A stream begins.
    pub(super) fn open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        Open(Rc::clone(self))
    }

    /// A stream broke with the connection. Returns when the client's has ended
    /// too: dropped earlier, the stream would end in words of our own.
    pub(super) async fn lose(&self, how: io::ErrorKind) {
        self.lost.set(self.lost.get() + 1);
        self.how.set(Some(how));
        self.changed.notify_one();
        // The sender is ours: it cannot be gone.
        let _ = self.end.subscribe().wait_for(|has_ended| *has_ended).await;
    }

    /// The client's connection has ended.
    pub(super) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Whether something is over, and what is left is not waited for for ever.
    pub(super) const fn is_ending(&self) -> bool {
        self.is_over.get() || self.how.get().is_some()
    }

    /// How the client's connection goes on; `is_late`: nothing is waited for.
    pub(super) fn standing(&self, is_late: bool) -> Standing {
        let (open, lost) = (self.open.get(), self.lost.get());
        match self.how.get() {
            Some(how) if is_late || open == lost => Standing::Lost(how),
            None if self.is_over.get() && (is_late || open == 0) => Standing::TakesNoMore,
            _ if self.is_leaving.get() => Standing::TakesNoMore,
            _ => Standing::Serves,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.is_ending() {
            self.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::ConnectionReset;

    use super::*;

    #[test]
    fn what_has_come_whole_is_passed_on_before_the_connection_breaks_off() {
        let application = Rc::new(Application::default());
        let (whole, broken) = (application.open(), application.open());
        assert_eq!(application.standing(false), Standing::Serves);
        application.is_gone();
        assert_eq!(application.standing(false), Standing::Serves, "neither stream has said how it ended");
        application.lost.set(1);
        application.how.set(Some(ConnectionReset));
        assert_eq!(application.standing(false), Standing::Serves, "one is still on its way");
        assert_eq!(application.standing(true), Standing::Lost(ConnectionReset));
        drop(whole);
        assert_eq!(application.standing(false), Standing::Lost(ConnectionReset));
        drop(broken);
    }

    #[test]
    fn a_connection_that_ends_with_nothing_under_way_takes_no_more() {
        let application = Rc::new(Application::default());
        let open = application.open();
        application.leaves();
        assert_eq!(application.standing(false), Standing::TakesNoMore, "a GOAWAY is passed on at once");
        let application = Rc::new(Application::default());
        application.is_gone();
        assert_eq!(application.standing(false), Standing::TakesNoMore);
        drop(open);
    }
}
