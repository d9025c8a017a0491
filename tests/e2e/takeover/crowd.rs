//! Clients in meetings that go on calling while the edge is replaced, and do not give up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::StreamExt;
use futures_util::future::join_all;
use pinfold::load::{CallError, Client, Events};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::e2e::harness::{Edge, KmsSim, within_bound};

/// People in one meeting.
const IN_MEETING: usize = 5;

/// Calls at once, so that the machine of a test has no more to do than it can.
const AT_ONCE: usize = 20;

/// Every so many calls one makes a pipeline.
const CALLS_A_PIPELINE: usize = 8;

/// What all share.
struct Shared {
    url: String,
    turns: Semaphore,
    /// How often each must have come back before the end; none is known yet: `usize::MAX`.
    wanted: AtomicUsize,
}

/// A client, its meeting and its pipelines there.
pub(super) struct Person {
    shared: Arc<Shared>,
    session: String,
    meeting: String,
    pipelines: Vec<String>,
    connection: (Client, Events),
    came_back: usize,
    calls: usize,
}

impl Person {
    async fn join(shared: Arc<Shared>, meeting: String) -> Self {
        let connection = Client::connect(&shared.url).await.unwrap();
        let params = json!({"type": "MediaPipeline", "properties": {"meeting": meeting}});
        let answer = connection.0.call("create", params).await.unwrap();
        let session = answer["sessionId"].as_str().unwrap().to_owned();
        let pipelines = vec![answer["value"].as_str().unwrap().to_owned()];
        Self { shared, session, meeting, pipelines, connection, came_back: 0, calls: 0 }
    }

    /// Calls until it has come back as often as is wanted.
    async fn work(mut self) -> Self {
        while self.came_back < self.shared.wanted.load(Relaxed) {
            self.step().await;
        }
        self.step().await;
        self
    }

    async fn step(&mut self) {
        let shared = self.shared.clone();
        let _turn = shared.turns.acquire().await.unwrap();
        self.calls += 1;
        if self.calls.is_multiple_of(CALLS_A_PIPELINE) {
            let properties = json!({"meeting": self.meeting});
            let params = json!({"type": "MediaPipeline", "properties": properties});
            let made = self.call("create", params).await;
            self.pipelines.push(made["value"].as_str().unwrap().to_owned());
        } else {
            let pipeline = &self.pipelines[self.calls % self.pipelines.len()];
            let params = json!({"object": pipeline, "operation": "getName"});
            let wanted = pipeline.clone();
            assert_eq!(self.call("invoke", params).await["value"], wanted.as_str());
        }
    }

    /// Calls, and calls again over another connection if this one ends first, as clients do.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        loop {
            match self.connection.0.call(method, params.clone()).await {
                Ok(answer) => return answer,
                Err(CallError::Ended(ending)) => {
                    assert_eq!(ending.code, Some(1001), "{ending}");
                    self.come_back().await;
                }
                Err(error) => panic!("{method} in {}: {error}", self.meeting),
            }
        }
    }

    async fn come_back(&mut self) {
        loop {
            // Nobody is reset on the way in.
            self.connection = Client::connect(&self.shared.url).await.unwrap();
            let params = json!({"sessionId": self.session});
            match self.connection.0.call("connect", params).await {
                Ok(answer) => {
                    assert_eq!(answer["sessionId"], self.session.as_str(), "{answer}");
                    self.came_back += 1;
                    return;
                }
                // Accepted by the old one, at the last moment.
                Err(CallError::Ended(ending)) => assert_eq!(ending.code, Some(1001), "{ending}"),
                Err(error) => panic!("a session is lost: {error}"),
            }
        }
    }
}

/// All of them, at rest or at work.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    resting: Vec<Person>,
    working: Vec<JoinHandle<Person>>,
}

impl Crowd {
    /// So many clients, each with a pipeline.
    pub(super) async fn gather(edge: &Edge, count: usize) -> Self {
        let (url, turns) = (edge.url.clone(), Semaphore::new(AT_ONCE));
        let shared = Arc::new(Shared { url, turns, wanted: AtomicUsize::new(usize::MAX) });
        let joining = (0..count)
            .map(|number| Person::join(shared.clone(), format!("meeting-{}", number / IN_MEETING)));
        let resting = futures_util::stream::iter(joining).buffer_unordered(AT_ONCE).collect().await;
        Self { shared, resting, working: Vec::new() }
    }

    /// They begin to call.
    pub(super) fn start(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "each is awaited by `finish`")]
        let start = |one: Person| tokio::spawn(one.work());
        self.working = self.resting.drain(..).map(start).collect();
    }

    /// They end once each has come back so many times.
    pub(super) async fn finish(mut self, times: usize) -> Self {
        self.shared.wanted.store(times, Relaxed);
        for one in self.working.drain(..) {
            self.resting.push(within_bound("one has come back", one).await.unwrap());
        }
        self
    }

    /// All that they have is there, and each meeting is at one backend, also for who comes now.
    pub(super) async fn check(mut self, edge: &Edge, sims: &[KmsSim]) {
        let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in &self.resting {
            made.entry(one.meeting.clone()).or_default().extend(one.pipelines.iter().cloned());
        }
        let (client, _events) = edge.connect().await;
        for (meeting, pipelines) in &mut made {
            pipelines.insert(client.create_pipeline(Some(meeting)).await.unwrap());
        }
        let lives: Vec<BTreeSet<String>> = join_all(sims.iter().map(KmsSim::pipelines)).await;
        for (meeting, pipelines) in &made {
            let homes = lives.iter().filter(|lives| !lives.is_disjoint(pipelines)).count();
            assert_eq!(homes, 1, "{meeting} is split");
            let all = lives.iter().flatten().filter(|one| pipelines.contains(*one)).count();
            assert_eq!(all, pipelines.len(), "{meeting} has lost a pipeline");
        }
        for one in &mut self.resting {
            one.step().await;
        }
    }
}
