//! One stream: judged by its head, or by its body where a filter asks for that,
//! and carried to the application or to the preview.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::timeout;

use super::answer::unavailable;
use super::application::Application;
use super::carry::{Responder, carry};
use super::copy::{CopiedStream, Copies};
use super::head::{outgoing, with_filter_head};
use super::previews::PreviewConnections;
use super::upload::Upload;
use crate::agent::shared::{Counters, MAX_BODY_WAIT, Shared};
use crate::traffic::Judgement;
use crate::traffic::filter::Body;

/// One stream's share of its connection.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    /// The application's port.
    pub(super) port: u16,
    pub(super) app: SendRequest<Bytes>,
    pub(super) application: Rc<Application>,
    pub(super) previews: Rc<PreviewConnections>,
}

// === impl Stream ===

impl Stream {
    /// Carries the stream to its end.
    pub(super) async fn serve(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        let mut upload = Upload::new(body);
        let Judgement { stealer, mirrors, undecided } = self.judge(&request, &mut upload).await;
        if !mirrors.is_empty() || !undecided.is_empty() {
            let original = CopiedStream::new(&request, &self.previews, self.port);
            upload.copies = Copies::begin(mirrors, undecided, original);
        }
        let sender = match &stealer {
            None => self.app.ready().await.map_err(io::Error::other),
            Some(session) => self.previews.get(session, self.port).await,
        };
        let sent = sender.and_then(|mut sender| {
            let is_end = upload.is_empty();
            sender
                .send_request(outgoing(&request), is_end)
                .map(|sent| (sent, is_end))
                .map_err(io::Error::other)
        });
        match (sent, stealer) {
            (Ok(((response, up), is_end)), None) => {
                let _open = self.application.open();
                let responder = Responder::Application(&self.application);
                carry(upload, is_end, up, response, respond, responder).await;
            }
            (Ok(((response, up), is_end)), Some(session)) => {
                let responder = Responder::Preview(&session, &request);
                carry(upload, is_end, up, response, respond, responder).await;
            }
            (Err(why), Some(session)) => unavailable(&session, &request, &why, respond),
            // The application has not seen it: the client may try elsewhere.
            (Err(_), None) => respond.send_reset(Reason::REFUSED_STREAM),
        }
    }

    /// Judges the request by its head. Where a filter asks for the body, reads
    /// ahead and judges once more.
    async fn judge(&self, request: &Request<()>, upload: &mut Upload) -> Judgement<Arc<Counters>> {
        // A copy never delays the original: while more data may come, sessions that
        // mirror are decided about later.
        let has_ended = upload.has_ended();
        let judge = |body: Body<'_>, may_wait: bool| {
            with_filter_head(request, |head| {
                let mut judgement = self.shared.judge(self.port, head, body);
                let is_open = has_ended && !judgement.undecided.is_empty();
                let waits = may_wait && (is_open || judgement.is_worth_waiting());
                if !waits {
                    judgement.wait_no_longer();
                    self.shared.count(self.port, head, &judgement);
                }
                (judgement, waits)
            })
        };
        let (judgement, waits) = judge(Body::Unread, true);
        if !waits {
            return judgement;
        }
        let read = timeout(MAX_BODY_WAIT, upload.read_ahead()).await;
        let body = match &read {
            Ok(whole) => whole.as_deref().map_or(Body::Unknown, Body::Whole),
            Err(_) => Body::Unread,
        };
        judge(body, false).0
    }
}
