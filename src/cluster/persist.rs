//! Trying again while the cluster does not answer.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::Error;

/// How long the cluster may give no answer before it counts as lost: longer than an
/// API server behind a load balancer takes to restart.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Tries until the cluster has answered, or for [`SILENCE`] in vain. The same
/// may have been done once before the connection broke.
pub(crate) async fn persist<T>(act: impl AsyncFn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match act().await {
            Err(error) if !is_final(&error) && began.elapsed() < SILENCE => sleep(PAUSE).await,
            result => return result,
        }
    }
}

fn is_final(error: &anyhow::Error) -> bool {
    Error::among(error).is_some_and(Error::is_final)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kube::core::Status;

    use super::*;

    fn answer(code: u16) -> anyhow::Error {
        let status = Status { code, ..Status::default() };
        Error::from(kube::Error::Api(status.boxed())).into_problem("could not end it").into()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_waited_out_and_a_refusal_is_final() {
        let tries = Cell::new(0);
        let begin = |until: u32, error: fn() -> anyhow::Error| {
            tries.set(0);
            let tries = &tries;
            persist(async move || {
                tries.set(tries.get() + 1);
                if tries.get() < until { Err(error()) } else { Ok(()) }
            })
        };
        assert!(begin(4, || anyhow::Error::msg("connection reset")).await.is_ok());
        assert!(begin(4, || answer(503)).await.is_ok());
        assert_eq!(tries.get(), 4);
        assert!(begin(4, || answer(403)).await.is_err());
        assert_eq!(tries.get(), 1);
        assert!(begin(u32::MAX, || anyhow::Error::msg("connection refused")).await.is_err());
        assert!(tries.get() > 10);
    }
}
