//! Orders of operators to drain backends, kept for as long as they hold: beyond a restart of the edge,
//! and while a backend is away that another source brings back.
//!
//! The file is written whole, beside the old one, and then takes its place; so one that is there is
//! whole. Not here: what a drain does (`policy::drain`), nor one that the config orders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::FleetHandle;
use super::stay::{AfterDrain, DrainError, Stay};
use crate::model::BackendId;
use crate::runtime::Timer;

/// Orders kept. A further one holds, and ends with the process.
const KEPT_MAX: usize = 4_096;

/// Longest file that is read, in bytes: more than the orders above take.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// Orders that are in force.
#[derive(Debug, Default)]
pub struct Drains {
    /// None where nothing outlives the process.
    path: Option<PathBuf>,
    kept: Mutex<BTreeMap<BackendId, Kept>>,
    /// Held while an order is given, so that the fleet and the file hear of orders in one order.
    turn: tokio::sync::Mutex<()>,
}

/// One order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// In milliseconds since 1970.
    deadline_ms: Option<u64>,
    /// Whether the backend is removed then.
    removes: bool,
}

impl Drains {
    /// The orders in the file at `path`; none if there is no such file, or no path.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is none of ours.
    pub fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let kept = match &path {
            Some(path) => read(path)?,
            None => BTreeMap::new(),
        };
        Ok(Self { path, kept: Mutex::new(kept), turn: tokio::sync::Mutex::default() })
    }

    /// What another process would read of them now.
    pub(crate) fn reread(&self) -> Self {
        Self { kept: Mutex::new(self.lock().clone()), ..Self::default() }
    }

    /// An operator wants `backend` drained, until `deadline` from now if one is given.
    ///
    /// # Errors
    /// What the fleet says to it.
    pub async fn drain(
        &self,
        fleet: &FleetHandle,
        backend: BackendId,
        (deadline, then): (Option<Duration>, AfterDrain),
        timer: &dyn Timer,
    ) -> Result<(), DrainError> {
        let _turn = self.turn.lock().await;
        let (now, unix) = (timer.now(), timer.unix_millis());
        fleet.drain(backend.clone(), deadline.map(|deadline| now + deadline), then).await?;
        let at = |deadline: Duration| unix.saturating_add(millis(deadline));
        let kept = Kept { deadline_ms: deadline.map(at), removes: then == AfterDrain::Remove };
        self.change(|all| {
            if all.len() < KEPT_MAX || all.contains_key(&backend) {
                all.insert(backend, kept);
            } else {
                tracing::warn!(%backend, "too many drains: this one ends with the process");
            }
        });
        Ok(())
    }

    /// An operator wants `backend` to get meetings again.
    ///
    /// # Errors
    /// What the fleet says to it; not that it has no such backend, if an order was kept for it.
    pub async fn undrain(&self, fleet: &FleetHandle, backend: BackendId) -> Result<(), DrainError> {
        let _turn = self.turn.lock().await;
        let was_kept = self.lock().contains_key(&backend);
        match fleet.undrain(backend.clone()).await {
            Err(DrainError::Unknown) if was_kept => {}
            undrained => undrained?,
        }
        self.change(|all| {
            all.remove(&backend);
        });
        Ok(())
    }

    /// Drains those backends again that an order was given for before they came.
    pub async fn enforce(&self, fleet: &FleetHandle, timer: &dyn Timer) {
        if self.lock().is_empty() {
            return;
        }
        let _turn = self.turn.lock().await;
        let snapshot = fleet.snapshot();
        let is_open = |id: &BackendId| snapshot.backend(id).is_some_and(|b| b.stay == Stay::Open);
        let due: Vec<_> = self.lock().iter().map(|(id, kept)| (id.clone(), *kept)).collect();
        for (backend, kept) in due.into_iter().filter(|(id, _)| is_open(id)) {
            let left = |at: u64| Duration::from_millis(at.saturating_sub(timer.unix_millis()));
            let deadline = kept.deadline_ms.map(|at| timer.now() + left(at));
            let then = if kept.removes { AfterDrain::Remove } else { AfterDrain::Stay };
            match fleet.drain(backend.clone(), deadline, then).await {
                Ok(()) => tracing::info!(%backend, "drained, as was ordered before"),
                Err(error) => tracing::warn!(%backend, %error, "not drained as was ordered before"),
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<BackendId, Kept>)) {
        let mut kept = self.lock();
        change(&mut kept);
        let Some(path) = &self.path else { return };
        if let Err(error) = write(path, &kept) {
            let path = path.display();
            tracing::error!(%path, %error, "a drain is not on disk: it ends with the process; \
                operator: look at the disk");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BackendId, Kept>> {
        // Nothing that can panic is done while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read(path: &PathBuf) -> io::Result<BTreeMap<BackendId, Kept>> {
    let len = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found?.len(),
    };
    let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if len > FILE_MAX_BYTES {
        return Err(damaged(format!("it is longer than {FILE_MAX_BYTES} bytes")));
    }
    let rows: BTreeMap<String, Kept> = serde_json::from_slice(&fs::read(path)?)?;
    let row = |(id, kept): (String, Kept)| {
        let id = BackendId::parse(&id).map_err(|error| damaged(format!("a backend {error}")))?;
        Ok((id, kept))
    };
    rows.into_iter().map(row).collect()
}

fn write(path: &PathBuf, kept: &BTreeMap<BackendId, Kept>) -> io::Result<()> {
    let rows: BTreeMap<_, _> = kept.iter().map(|(id, kept)| (id.as_str(), kept)).collect();
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&rows)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // Else a power cut could take the name with it.
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests;
