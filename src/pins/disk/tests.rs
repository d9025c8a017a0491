//! What the store promises: with its file, with a disk that fails, and after a crash at any moment.

mod crash;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures_util::FutureExt;

use super::file::{Contents, FACTS, FORMAT, PINS};
use super::*;
use crate::model::SessionId;
use support::{FakeDisk, TempDir, backend, claim, lookup, name, origin, pin_of, unpin};

const PINS_MAX: usize = 1_000;

fn open(dir: &TempDir) -> Result<Opened, StateError> {
    DiskStore::open(StateDir::open(dir.path())?, PINS_MAX, WhenAway::Refuse)
}

/// Runs the writer of what was opened on a thread, and waits for its end after `work`.
async fn with_writer<T>(opened: Opened, work: impl AsyncFnOnce(&DiskStore) -> T) -> T {
    let Opened { store, writer, .. } = opened;
    let thread = std::thread::spawn(move || writer.run());
    let result = work(&store).await;
    store.close();
    drop(store);
    thread.join().unwrap();
    result
}

#[tokio::test]
async fn what_is_settled_is_there_again_after_a_restart() {
    let dir = TempDir::create();
    let pins = with_writer(open(&dir).unwrap(), async |store| {
        let [one, two, three] =
            ["one", "two", "drei é"].map(|m| pin_of(&claim(store, m, "a").unwrap()));
        assert!(unpin(store, "two", two.epoch));
        store.settled(three.epoch).await.unwrap();
        store.record_losses(&backend("a"), 2).await.unwrap();
        vec![(name("drei é"), three), (name("one"), one)]
    });
    let pins = pins.await;
    let opened = open(&dir).unwrap();
    assert_eq!(opened.pins, pins);
    assert_eq!(opened.losses, BTreeMap::from([(backend("a"), 2)]));
    assert_eq!(lookup(&opened.store, "one"), Some(pins[1].1.clone()));
    let next = pin_of(&claim(&opened.store, "next", "a").unwrap());
    assert!(next.epoch > pins[0].1.epoch + 1, "above the losses too: {next:?}");
}

#[test]
fn epochs_rise_though_the_highest_pin_is_gone() {
    let dir = TempDir::create();
    let Opened { store, mut writer, .. } = open(&dir).unwrap();
    let last = pin_of(&claim(&store, "m", "a").unwrap());
    unpin(&store, "m", last.epoch);
    assert!(writer.write_noted());
    drop((store, writer));
    let opened = open(&dir).unwrap();
    assert_eq!(opened.pins, []);
    assert!(pin_of(&claim(&opened.store, "n", "a").unwrap()).epoch > last.epoch);
}

#[test]
fn only_the_owner_reads_what_is_written() {
    let dir = TempDir::create();
    let state = dir.path().join("new").join("state");
    let _dir =
        DiskStore::open(StateDir::open(&state).unwrap(), PINS_MAX, WhenAway::Refuse).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join(FILE)), 0o600);
    assert_eq!(mode(&state.join("lock")), 0o600);
}

#[test]
fn a_directory_in_use_is_refused_and_free_again_afterwards() {
    let dir = TempDir::create();
    let opened = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, StateError::InUse(_)), "{error}");
    drop(opened);
    open(&dir).unwrap();
}

/// Leaves one settled pin in `dir`.
fn leave_a_pin(dir: &TempDir) {
    let Opened { store, mut writer, .. } = open(dir).unwrap();
    claim(&store, "m", "a").unwrap();
    assert!(writer.write_noted());
}

/// The files in `dir` that were set aside.
fn set_aside(dir: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains("unusable")).collect()
}

fn assert_set_aside(dir: &TempDir, content: &[u8]) {
    let opened = open(dir).unwrap();
    assert_eq!((opened.pins.len(), opened.losses.len()), (0, 0));
    let aside = set_aside(dir);
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), content, "kept as it was");
    // And the new one is of use.
    drop(opened);
    leave_a_pin(dir);
    assert_eq!(open(dir).unwrap().pins.len(), 1);
}

#[test]
fn what_is_no_database_is_set_aside() {
    for content in [&b"x"[..], &[0; 4096], &[0xff; 100_000], b"SQLite format 3\0 and so on"] {
        let dir = TempDir::create();
        fs::write(dir.path().join(FILE), content).unwrap();
        assert_set_aside(&dir, content);
    }
}

#[test]
fn an_empty_file_is_a_new_one() {
    let dir = TempDir::create();
    fs::write(dir.path().join(FILE), b"").unwrap();
    assert_eq!(open(&dir).unwrap().pins, []);
    assert_eq!(set_aside(&dir), Vec::<PathBuf>::new());
}

