//! Why there is no place, as the client is told and as it is counted.

use crate::pins::PinError;
use crate::policy::choose::NoBackend;
use crate::protocol::error::{Failure, QueueSpot};
use crate::telemetry::ChoiceReason;

/// Why there is no place. All but `Elsewhere` are told as 40009.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum PlaceError {
    #[error(transparent)]
    NoBackend(#[from] NoBackend),
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error("the media server of this meeting does not answer at the moment; try again")]
    Waiting,
    #[error("the meeting is on another media server than what the transaction touches")]
    Elsewhere,
    #[error(
        "the meeting is on a media server without the labels that are required; client: join it \
         without them, or begin another meeting"
    )]
    Unlabelled,
    /// It is to wait for room; told to nobody.
    #[error("every media server is full; operator: add backends or raise their capacity")]
    NoRoomYet,
    #[error("every media server is full, and too many wait for room; operator: add backends")]
    QueueFull(QueueSpot),
    #[error("every media server was full for too long; operator: add backends")]
    QueuedTooLong(QueueSpot),
}

impl PlaceError {
    pub(in crate::proxy) fn into_failure(self) -> Failure {
        match self {
            Self::Elsewhere => Failure::malformed_transaction(self.to_string()),
            Self::QueueFull(spot) | Self::QueuedTooLong(spot) => {
                Failure::queued(self.to_string(), spot)
            }
            Self::NoBackend(_)
            | Self::Pins(_)
            | Self::Waiting
            | Self::Unlabelled
            | Self::NoRoomYet => Failure::not_enough_resources(self.to_string()),
        }
    }

    pub(super) fn reason(&self) -> ChoiceReason {
        match self {
            Self::NoBackend(NoBackend::NoneHealthy) => ChoiceReason::NoneHealthy,
            Self::NoBackend(NoBackend::NoneLabelled) => ChoiceReason::NoneLabelled,
            Self::NoBackend(NoBackend::AllFull) | Self::NoRoomYet => ChoiceReason::AllFull,
            Self::Unlabelled => ChoiceReason::Unlabelled,
            Self::QueueFull(_) => ChoiceReason::QueueFull,
            Self::QueuedTooLong(_) => ChoiceReason::QueueTimeout,
            Self::Pins(_) => ChoiceReason::Pins,
            Self::Waiting => ChoiceReason::Timeout,
            Self::Elsewhere => ChoiceReason::Elsewhere,
        }
    }
}
