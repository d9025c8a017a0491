//! Every message that clients sent to a real KMS goes to the simulated one; what it answers must be
//! what the real one did, but for the differences listed here.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pinfold::model::Time;
use pinfold::sim::kms::registrar::{OwnAddress, Retry};
use pinfold::sim::kms::{KmsSettings, Limits};
use serde_json::Value;

use super::player::{Act, Player};
use super::recording::{Line, without_messages};

/// Differences we know of: those in the recording `file` that hold `text`.
struct Excuse {
    file: &'static str,
    text: &'static str,
    reason: &'static str,
}

const EXCUSES: &[Excuse] = &[
    excuse("a-server-manager", "getUsedMemory", "a number of the machine it ran on"),
    excuse("a-server-manager", "getUsedCpu", "a number of the machine it ran on"),
    excuse("c-media", "getPosition", "depends on how fast the file was read"),
    excuse("c-media", "Error code 1: Internal", "no GStreamer that could fail"),
    excuse("c-media", "Error code 4: Stream", "no GStreamer that could fail"),
    excuse("o-misc", "more event", "which events of a first request are lost is chance"),
];

const fn excuse(file: &'static str, text: &'static str, reason: &'static str) -> Excuse {
    Excuse { file, text, reason }
}

/// One recording and what it takes to replay it.
struct Recording {
    file: &'static str,
    settings: KmsSettings,
    /// How long the server had been running when the recording began.
    age: Duration,
    /// What was done to the process, and when, in milliseconds of the recording.
    acts: Vec<(f64, Act)>,
}

impl Recording {
    fn new(file: &'static str) -> Self {
        // No event is lost here by chance, so that events can be compared.
        let settings = KmsSettings { first_events_lost_percent: 0, ..KmsSettings::default() };
        Self { file, settings, age: Duration::ZERO, acts: Vec::new() }
    }

    fn collecting_every(mut self, seconds: u64) -> Self {
        self.settings.gc_period = Duration::from_secs(seconds);
        self
    }

    fn aged(mut self, millis: u64) -> Self {
        self.age = Duration::from_millis(millis);
        self
    }

    fn started_at(mut self, unix_seconds: u64) -> Self {
        self.settings.started_unix_millis = unix_seconds * 1_000;
        self
    }

    fn with(mut self, acts: Vec<(f64, Act)>) -> Self {
        self.acts = acts;
        self
    }

    /// Replays it: frames compared, and the differences that are excused.
    ///
    /// # Panics
    /// On any other difference, and if an excuse is not needed.
    fn replay(self) -> (usize, usize) {
        let file = self.file;
        let lines = read(file);
        let skipped = without_messages(&lines);
        let mut acts = self.acts.into_iter().peekable();
        let mut player = Player::new(self.settings, Time::ZERO + self.age);
        player.open_sessions(&sessions_before(&lines));
        for line in lines.iter().filter(|line| !skipped.contains(&line.conn)) {
            while let Some((at, act)) = acts.next_if(|(at, _)| *at <= line.t_ms) {
                player.act(at, act);
            }
            player.run(line);
        }
        let (compared, differences) = player.end();
        let excuses: Vec<&Excuse> = EXCUSES.iter().filter(|e| file.starts_with(e.file)).collect();
        for excuse in &excuses {
            let is_needed = differences.iter().any(|text| text.contains(excuse.text));
            assert!(is_needed, "{}: nothing left to excuse: {}", excuse.text, excuse.reason);
        }
        let is_excused = |text: &&String| excuses.iter().any(|excuse| text.contains(excuse.text));
        let (excused, bad): (Vec<&String>, Vec<&String>) = differences.iter().partition(is_excused);
        let bad: Vec<&str> = bad.iter().map(|text| text.as_str()).collect();
        assert!(bad.is_empty(), "{file}: {} differences\n{}", bad.len(), bad.join("\n"));
        assert!(compared > 0);
        (compared, excused.len())
    }
}

