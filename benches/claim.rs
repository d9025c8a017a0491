//! Pins by the million: time of a claim and a look-up, and memory and file a pin, a pipeline and a
//! meeting.
//!
//! Memory is the growth of the resident set, so it counts what the allocator keeps for itself too.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use tokio::runtime::Builder;

use pinfold::model::{BackendId, Incarnation, Legs, MeetingName, PipelineId, SessionId, Time};
use pinfold::pins::{
    BackendLoad, Charge, Claim, DiskStore, MemoryStore, Opened, Origin, Pin, PinStore, Registry,
    StateDir,
};
use pinfold::policy::access::Access;
use pinfold::policy::promise::Promise;
use pinfold::runtime::Clock;
use pinfold::settings::WhenAway;

const PINS: usize = 1_000_000;

/// Size of a page, in bytes, on every system this is likely to run on.
const PAGE: usize = 4_096;

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is the resident set") * PAGE
}

fn name(number: usize) -> MeetingName {
    MeetingName::parse(&format!("meeting-{number:08}")).expect("a good name")
}

/// A pipeline of a server: its UUID is random, and so is its place in the file.
fn pipeline(number: usize) -> PipelineId {
    PipelineId::from_u128(
        (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
    )
}

fn backend() -> BackendId {
    BackendId::parse("kms-a").expect("a good id")
}

fn claim(store: &impl PinStore, meeting: &MeetingName) -> Claim {
    let claimed = store.claim(meeting, &backend(), Incarnation(1)).now_or_never();
    claimed.expect("memory answers at once").expect("there is room")
}

/// Keeps `what` for good, so that the next measure of memory does not fall into what it frees.
fn keep<T>(what: T) {
    std::mem::forget(what);
}

fn epoch_of(claim: Claim) -> u64 {
    let (Claim::Made(pin) | Claim::Held(pin)) = claim;
    pin.epoch
}

fn a_million_pins(c: &mut Criterion) {
    let before = resident_bytes();
    let store = MemoryStore::new(2 * PINS);
    for number in 0..PINS {
        claim(&store, &name(number));
    }
    let each = (resident_bytes() - before) / PINS;
    println!("pins/memory: {each} bytes a pin at {PINS} pins");
    let mut number = 0;
    c.bench_function("pins/claim of a new meeting at 1 M", |b| {
        b.iter(|| {
            number += 1;
            let meeting = name(PINS + number % (PINS / 2));
            let claimed = claim(&store, &meeting);
            if let Claim::Made(pin) = black_box(claimed) {
                let unpinned = store.unpin(&meeting, pin.epoch).now_or_never();
                unpinned.expect("memory answers at once").expect("memory is there");
            }
        });
    });
    c.bench_function("pins/look-up at 1 M", |b| {
        b.iter(|| {
            number = number.wrapping_mul(31).wrapping_add(7) % PINS;
            black_box(store.lookup(&name(number)).now_or_never())
        });
    });
    keep(store);
}

/// Opens the store in `dir` with its writer at work; returns how many pins were there.
fn open_disk(dir: &Path) -> (Arc<DiskStore>, JoinHandle<()>, usize) {
    let dir = StateDir::open(dir).expect("a directory of our own");
    let Opened { store, pins, writer, .. } =
        DiskStore::open(dir, 2 * PINS, WhenAway::Refuse).expect("a file of our own");
    let writer = std::thread::spawn(move || writer.run());
    (store, writer, pins.len())
}

fn a_million_pins_on_disk(c: &mut Criterion) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("claim-{}", std::process::id()));
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let clock = Clock::start();
    let before = resident_bytes();
    let (store, writer, _) = open_disk(&path);
    for number in 0..PINS {
        let epoch = epoch_of(claim(&*store, &name(number)));
        if number % 10_000 == 9_999 {
            runtime.block_on(store.settled(epoch)).expect("the disk takes it");
        }
    }
    let each = resident_bytes().saturating_sub(before) / PINS;
    let took = clock.now().since(Time::ZERO);
    println!("pins/disk: {each} bytes of memory a pin at {PINS} pins, made in {took:?}");
    let file = || fs::metadata(path.join("pins.redb")).expect("it is there").len();
    let (pins_file, pins_memory) = (file(), resident_bytes());
    println!("pins/disk: {} bytes of the file a pin at {PINS} pins", pins_file / PINS as u64);
    for number in 0..PINS {
        let session = SessionId::from_random(number as u128);
        let origin = Origin { epoch: number as u64 + 1, pipeline: pipeline(number), session };
        store.note_pipeline(origin);
        if number % 10_000 == 9_999 {
            // What is noted goes with the next claim.
            let epoch = epoch_of(claim(&*store, &name(PINS)));
            runtime.block_on(store.settled(epoch)).expect("the disk takes it");
            let unpinned = store.unpin(&name(PINS), epoch).now_or_never();
            unpinned.expect("at once").expect("memory is there");
        }
    }
    let memory = resident_bytes().saturating_sub(pins_memory) / PINS;
    let grown = (file() - pins_file) / PINS as u64;
    println!("pins/disk: {memory} bytes of memory and {grown} of the file more a pipeline");
    let mut number = PINS;
    c.bench_function("pins/claim on disk, settled, at 1 M", |b| {
        b.iter(|| {
            number += 1;
            let meeting = name(PINS + number % (PINS / 2));
            let epoch = epoch_of(claim(&*store, &meeting));
            runtime.block_on(store.settled(epoch)).expect("the disk takes it");
            store.unpin(&meeting, epoch).now_or_never().expect("at once").expect("memory is there");
        });
    });
    store.close();
    drop(store);
    writer.join().expect("it ends when told");
    let started = clock.now();
    let (store, writer, found) = open_disk(&path);
    println!(
        "pins/disk: {found} pins, each with a pipeline, opened in {:?}",
        clock.now().since(started)
    );
    store.close();
    writer.join().expect("it ends when told");
    fs::remove_dir_all(&path).expect("a directory of our own");
}

fn a_million_meetings(c: &mut Criterion) {
    let before = resident_bytes();
    let registry = Registry::new(Duration::from_secs(60), 2 * PINS);
    let load = Arc::new(BackendLoad::default());
    let pin = Pin { backend: backend(), incarnation: Incarnation(1), epoch: 1 };
    let promise = Promise { legs: Legs(4), made: Time::ZERO };
    let make = |number: usize| {
        let meeting = name(number);
        registry.begin(
            &meeting,
            &pin,
            Charge::new(load.clone(), promise, Duration::from_secs(1_800)),
        );
        assert!(registry.created(&meeting, 1, pipeline(number)));
        pipeline(number)
    };
    for number in 0..PINS {
        make(number);
    }
    let each = (resident_bytes() - before) / PINS;
    println!("registry/memory: {each} bytes a meeting with one pipeline at {PINS} meetings");
    let mut number = 0;
    c.bench_function("registry/hold and unhold at 1 M", |b| {
        b.iter(|| {
            number = (number * 31 + 7) % PINS;
            black_box(registry.hold(pipeline(number), &Access::All));
            registry.unhold(pipeline(number), Time::ZERO);
        });
    });
    keep(registry);
}

criterion_group!(benches, a_million_pins, a_million_meetings, a_million_pins_on_disk);
criterion_main!(benches);
