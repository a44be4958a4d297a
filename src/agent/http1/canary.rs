//! The answer to the keeper's canary request. The agent gives it itself, so no
//! handler of the application runs; the application has accepted a connection for
//! it, as for every request. The preview is asked for its options only.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::agent::closing::linger;
use crate::agent::preview_answer::Answer;
use crate::agent::preview_pods::PreviewPods;
use crate::agent::relay_buffer::RelayBuffer;
use crate::agent::shared::Counters;
use crate::traffic::canary;

/// A canary whose head is still held in the buffer.
pub(super) struct CanaryRequest {
    pub(super) canary: canary::Judged<Arc<Counters>>,
    /// The application's port that the keeper dialled.
    pub(super) port: u16,
    /// The length of the head, in bytes.
    pub(super) length: usize,
}

// === impl CanaryRequest ===

impl CanaryRequest {
    /// Asks the preview for its options if the canary is for it, sends the result, and
    /// ends the connection.
    pub(super) async fn answer(self, client: &mut TcpStream, up: &mut RelayBuffer) -> std::io::Result<()> {
        up.discard(self.length);
        let mut found = self.canary.found;
        if self.canary.reach {
            match PreviewPods::of(&self.canary.session.rules, self.port).ask_all().await {
                Ok(Answer::Http) => {}
                Ok(Answer::Other) => found.is_foreign = true,
                Ok(Answer::Nothing(why)) => found.unanswered = Some(why),
                Err(why) => found.unreached = Some(why),
            }
        }
        let body = serde_json::to_string(&found)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all((head + &body).as_bytes()).await?;
        linger(client).await
    }
}
