//! A crash at any moment: the file as it was after some write to it, opened by the next process.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::model::{Legs, Time};
use crate::pins::Chronicle;
use crate::pins::disk::file::{Contents, read, write};
use crate::pins::disk::writer::{Changes, Journal, JournalError};
use crate::policy::history::{Ended, HistoryBounds, Memory, Topic};

/// What was done to a file, in order.
#[derive(Clone, Debug)]
enum Step {
    SetLen(u64),
    Write(u64, Vec<u8>),
    Sync,
}

/// A file that remembers everything that was done to it. Clones share it.
#[derive(Clone, Debug, Default)]
struct Recorded {
    file: Arc<InMemoryBackend>,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Recorded {
    fn note(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }

    fn len(&self) -> usize {
        self.steps.lock().unwrap().len()
    }

    /// The file as a process finds it that starts after the first `count` steps.
    fn after(&self, count: usize) -> InMemoryBackend {
        replay(&self.steps.lock().unwrap()[..count], |_| true)
    }

    /// The same after a power cut: of what was not synced, `is_kept` says which steps got through.
    fn after_power_cut(&self, count: usize, mut is_kept: impl FnMut() -> bool) -> InMemoryBackend {
        let steps = self.steps.lock().unwrap();
        let synced = steps[..count].iter().rposition(|step| matches!(step, Step::Sync));
        replay(&steps[..count], |at| synced.is_some_and(|synced| at < synced) || is_kept())
    }
}

fn replay(steps: &[Step], mut is_kept: impl FnMut(usize) -> bool) -> InMemoryBackend {
    let file = InMemoryBackend::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::SetLen(len) => file.set_len(*len).unwrap(),
            Step::Write(offset, data) if is_kept(at) => file.write(*offset, data).unwrap(),
            Step::Write(..) | Step::Sync => {}
        }
    }
    file
}

impl StorageBackend for Recorded {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.note(Step::SetLen(len));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.note(Step::Sync);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.note(Step::Write(offset, data.to_vec()));
        self.file.write(offset, data)
    }
}

/// The library on a file of the test.
struct OnRecorded(redb::Database);

impl Journal for OnRecorded {
    fn write(&mut self, changes: Changes<'_>) -> Result<(), JournalError> {
        Ok(write(&self.0, changes)?)
    }

    fn reopen(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    fn release(&mut self) {}
}

#[derive(Clone, Debug)]
enum Op {
    Claim(u8),
    Unpin(u8),
    /// A pipeline of that number is made under the pin of that meeting.
    Create(u8, u8),
    Gone(u8),
    /// It is on a process that was given up.
    LeftBehind(u8),
    Lose,
    /// A meeting of that number is over, and had so many legs.
    Over(u8, u8),
    Commit,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..12u8).prop_map(Op::Claim),
        3 => (0..12u8).prop_map(Op::Unpin),
        4 => (0..12u8, 0..12u8).prop_map(|(meeting, pipeline)| Op::Create(meeting, pipeline)),
        2 => (0..12u8).prop_map(Op::Gone),
        2 => (0..12u8).prop_map(Op::LeftBehind),
        1 => Just(Op::Lose),
        2 => (0..12u8, 1..99u8).prop_map(|(meeting, legs)| Op::Over(meeting, legs)),
        3 => Just(Op::Commit),
    ];
    prop::collection::vec(op, 1..60)
}

fn id(number: u8) -> PipelineId {
    PipelineId::from_u128(number.into())
}

/// A store at work on a recorded file, and what it may be held to.
struct Run {
    file: Recorded,
    store: Arc<DiskStore>,
    writer: Writer,
    chronicle: Chronicle,
    remembered: BTreeMap<Topic, Memory>,
    /// What was in the file after each commit, with the length of the record by then.
    commits: Vec<(usize, Contents)>,
}

impl Run {
    fn new() -> Self {
        let file = Recorded::default();
        let (database, contents) = read(file.clone()).unwrap();
        let store = DiskStore::knowing(&contents, PINS_MAX, WhenAway::Refuse);
        let writer = Writer::new(store.clone(), Box::new(OnRecorded(database)));
        let commits = vec![(file.len(), contents)];
        let bounds = HistoryBounds { meetings_max: 5, ..HistoryBounds::default() };
        let chronicle = Chronicle::new(bounds, Duration::from_secs(9));
        Self { file, store, writer, chronicle, remembered: BTreeMap::new(), commits }
    }

