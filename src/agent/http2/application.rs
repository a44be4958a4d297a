//! The state of the application's connection, so that the client's connection
//! ends in the same way: with a GOAWAY where there was one, and broken where it
//! broke.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::sync::{Notify, watch};

/// The application's connection, as its driver and its streams see it.
pub(super) struct Application {
    changed: Notify,
    /// Whether it takes no more streams.
    is_leaving: Cell<bool>,
    /// Whether it has ended. Data that it sent may still be on its way.
    is_over: Cell<bool>,
    /// How many of its streams are under way.
    open: Cell<usize>,
    /// How many of these broke with the connection.
    lost: Cell<usize>,
    /// How the connection broke.
    how: Cell<Option<io::ErrorKind>>,
    /// Whether the client's connection has ended.
    end: watch::Sender<bool>,
}

/// How far the application's connection still serves its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It takes streams.
    Open,
    /// It ends the streams that it has, and takes no new ones.
    Draining,
    /// It broke with streams under way. The data that it had sent has been
    /// passed on.
    Lost(io::ErrorKind),
}

/// Counts one stream to the application as under way until it is dropped.
pub(super) struct OpenStream(Rc<Application>);

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
    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes that it takes no more streams.
    pub(super) fn leaves(&self) {
        self.is_leaving.set(true);
        self.changed.notify_one();
    }

    /// Notes that it has ended.
    pub(super) fn is_gone(&self) {
        self.is_over.set(true);
        self.changed.notify_one();
    }

    /// Begins a stream.
    pub(super) fn open(self: &Rc<Self>) -> OpenStream {
        self.open.set(self.open.get() + 1);
        OpenStream(Rc::clone(self))
    }

    /// Notes that a stream broke with the connection. Returns once the client's
    /// connection has ended too: dropped earlier, the stream would end with a reset
    /// that the application did not send.
    pub(super) async fn lose(&self, how: io::ErrorKind) {
        self.lost.set(self.lost.get() + 1);
        self.how.set(Some(how));
        self.changed.notify_one();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.end.subscribe().wait_for(|has_ended| *has_ended).await;
    }

    /// Notes that the client's connection has ended.
    pub(super) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Whether the connection has ended or broken: the wait for its streams has a limit.
    pub(super) const fn is_ending(&self) -> bool {
        self.is_over.get() || self.how.get().is_some()
    }

    /// How far it still serves; `is_late`: its streams are no longer waited for.
    pub(super) fn service(&self, is_late: bool) -> Service {
        let (open, lost) = (self.open.get(), self.lost.get());
        match self.how.get() {
            Some(how) if is_late || open == lost => Service::Lost(how),
            None if self.is_over.get() && (is_late || open == 0) => Service::Draining,
            _ if self.is_leaving.get() => Service::Draining,
            _ => Service::Open,
        }
    }
}

impl Drop for OpenStream {
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
    fn whole_responses_are_passed_on_before_the_connection_breaks() {
        let application = Rc::new(Application::default());
        let (whole, broken) = (application.open(), application.open());
        assert_eq!(application.service(false), Service::Open);
        application.is_gone();
        assert_eq!(application.service(false), Service::Open, "it is not known yet how either stream ended");
        application.lost.set(1);
        application.how.set(Some(ConnectionReset));
        assert_eq!(application.service(false), Service::Open, "one response is still under way");
        assert_eq!(application.service(true), Service::Lost(ConnectionReset));
        drop(whole);
        assert_eq!(application.service(false), Service::Lost(ConnectionReset));
        drop(broken);
    }

    #[test]
    fn a_connection_that_ends_without_streams_under_way_drains() {
        let application = Rc::new(Application::default());
        let open = application.open();
        application.leaves();
        assert_eq!(application.service(false), Service::Draining, "a GOAWAY is passed on at once");
        let application = Rc::new(Application::default());
        application.is_gone();
        assert_eq!(application.service(false), Service::Draining);
        drop(open);
    }
}
