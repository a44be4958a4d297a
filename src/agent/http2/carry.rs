//! Both directions of one stream.

use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use futures::future::{Either, select};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Request, Response};
use tokio::task::yield_now;

use super::answer::unavailable;
use super::application::Application;
use super::copy::Copies;
use super::pump::{MAX_YIELDS, pump};
use super::send::{Stopped, reason};
use super::upload::Upload;
use crate::agent::shared::ActiveSession;

/// Which side responds to a stream.
#[derive(Clone, Copy)]
pub(super) enum Responder<'a> {
    Application(&'a Application),
    Preview(&'a ActiveSession, &'a Request<()>),
}

/// Carries both directions until both have ended or either side breaks off. When
/// the response is whole before its request, the rest of the request is still
/// sent, unless its receiver resets the stream.
pub(super) async fn carry(
    mut upload: Upload,
    is_uploaded: bool,
    mut up: SendStream<Bytes>,
    response: ResponseFuture,
    respond: SendResponse<Bytes>,
    responder: Responder<'_>,
) {
    let cancelled = {
        let uploading = pin!(async {
            if is_uploaded {
                upload.copies.end(None);
                return Ok(());
            }
            upload.send(&mut up).await
        });
        let downloading = pin!(download(response, respond, responder));
        match select(uploading, downloading).await {
            // Only the response ends a stream whose request is whole or not wanted.
            Either::Left((Ok(()) | Err(Stopped::ByReceiver(_)), downloading)) => downloading.await.err(),
            Either::Right((Ok(()), uploading)) => {
                let _ = uploading.await;
                None
            }
            Either::Right((Err(stopped), uploading)) => {
                // Data that the client sent before leaves first, if there is room for it.
                let while_others_run = pin!(async {
                    for _ in 0..=MAX_YIELDS {
                        yield_now().await;
                    }
                });
                select(uploading, while_others_run).await;
                Some(stopped)
            }
            Either::Left((Err(stopped), _)) => Some(stopped),
        }
    };
    if let Some(Stopped::ByReceiver(Some(reason))) = cancelled {
        up.send_reset(reason);
    }
}

/// Carries the response.
///
/// # Errors
///
/// It was broken off, and the client has been told.
async fn download(
    mut response: ResponseFuture,
    mut respond: SendResponse<Bytes>,
    responder: Responder<'_>,
) -> Result<(), Stopped> {
    let answered = std::future::poll_fn(|context| {
        if let Poll::Ready(reason) = respond.poll_reset(context) {
            return Poll::Ready(Err(Stopped::ByReceiver(reason.ok())));
        }
        while let Poll::Ready(Some(Ok(early))) = response.poll_informational(context) {
            let _ = respond.send_informational(early);
        }
        Pin::new(&mut response).poll(context).map(Ok)
    })
    .await?;
    let response = match answered {
        Ok(response) => response,
        Err(error) => return unanswered(error, respond, responder).await,
    };
    let (parts, mut body) = response.into_parts();
    let is_end = body.is_end_stream();
    let response = Response::from_parts(parts, ());
    let mut down = respond.send_response(response, is_end).map_err(|_| Stopped::ByReceiver(None))?;
    if is_end {
        return Ok(());
    }
    let pumped = pump(Vec::new(), &mut body, &mut down, &mut Copies::default()).await;
    if let Err(Stopped::Lost(how)) = pumped {
        match responder {
            Responder::Application(application) => application.lose(how).await,
            Responder::Preview(..) => {
                yield_now().await;
                down.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        return Err(Stopped::BySender);
    }
    pumped
}

/// Ends a stream that gets no response.
async fn unanswered(
    error: h2::Error,
    mut respond: SendResponse<Bytes>,
    responder: Responder<'_>,
) -> Result<(), Stopped> {
    match (responder, error.get_io().map(io::Error::kind)) {
        (Responder::Application(application), Some(how)) => application.lose(how).await,
        (Responder::Preview(session, request), _) if is_broken(&error) => {
            unavailable(session, request, &io::Error::other(error), respond);
            return Ok(());
        }
        _ => {
            // A reset takes back data that has not left yet.
            yield_now().await;
            respond.send_reset(reason(&error));
        }
    }
    Err(Stopped::BySender)
}

/// Whether the preview's connection broke, rather than one stream that the
/// preview has ended or refused.
fn is_broken(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away() && !error.is_remote()
}
