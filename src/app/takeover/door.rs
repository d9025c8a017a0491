//! Where a successor asks to take over.

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::admin::OrderError;

/// Who asks hears whether the successor was met, and if not why.
pub(crate) type Knock = oneshot::Sender<Result<(), String>>;

/// The way to the [`Predecessor`](super::Predecessor). Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Door(mpsc::Sender<Knock>);

impl Door {
    /// A door, and where it is heard when somebody knocks. One waits at most.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Knock>) {
        let (door, knocks) = mpsc::channel(1);
        (Self(door), knocks)
    }

    /// Asks for a hand-over to whoever waits in the state directory.
    ///
    /// # Errors
    /// Nobody waits there, or this process hands over already, or cannot.
    pub(crate) async fn knock(&self) -> Result<Value, OrderError> {
        let (knock, answer) = oneshot::channel();
        let refused = |reason: &str| OrderError::Refused(reason.to_owned());
        self.0.try_send(knock).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => refused("another process asks already"),
            mpsc::error::TrySendError::Closed(_) => refused(
                "this edge hands over no pins: it has been taken over, or pins.store is not \"disk\"",
            ),
        })?;
        match answer.await {
            Ok(Ok(())) => Ok(json!({})),
            Ok(Err(reason)) => Err(OrderError::Refused(reason)),
            Err(_) => Err(refused("another process has taken over")),
        }
    }
}