    fn apply(&mut self, op: &Op, losses: &mut u32) {
        let meeting = |number: &u8| format!("meeting-{number}");
        match op {
            Op::Claim(number) => {
                let to = ["a", "b"][losses.wrapping_add(u32::from(*number)) as usize % 2];
                claim(&self.store, &meeting(number), to).unwrap();
            }
            Op::Unpin(number) => {
                if let Some(pin) = lookup(&self.store, &meeting(number)) {
                    assert!(unpin(&self.store, &meeting(number), pin.epoch));
                }
            }
            Op::Create(number, pipeline) => {
                if let Some(pin) = lookup(&self.store, &meeting(number)) {
                    self.store.note_pipeline(origin(u128::from(*pipeline), pin.epoch));
                }
            }
            Op::Gone(pipeline) => self.store.forget_pipeline(id(*pipeline)),
            Op::LeftBehind(pipeline) => self.store.note_pipeline(Origin::remnant(id(*pipeline))),
            Op::Lose => {
                *losses += 1;
                drop(self.store.record_losses(&backend("a"), *losses));
            }
            Op::Over(number, legs) => {
                let meeting = MeetingName::parse(&meeting(number)).unwrap();
                let was = Ended { peak: Legs((*legs).into()), people: [0.0; 3], lasted: None };
                let changes = self.chronicle.on_over(&meeting, &was, Time::ZERO);
                for (topic, memory) in &changes {
                    match memory {
                        Some(memory) => drop(self.remembered.insert(*topic, *memory)),
                        None => drop(self.remembered.remove(topic)),
                    }
                }
                self.store.note_history(changes);
            }
            Op::Commit => {
                assert!(self.writer.write_noted());
                self.commits.push((self.file.len(), self.now(*losses)));
            }
        }
    }

    /// Everything the store knows.
    fn now(&self, losses: u32) -> Contents {
        let mut names = self.store.memory.names();
        names.sort_unstable();
        let pins =
            names.into_iter().map(|name| (name.clone(), self.store.memory.find(&name).unwrap()));
        let pins: Vec<_> = pins.collect();
        let mut made = self.store.pipelines.all();
        made.sort_unstable();
        let made = made.into_iter().map(|pipeline| {
            let (epoch, session) = self.store.pipelines.find(pipeline).unwrap();
            Origin { epoch, pipeline, session: SessionId::from_random(session) }
        });
        let (mut pipelines, remnants): (Vec<_>, Vec<_>) =
            made.partition(|origin| pins.iter().any(|(_, pin)| pin.epoch == origin.epoch));
        pipelines.sort_unstable();
        Contents {
            pins,
            pipelines,
            remnants: remnants.into_iter().map(|origin| origin.pipeline).collect(),
            losses: if losses == 0 { BTreeMap::new() } else { [(backend("a"), losses)].into() },
            last_epoch: self.store.progress.borrow().settled,
            history: self.remembered.clone().into_iter().collect(),
        }
    }

    /// What may be found after `count` steps: what the last commit before left, or the one under way.
    fn assert_is_whole(&self, found: &Contents, count: usize) {
        let under_way = self.commits.iter().position(|(len, _)| *len > count);
        let last = under_way.unwrap_or(self.commits.len()) - 1;
        let allowed = &self.commits[last..(last + 2).min(self.commits.len())];
        assert!(
            allowed.iter().any(|(_, contents)| contents == found),
            "{found:?} not in {allowed:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened before and whenever the process ends: what was settled is there, what was
    /// removed and written is not, and a meeting has one pin.
    #[test]
    fn a_crash_at_any_moment_loses_nothing_settled(
        ops in ops(),
        moments in prop::collection::vec(any::<prop::sample::Index>(), 12),
        kept in any::<u64>(),
    ) {
        let mut run = Run::new();
        let mut losses = 0;
        let begun = run.commits[0].0;
        for op in &ops {
            run.apply(op, &mut losses);
        }
        let all = run.file.len();
        for moment in moments {
            let count = begun + moment.index(all - begun + 1);
            let (_, found) = read(run.file.after(count)).unwrap();
            run.assert_is_whole(&found, count);
            let mut draws = crate::model::Draws::seeded(kept ^ count as u64);
            let cut = run.file.after_power_cut(count, || draws.below(2) == 0);
            let (_, found) = read(cut).unwrap();
            run.assert_is_whole(&found, count);
        }
    }

    /// Damage is noticed, or it has hit what nobody reads: never a pin that was not written.
    #[test]
    fn damage_never_makes_a_pin(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..40),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut run = Run::new();
        for number in 0..40 {
            run.apply(&Op::Claim(number), &mut 0);
            run.apply(&Op::Create(number, number), &mut 0);
        }
        run.apply(&Op::Commit, &mut 0);
        let file = run.file.after(run.file.len());
        let len = file.len().unwrap();
        for (place, change) in places {
            let at = place.index(usize::try_from(len).unwrap()) as u64;
            let mut byte = [0];
            file.read(at, &mut byte).unwrap();
            file.write(at, &[byte[0] ^ change]).unwrap();
        }
        if let Some(cut) = cut {
            file.set_len(cut.index(usize::try_from(len).unwrap()) as u64).unwrap();
        }
        if let Ok((_, found)) = read(file) {
            let is_known = run.commits.iter().any(|(_, contents)| *contents == found);
            prop_assert!(is_known, "{found:?}");
        }
    }
}