/// Changes the file as another program would that uses the same library.
fn change_file(dir: &TempDir, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::create(dir.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

/// The file in `dir` is set aside, and whoever wrote it finds `table` there.
fn assert_set_aside_whole<V: redb::Value>(
    dir: &TempDir,
    table: redb::TableDefinition<'_, &str, V>,
) {
    use redb::{ReadableDatabase, ReadableTableMetadata};
    assert_eq!(open(dir).unwrap().pins, []);
    let database = redb::Database::create(&set_aside(dir)[0]).unwrap();
    let transaction = database.begin_read().unwrap();
    assert!(transaction.open_table(table).unwrap().len().unwrap() > 0);
}

#[test]
fn a_file_of_another_program_or_of_a_later_version_is_set_aside() {
    const OTHER: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("other");
    let dir = TempDir::create();
    change_file(&dir, |transaction| {
        transaction.open_table(OTHER).unwrap().insert("x", 2).unwrap();
    });
    assert_set_aside_whole(&dir, OTHER);

    let dir = TempDir::create();
    leave_a_pin(&dir);
    change_file(&dir, |transaction| {
        transaction.open_table(FACTS).unwrap().insert(FORMAT, 2).unwrap();
    });
    assert_set_aside_whole(&dir, PINS);
}

#[test]
fn a_bound_that_was_lowered_forgets_nothing() {
    let dir = TempDir::create();
    let Opened { store, mut writer, .. } = open(&dir).unwrap();
    for meeting in ["m", "n", "o"] {
        claim(&store, meeting, "a").unwrap();
    }
    assert!(writer.write_noted());
    drop((store, writer));
    let dir = StateDir::open(dir.path()).unwrap();
    let opened = DiskStore::open(dir, 2, WhenAway::Refuse).unwrap();
    assert_eq!(opened.pins.len(), 3);
    assert_eq!(claim(&opened.store, "p", "a"), Err(PinError::Full));
}

/// A store on a disk that the test rules.
fn on_fake_disk(when_away: WhenAway) -> (Arc<DiskStore>, Writer, FakeDisk) {
    let disk = FakeDisk::default();
    let store = DiskStore::knowing(&Contents::default(), PINS_MAX, when_away);
    let writer = Writer::new(store.clone(), Box::new(disk.clone()));
    (store, writer, disk)
}

#[tokio::test]
async fn a_claim_does_not_wait_and_its_settling_does() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    let pin = pin_of(&claim(&store, "m", "a").unwrap());
    let mut settling = store.settled(pin.epoch);
    assert_eq!((&mut settling).now_or_never(), None);
    assert!(writer.write_noted());
    assert_eq!(settling.now_or_never(), Some(Ok(())));
    assert_eq!(store.settled(pin.epoch).now_or_never(), Some(Ok(())));
    assert_eq!(disk.rows(), BTreeMap::from([(name("m"), pin)]));
}

#[tokio::test]
async fn what_gathers_during_a_write_is_one_write() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    let pins: Vec<_> =
        (0..50).map(|n| pin_of(&claim(&store, &format!("m{n}"), "a").unwrap())).collect();
    let settling = futures_util::future::join_all(pins.iter().map(|pin| store.settled(pin.epoch)));
    assert!(writer.write_noted());
    assert!(settling.now_or_never().unwrap().iter().all(Result::is_ok));
    assert_eq!(disk.writes(), 1);
}

#[tokio::test]
async fn while_the_disk_fails_known_meetings_go_on_and_new_ones_are_refused() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    let known = pin_of(&claim(&store, "known", "a").unwrap());
    assert!(writer.write_noted());
    disk.fail(true);
    let unlucky = pin_of(&claim(&store, "unlucky", "a").unwrap());
    let settling = store.settled(unlucky.epoch);
    assert!(!writer.write_noted());
    assert_eq!(settling.await, Err(PinError::Away));
    assert_eq!(claim(&store, "new", "a"), Err(PinError::Away));
    assert_eq!(claim(&store, "known", "b"), Ok(Claim::Held(known.clone())));
    assert_eq!(store.settled(known.epoch).await, Ok(()));
    disk.fail(false);
    writer.recover();
    assert!(writer.write_noted());
    assert_eq!(store.settled(unlucky.epoch).await, Ok(()));
    assert!(matches!(claim(&store, "new", "a"), Ok(Claim::Made(_))));
    assert_eq!(disk.rows().len(), 2);
}

#[tokio::test]
async fn with_serve_new_meetings_go_on_too_and_are_written_later() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Serve);
    disk.fail(true);
    let first = pin_of(&claim(&store, "first", "a").unwrap());
    assert!(!writer.write_noted());
    let second = pin_of(&claim(&store, "second", "a").unwrap());
    for pin in [&first, &second] {
        assert_eq!(store.settled(pin.epoch).await, Ok(()));
    }
    assert_eq!(store.record_losses(&backend("a"), 1).await, Err(PinError::Away));
    disk.fail(false);
    assert!(writer.write_noted());
    assert_eq!(disk.rows(), BTreeMap::from([(name("first"), first), (name("second"), second)]));
}

