//! Directories, disks that fail, and short ways to ask a store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;

use crate::model::{BackendId, Incarnation, MeetingName, PipelineId, SessionId};
use crate::pins::disk::DiskStore;
use crate::pins::disk::writer::{Changes, Journal, JournalError};
use crate::pins::{Claim, Origin, Pin, PinError, PinStore};

/// A directory of one test, removed at its end.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("disk-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A journal in memory that fails when told. Clones share it.
#[derive(Clone, Default)]
pub(super) struct FakeDisk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    rows: BTreeMap<MeetingName, Pin>,
    pipelines: BTreeMap<PipelineId, (u64, u128)>,
    losses: BTreeMap<BackendId, u32>,
    writes: u32,
    fails: bool,
    panics: bool,
    is_lost: bool,
}

impl FakeDisk {
    pub(super) fn fail(&self, fails: bool) {
        self.0.lock().unwrap().fails = fails;
    }

    pub(super) fn panic(&self) {
        self.0.lock().unwrap().panics = true;
    }

    pub(super) fn lose_everything(&self) {
        *self.0.lock().unwrap() = Inner { is_lost: true, ..Inner::default() };
    }

    pub(super) fn rows(&self) -> BTreeMap<MeetingName, Pin> {
        self.0.lock().unwrap().rows.clone()
    }

    pub(super) fn pipelines(&self) -> BTreeMap<PipelineId, (u64, u128)> {
        self.0.lock().unwrap().pipelines.clone()
    }

    pub(super) fn losses(&self) -> BTreeMap<BackendId, u32> {
        self.0.lock().unwrap().losses.clone()
    }

    pub(super) fn writes(&self) -> u32 {
        self.0.lock().unwrap().writes
    }
}

impl Journal for FakeDisk {
    fn write(&mut self, changes: Changes<'_>) -> Result<(), JournalError> {
        let panics = self.0.lock().unwrap().panics;
        assert!(!panics, "as the test wants it");
        let mut disk = self.0.lock().unwrap();
        if disk.fails {
            return Err(JournalError("no space left".to_owned()));
        }
        disk.writes += 1;
        if changes.is_whole {
            disk.rows.clear();
            disk.pipelines.clear();
        }
        for (meeting, pin) in changes.pins {
            match pin {
                Some(pin) => drop(disk.rows.insert(meeting, pin)),
                None => drop(disk.rows.remove(&meeting)),
            }
        }
        for (pipeline, made) in changes.pipelines {
            match made {
                Some(made) => drop(disk.pipelines.insert(pipeline, made)),
                None => drop(disk.pipelines.remove(&pipeline)),
            }
        }
        disk.losses.extend(changes.losses);
        Ok(())
    }

    fn reopen(&mut self) -> Result<bool, JournalError> {
        Ok(std::mem::take(&mut self.0.lock().unwrap().is_lost))
    }

    fn release(&mut self) {}
}

pub(super) fn name(text: &str) -> MeetingName {
    MeetingName::parse(text).unwrap()
}

pub(super) fn backend(text: &str) -> BackendId {
    BackendId::parse(text).unwrap()
}

/// Claims `meeting`, which never waits.
pub(super) fn claim(store: &DiskStore, meeting: &str, to: &str) -> Result<Claim, PinError> {
    store.claim(&name(meeting), &backend(to), Incarnation(1)).now_or_never().unwrap()
}

pub(super) fn unpin(store: &DiskStore, meeting: &str, epoch: u64) -> bool {
    store.unpin(&name(meeting), epoch).now_or_never().unwrap().unwrap()
}

pub(super) fn lookup(store: &DiskStore, meeting: &str) -> Option<Pin> {
    store.lookup(&name(meeting)).now_or_never().unwrap().unwrap()
}

/// The pin that counts.
pub(super) fn pin_of(claim: &Claim) -> Pin {
    let (Claim::Made(pin) | Claim::Held(pin)) = claim;
    pin.clone()
}

/// A pipeline that a session of its own has made.
pub(super) fn origin(number: u128, epoch: u64) -> Origin {
    let session = SessionId::from_random(number + 1_000);
    Origin { epoch, pipeline: PipelineId::from_u128(number), session }
}
