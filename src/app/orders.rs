//! Carries out what operators order through the admin API.

use std::time::Duration;

use serde_json::{Value, json};

use super::views::EdgeViews;
use crate::admin::{DrainOrder, Order, OrderError, Orders, Then, Views};
use crate::fleet::{AfterDrain, DrainError};
use crate::model::BackendId;

impl Orders for EdgeViews {
    async fn order(&self, order: Order) -> Result<Value, OrderError> {
        match order {
            Order::Drain(backend, how) => self.drain(backend, how).await,
            Order::Undrain(backend) => self.undrain(backend).await,
            Order::TakeOver => self.door.knock().await,
        }
    }
}

impl EdgeViews {
    async fn drain(&self, backend: BackendId, how: DrainOrder) -> Result<Value, OrderError> {
        let DrainOrder { deadline_ms, then } = how;
        let deadline = deadline_ms.map(|ms| self.clock.now() + Duration::from_millis(ms));
        let then = match then {
            Then::Stay => AfterDrain::Stay,
            Then::Remove => AfterDrain::Remove,
        };
        let drained = self.placement.fleet.drain(backend.clone(), deadline, then).await;
        self.told(&backend, drained)
    }

    async fn undrain(&self, backend: BackendId) -> Result<Value, OrderError> {
        let undrained = self.placement.fleet.undrain(backend.clone()).await;
        self.told(&backend, undrained)
    }

    /// The row of a backend, for which an operator has decided; `null` if it was removed at once.
    fn told(&self, id: &BackendId, decided: Result<(), DrainError>) -> Result<Value, OrderError> {
        decided.map_err(|error| match error {
            DrainError::Unknown => OrderError::Unknown(error.to_string()),
            DrainError::Configured | DrainError::Leaving => OrderError::Refused(error.to_string()),
            DrainError::Ending => OrderError::Unavailable(error.to_string()),
        })?;
        let row = self.backends().into_iter().find(|row| row.id == id.as_str());
        Ok(json!({ "backend": row }))
    }
}