#[tokio::test]
async fn a_file_that_begins_empty_gets_everything_again() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    let old = pin_of(&claim(&store, "old", "a").unwrap());
    drop(store.record_losses(&backend("a"), 1));
    assert!(writer.write_noted());
    disk.lose_everything();
    writer.recover();
    assert!(writer.write_noted());
    assert_eq!(disk.rows(), BTreeMap::from([(name("old"), old)]));
    assert_eq!(disk.losses(), BTreeMap::from([(backend("a"), 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_ends_is_a_disk_that_fails() {
    let (store, mut writer, _disk) = on_fake_disk(WhenAway::Refuse);
    let pin = pin_of(&claim(&store, "m", "a").unwrap());
    assert_eq!(store.settled(pin.epoch).await, Err(PinError::Away));
    assert_eq!(claim(&store, "new", "a"), Err(PinError::Away));
    assert!(writer.write_noted());
    assert_eq!(store.settled(pin.epoch).await, Ok(()));
    assert!(claim(&store, "new", "a").is_ok());
}

#[tokio::test]
async fn a_library_that_panics_is_a_disk_that_fails() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    claim(&store, "m", "a").unwrap();
    disk.panic();
    assert!(!writer.write_noted());
    assert_eq!(claim(&store, "new", "a"), Err(PinError::Away));
}

fn made(numbers: &[u128], epoch: u64) -> BTreeMap<PipelineId, (u64, u128)> {
    let made = |number: &u128| (PipelineId::from_u128(*number), (epoch, number + 1_000));
    numbers.iter().map(made).collect()
}

#[test]
fn the_pipelines_of_a_pin_are_there_again_and_those_of_no_pin_are_remnants() {
    let dir = TempDir::create();
    let id = PipelineId::from_u128;
    let Opened { store, mut writer, .. } = open(&dir).unwrap();
    let [one, two] = ["one", "two"].map(|m| pin_of(&claim(&store, m, "a").unwrap()));
    for (number, pin) in [(9, &one), (2, &one), (3, &two), (4, &one), (5, &one)] {
        store.note_pipeline(origin(number, pin.epoch));
    }
    store.forget_pipeline(id(4));
    [5, 6].iter().for_each(|lost| store.note_pipeline(Origin::remnant(id(*lost))));
    assert!(writer.write_noted());
    // Its pipeline is not forgotten: the process ends in between.
    assert!(unpin(&store, "two", two.epoch));
    assert!(writer.write_noted());
    drop((store, writer));

    let Opened { store, mut writer, pipelines, remnants, .. } = open(&dir).unwrap();
    assert_eq!(pipelines, [2, 9].map(|number| origin(number, one.epoch)));
    assert_eq!(remnants, [3, 5, 6].map(id));
    assert!(store.notes().is_empty());
    store.note_pipeline(origin(3, one.epoch));
    assert!(store.notes().is_empty(), "it stays one");
    [5, 6].iter().for_each(|lost| store.forget_pipeline(id(*lost)));
    assert!(writer.write_noted());
    drop((store, writer));
    let opened = open(&dir).unwrap();
    assert_eq!((opened.pipelines, opened.remnants), (pipelines, vec![id(3)]));
}

#[test]
fn a_file_without_pipelines_is_one_of_an_earlier_version() {
    let dir = TempDir::create();
    leave_a_pin(&dir);
    change_file(&dir, |transaction| {
        assert!(transaction.delete_table(file::PIPELINES).unwrap());
    });
    let Opened { store, mut writer, pins, pipelines, .. } = open(&dir).unwrap();
    assert_eq!((pins.len(), pipelines.len(), set_aside(&dir).len()), (1, 0, 0));
    store.note_pipeline(origin(1, pins[0].1.epoch));
    assert!(writer.write_noted());
    drop((store, writer));
    assert_eq!(open(&dir).unwrap().pipelines.len(), 1);
}

#[test]
fn pipelines_that_a_failed_write_had_noted_are_in_the_next() {
    let (store, mut writer, disk) = on_fake_disk(WhenAway::Refuse);
    let pin = pin_of(&claim(&store, "m", "a").unwrap());
    store.note_pipeline(origin(1, pin.epoch));
    disk.fail(true);
    assert!(!writer.write_noted());
    store.note_pipeline(origin(2, pin.epoch));
    disk.fail(false);
    assert!(writer.write_noted());
    assert_eq!(disk.pipelines(), made(&[1, 2], pin.epoch));
    disk.lose_everything();
    writer.recover();
    assert!(writer.write_noted());
    assert_eq!(disk.pipelines(), made(&[1, 2], pin.epoch));
}

#[test]
fn a_new_pipeline_is_written_though_nobody_waits() {
    let (store, writer, disk) = on_fake_disk(WhenAway::Refuse);
    let thread = std::thread::spawn(move || writer.run());
    store.note_pipeline(origin(1, 1));
    while disk.writes() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(disk.pipelines(), made(&[1], 1));
    store.close();
    thread.join().unwrap();
}

#[tokio::test]
async fn closing_writes_what_is_left_and_nobody_waits_after_it() {
    let (store, writer, disk) = on_fake_disk(WhenAway::Refuse);
    let pin = pin_of(&claim(&store, "m", "a").unwrap());
    unpin(&store, "m", pin.epoch);
    let last = pin_of(&claim(&store, "last", "a").unwrap());
    store.close();
    writer.run();
    assert_eq!(disk.rows(), BTreeMap::from([(name("last"), last.clone())]));
    assert_eq!(store.settled(last.epoch + 1).await, Err(PinError::Away));
}
