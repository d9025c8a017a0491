//! What the admin API lets operators do.

use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::BackendId;
use crate::settings::BackendSettings;

/// Who carries out what operators order.
pub trait Orders: Send + Sync + 'static {
    /// Carries out `order`; returns what is told of it, JSON.
    ///
    /// # Errors
    /// Nothing was done, and why.
    fn order(&self, order: Order) -> impl Future<Output = Result<Value, OrderError>> + Send;
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Give a backend no new meetings.
    Drain(BackendId, DrainOrder),
    /// Give it meetings again.
    Undrain(BackendId),
    /// Read the config file again and take it up.
    Reload,
    /// Add a backend, or say something else of one that was added before.
    AddBackend(Box<BackendSettings>),
    /// Remove a backend that was added before.
    RemoveBackend(BackendId),
    /// Hand over to the process that waits for that in the state directory.
    TakeOver,
}

/// How a backend is to be drained: the body of `POST /api/v1/backends/ID/drain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainOrder {
    /// Time until what is left is moved, in milliseconds. `null`: nothing is.
    pub deadline_ms: Option<u64>,
    /// What becomes of it when no meeting is left.
    pub then: Then,
}

/// What becomes of a backend that is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// It stays, without new meetings.
    #[default]
    Stay,
    /// It is removed.
    Remove,
}

/// Why an order was not carried out. Each carries the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It cannot be understood: status 400.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing: status 404.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as things are: status 409.
    #[error("{0}")]
    Refused(String),
    /// It cannot be done now: status 503.
    #[error("{0}")]
    Unavailable(String),
}
