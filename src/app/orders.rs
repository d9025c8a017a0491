//! Carries out what operators order through the admin API.

use std::time::Duration;

use serde_json::{Value, json};

use super::ReloadError;
use super::views::EdgeViews;
use crate::admin::{DrainOrder, Order, OrderError, Orders, Then, Views};
use crate::discovery::ChangeError;
use crate::fleet::{AfterDrain, DrainError};
use crate::model::BackendId;

impl Orders for EdgeViews {
    async fn order(&self, order: Order) -> Result<Value, OrderError> {
        let Some(_entered) = self.orders.try_enter() else {
            let reason = "another process is taking over from this edge; try again in a moment";
            return Err(OrderError::Unavailable(reason.to_owned()));
        };
        match order {
            Order::Drain(backend, how) => self.drain(backend, how).await,
            Order::Undrain(backend) => self.undrain(backend).await,
            Order::Reload => self.reload().await,
            Order::AddBackend(backend) => {
                let id = backend.id.clone();
                self.told_change(&id, self.discovery.add(*backend).await)
            }
            Order::RemoveBackend(id) => {
                self.told_change(&id, self.discovery.remove(id.clone()).await)
            }
            Order::TakeOver => self.door.knock().await,
        }
    }
}

impl EdgeViews {
    async fn drain(&self, backend: BackendId, how: DrainOrder) -> Result<Value, OrderError> {
        let DrainOrder { deadline_ms, then } = how;
        let deadline = deadline_ms.map(Duration::from_millis);
        let then = match then {
            Then::Stay => AfterDrain::Stay,
            Then::Remove => AfterDrain::Remove,
        };
        let fleet = &self.placement.fleet;
        let drained = self.drains.drain(fleet, backend.clone(), (deadline, then), &self.clock);
        let drained = drained.await;
        self.told(&backend, drained)
    }

    async fn undrain(&self, backend: BackendId) -> Result<Value, OrderError> {
        let undrained = self.drains.undrain(&self.placement.fleet, backend.clone()).await;
        self.told(&backend, undrained)
    }

    async fn reload(&self) -> Result<Value, OrderError> {
        match self.reload.reload().await {
            Ok(changes) => Ok(json!({ "changes": changes })),
            Err(error @ (ReloadError::Mistakes(_) | ReloadError::NoFile)) => {
                Err(OrderError::Refused(error.to_string()))
            }
            Err(error @ (ReloadError::Busy | ReloadError::Stopping)) => {
                Err(OrderError::Unavailable(error.to_string()))
            }
        }
    }

    /// The row of a backend that was added or removed; `null` if it is gone, or has to wait.
    fn told_change(
        &self,
        id: &BackendId,
        changed: Result<(), ChangeError>,
    ) -> Result<Value, OrderError> {
        changed.map_err(|error| match error {
            ChangeError::Unknown => OrderError::Unknown(error.to_string()),
            ChangeError::NamedBy(_) | ChangeError::Taken(..) | ChangeError::TooMany(_) => {
                OrderError::Refused(error.to_string())
            }
            ChangeError::Ending => OrderError::Unavailable(error.to_string()),
        })?;
        self.row(id)
    }

    /// The row of a backend, for which an operator has decided; `null` if it was removed at once.
    fn told(&self, id: &BackendId, decided: Result<(), DrainError>) -> Result<Value, OrderError> {
        decided.map_err(|error| match error {
            DrainError::Unknown => OrderError::Unknown(error.to_string()),
            DrainError::Configured | DrainError::Leaving => OrderError::Refused(error.to_string()),
            DrainError::Ending => OrderError::Unavailable(error.to_string()),
        })?;
        self.row(id)
    }

    fn row(&self, id: &BackendId) -> Result<Value, OrderError> {
        let row = self.backends().into_iter().find(|row| row.id == id.as_str());
        Ok(json!({ "backend": row }))
    }
}