fn read(file: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms-wire").join(file);
    let text = std::fs::read_to_string(path.with_extension("jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The sessions that were there when the recording began: those that `getSessions` lists and nothing
/// else in it names.
fn sessions_before(lines: &[Line]) -> Vec<String> {
    let is_list = |line: &&Line| line.dir == "s2c" && line.text.contains("\"value\":[\"\",");
    let Some(list) = lines.iter().find(is_list) else { return Vec::new() };
    let answer: Value = serde_json::from_str(&list.text).unwrap();
    let ids: Vec<&str> = answer["result"]["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    let named: BTreeSet<&str> = ids.iter().copied().filter(|id| !id.is_empty()).collect();
    // One empty place for each session, and one more if there is one with the empty name.
    let has_nameless = ids.len() > 2 * named.len();
    let earlier =
        |id: &&str| !lines.iter().any(|line| line.t_ms < list.t_ms && line.text.contains(*id));
    let before = named.into_iter().filter(earlier).chain(has_nameless.then_some(""));
    before.map(str::to_owned).collect()
}

/// The processes of `l-lifecycle`, in the order of its notes. The last had a descriptor limit of
/// 100.
fn lifecycle() -> Vec<(f64, Act)> {
    vec![
        (3_210.0, Act::Terminate),
        (3_600.0, Act::Start(Limits::default())),
        (18_770.0, Act::Terminate),
        (19_400.0, Act::Start(Limits::default())),
        (19_700.0, Act::Terminate),
        (22_700.0, Act::Start(Limits::default())),
        (22_842.0, Act::Terminate),
        (22_900.0, Act::Start(Limits::default())),
        (23_030.0, Act::Stop),
        (29_130.0, Act::Continue),
        (29_632.0, Act::Stop),
        (37_636.0, Act::Continue),
        (38_437.0, Act::Stop),
        (42_037.0, Act::Continue),
        (42_040.0, Act::Terminate),
        (42_100.0, Act::Start(Limits { files_max: Some(100), ..Limits::default() })),
        (56_800.0, Act::Terminate),
    ]
}

fn recordings() -> Vec<Recording> {
    vec![
        Recording::new("a-server-manager").started_at(1_795_234_831),
        Recording::new("b-webrtc"),
        Recording::new("c-media"),
        Recording::new("d-transactions"),
        Recording::new("e-reconnect"),
        Recording::new("f-errors"),
        Recording::new("g-sharing"),
        Recording::new("h-request-cache"),
        Recording::new("i-ordering"),
        Recording::new("j-gc").collecting_every(6),
        Recording::new("j2-gc").collecting_every(6).aged(4_839),
        Recording::new("k-wrong-kind"),
        Recording::new("l-lifecycle").with(lifecycle()),
        Recording::new("o-misc"),
        Recording::new("p-release-manager"),
    ]
}

/// The simulated KMS does what the real one did. `--no-capture` shows the count.
#[test]
fn the_recordings_are_replayed() {
    let (mut compared, mut excused) = (0, 0);
    for recording in recordings() {
        let file = recording.file;
        let (frames, differences) = recording.replay();
        println!("{file}: {frames} compared, {differences} excused");
        compared += frames;
        excused += differences;
    }
    println!("all: {compared} compared, {} equal, {excused} excused", compared - excused);
}

/// What a registrar gets, and when it gets it again after it has closed the connection.
#[test]
fn a_registrar_hears_what_it_heard_from_the_real_one() {
    let lines = read("n-registrar");
    let own = OwnAddress {
        host: "127.0.0.1".to_owned(),
        port: 8888,
        secure_port: Some(8493),
        path: "kurento".to_owned(),
    };
    let said: Vec<&Line> = lines.iter().filter(|l| l.dir == "c2s" && l.op.is_none()).collect();
    assert_eq!(said.len(), 2);
    assert!(said.iter().all(|line| line.text == own.registration()));
    let mut retry = Retry::default();
    retry.on_open();
    let dropped = lines.iter().find(|line| line.dir == "note").unwrap().t_ms;
    let dialled = lines.iter().find(|line| line.conn == 2).unwrap().t_ms;
    let wait = retry.wait().as_secs_f64() * 1_000.0;
    assert!((wait..wait + 20.0).contains(&(dialled - dropped)), "{}", dialled - dropped);
}
