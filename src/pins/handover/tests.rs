//! One process after another has the pins, on one directory.

use std::path::{Path, PathBuf};

use tokio::task::yield_now;

use super::*;
use crate::model::SessionId;
use crate::pins::{Opened, StateDir, StateError};

/// A state directory of one test, removed at its end.
struct State(PathBuf);

impl State {
    fn create(test: &str) -> Self {
        let name = format!("handover-{}-{test}", std::process::id());
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(name))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Left behind it does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a process has of the pins.
struct Process {
    pins: Arc<Handover>,
    news: mpsc::Receiver<News>,
    found: usize,
    losses: Vec<u32>,
    store: Arc<DiskStore>,
    writer: std::thread::JoinHandle<()>,
}

impl Process {
    fn start(state: &State) -> Result<Self, StateError> {
        let Opened { store, pins, losses, writer, .. } =
            DiskStore::open(StateDir::open(&state.0)?, 100, WhenAway::Refuse)?;
        let writer = std::thread::spawn(move || writer.run());
        let (found, losses) = (pins.len(), losses.into_values().collect());
        let (pins, news) = Handover::new(store.clone());
        Ok(Self { pins, news, found, losses, store, writer })
    }

    async fn claim(&self, meeting: &str) -> Result<Claim, PinError> {
        let claim = self.pins.claim(&name(meeting), &backend(), Incarnation(1)).await?;
        let (Claim::Made(pin) | Claim::Held(pin)) = &claim;
        self.pins.settled(pin.epoch).await?;
        Ok(claim)
    }

    fn end(self) {
        self.store.close();
        self.writer.join().unwrap();
    }
}

fn name(text: &str) -> MeetingName {
    MeetingName::parse(text).unwrap()
}

fn backend() -> BackendId {
    BackendId::parse("a").unwrap()
}

#[tokio::test]
async fn what_was_claimed_is_with_the_next_process_and_nothing_is_claimed_after() {
    let state = State::create("next");
    let mut old = Process::start(&state).unwrap();
    let Claim::Made(pin) = old.claim("standup").await.unwrap() else { panic!() };
    assert!(matches!(Process::start(&state), Err(StateError::InUse(_))));
    old.pins.release().await.unwrap();
    let new = Process::start(&state).unwrap();
    assert_eq!(new.found, 1);
    old.pins.give_away();
    assert_eq!(old.claim("retro").await, Err(PinError::Moved));
    assert_eq!(old.pins.lookup(&name("standup")).await, Err(PinError::Moved));
    assert_eq!(old.pins.unpin(&name("standup"), pin.epoch).await, Err(PinError::Moved));
    assert_eq!(new.claim("standup").await, Ok(Claim::Held(pin.clone())));
    let Claim::Made(later) = new.claim("retro").await.unwrap() else { panic!() };
    assert!(later.epoch > pin.epoch);

    let pipeline = PipelineId::from_u128(7);
    let origin = Origin { epoch: pin.epoch, pipeline, session: SessionId::from_random(8) };
    old.pins.note_pipeline(origin);
    old.pins.forget_pipeline(pipeline);
    assert_eq!(old.news.try_recv(), Ok(News::Created(origin)));
    assert_eq!(old.news.try_recv(), Ok(News::Gone(pipeline)));
    old.pins.record_losses(&backend(), 9).await.unwrap();
    old.end();
    new.end();
    let last = Process::start(&state).unwrap();
    assert_eq!((last.found, last.losses.len()), (2, 0), "the old one has written nothing");
    last.end();
}

#[tokio::test]
async fn who_asks_in_between_waits_for_who_decides() {
    let state = State::create("between");
    let process = Process::start(&state).unwrap();
    process.pins.release().await.unwrap();
    assert!(!process.pins.is_ours());
    let mut claim = Box::pin(process.claim("standup"));
    for _ in 0..100 {
        assert!((&mut claim).now_or_never().is_none());
        yield_now().await;
    }
    process.pins.take_back();
    assert!(matches!(claim.await, Ok(Claim::Made(_))));
    process.end();
}

#[tokio::test]
async fn pins_that_come_back_are_written_as_they_are_in_memory() {
    let state = State::create("back");
    let old = Process::start(&state).unwrap();
    old.claim("standup").await.unwrap();
    old.pins.record_losses(&backend(), 1).await.unwrap();
    old.pins.release().await.unwrap();
    // The other one counts a loss that was none, and dies.
    let new = Process::start(&state).unwrap();
    new.pins.record_losses(&backend(), 5).await.unwrap();
    new.pins.record_losses(&BackendId::parse("b").unwrap(), 5).await.unwrap();
    new.end();
    old.pins.take_back();
    old.claim("retro").await.unwrap();
    old.end();
    let last = Process::start(&state).unwrap();
    assert_eq!((last.found, last.losses.as_slice()), (2, [1].as_slice()));
    last.end();
}

#[tokio::test]
async fn pins_are_taken_back_though_the_other_process_takes_its_time_to_end() {
    let state = State::create("slow");
    let old = Process::start(&state).unwrap();
    old.pins.release().await.unwrap();
    let new = Process::start(&state).unwrap();
    old.pins.take_back();
    let claim = old.claim("standup");
    let ends = async {
        yield_now().await;
        tokio::task::spawn_blocking(|| new.end()).await.unwrap();
    };
    let (claim, ()) = tokio::join!(claim, ends);
    assert!(matches!(claim, Ok(Claim::Made(_))), "{claim:?}");
    old.end();
}

#[tokio::test]
async fn other_bounds_are_those_of_the_store() {
    let state = State::create("bounds");
    let process = Process::start(&state).unwrap();
    process.claim("one").await.unwrap();
    process.pins.set_bounds(1, WhenAway::Refuse);
    assert_eq!(process.claim("two").await, Err(PinError::Full));
    process.pins.set_bounds(2, WhenAway::Refuse);
    assert!(process.claim("two").await.is_ok());
    process.end();
}

#[tokio::test]
async fn pins_that_came_back_are_handed_over_once_they_are_back() {
    let state = State::create("again");
    let old = Process::start(&state).unwrap();
    for _ in 0..20 {
        old.pins.release().await.unwrap();
        Process::start(&state).unwrap().end();
        old.pins.take_back();
    }
    old.claim("standup").await.unwrap();
    old.end();
}
