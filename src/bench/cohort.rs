//! The clients of one thread, ready to call: each with a pipeline and an endpoint in its meeting.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use super::Tally;
use super::connection::{Connection, Receiver, Sender, shortened};
use super::error::BenchError;
use super::frames::{Frame, Kind};
use super::latency::PATIENCE;
use super::reply::{Expected, Wrong, split_id};
use super::target::Target;

/// Clients of a thread that get ready at once, so that this is no storm.
const AT_ONCE: usize = 32;

/// Letters of an object's id that are its backend's.
const TAG_LEN: usize = 8;

/// Who connects, and where the meetings live that were seen so far.
#[derive(Debug)]
pub(super) struct Venue {
    pub(super) target: Target,
    /// The backend's part of an id, by the meeting's number.
    homes: Mutex<BTreeMap<usize, String>>,
}

/// A client with something to call.
pub(super) struct Participant {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// By [`Kind`].
    pub(super) frames: [Frame; 3],
    pub(super) expected: [Expected; 3],
    pub(super) session: String,
    pub(super) meeting: usize,
    pub(super) endpoint: String,
    /// What the endpoint says it is called: its backend and its id.
    name: String,
}

impl Venue {
    pub(super) fn new(target: Target) -> Self {
        Self { target, homes: Mutex::default() }
    }

    /// Opens a connection for a client of `meeting`.
    pub(super) async fn open(&self, meeting: usize) -> io::Result<Connection> {
        Connection::open(&self.target, &self.target.meeting(meeting)).await
    }

    /// Creates a pipeline in `meeting`; returns its id and the session.
    ///
    /// # Errors
    /// The connection broke, or the answer is another, as from another backend than the meeting's.
    pub(super) async fn create_pipeline(
        &self,
        connection: &mut Connection,
        meeting: usize,
    ) -> io::Result<(String, String)> {
        let name = self.target.meeting(meeting);
        let params = json!({"type": "MediaPipeline", "properties": {"meeting": name}});
        let created = connection.call("create", &params.to_string()).await?;
        self.check_home(meeting, &created.value).map_err(io::Error::other)?;
        Ok((created.value, created.session))
    }

    /// Whether `pipeline` lives where its meeting does.
    fn check_home(&self, meeting: usize, pipeline: &str) -> Result<(), Wrong> {
        let wrong = || Wrong::Misrouted(format!("pipeline {}", shortened(pipeline)));
        let tag = pipeline.get(..TAG_LEN).ok_or_else(wrong)?;
        // Nothing panics while holding it.
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let home = homes.entry(meeting).or_insert_with(|| tag.to_owned());
        if home == tag { Ok(()) } else { Err(wrong()) }
    }

    /// Clients for these meetings, all ready.
    ///
    /// # Errors
    /// What the first says that could not get ready.
    pub(super) async fn gather(
        &self,
        meetings: Vec<usize>,
    ) -> Result<Vec<Participant>, BenchError> {
        let joining = meetings.into_iter().map(|meeting| self.join(meeting));
        stream::iter(joining).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// A client of `meeting`, ready.
    ///
    /// # Errors
    /// There is no connection, or one of the calls is not answered as it should be.
    pub(super) async fn join(&self, meeting: usize) -> Result<Participant, BenchError> {
        let failed = |error| BenchError::Connect(self.target.authority.clone(), error);
        let mut connection = self.open(meeting).await.map_err(failed)?;
        let told = |what| move |error: io::Error| BenchError::Ready(what, error.to_string());
        let created = self.create_pipeline(&mut connection, meeting).await;
        let (pipeline, session) = created.map_err(told("creating a pipeline"))?;
        let endpoint = create_endpoint(&mut connection, &pipeline).await;
        let endpoint = endpoint.map_err(told("creating an endpoint"))?;
        let mut frames = Kind::ALL.map(|kind| Frame::new(kind, &endpoint, &session));
        let name = ask_name(&mut connection, &endpoint).await.map_err(told("asking for a name"))?;
        if !name.ends_with(&format!(" {endpoint}")) {
            return Err(BenchError::Ready("asking for a name", shortened(&name)));
        }
        let Connection { mut sender, mut receiver } = connection;
        let mut learned = Vec::new();
        for (kind, frame) in Kind::ALL.into_iter().zip(&mut frames) {
            let value = if kind == Kind::Ping { "pong" } else { name.as_str() };
            let expected = learn(&mut sender, &mut receiver, frame, value).await;
            learned.push(expected.map_err(told("learning its replies"))?);
        }
        let expected = learned.try_into().expect("one for each kind");
        Ok(Participant { sender, receiver, frames, expected, session, meeting, endpoint, name })
    }
}

/// Asks an endpoint what it is called.
async fn ask_name(connection: &mut Connection, endpoint: &str) -> io::Result<String> {
    let params = json!({"object": endpoint, "operation": "getName", "operationParams": {}});
    Ok(connection.call("invoke", &params.to_string()).await?.value)
}

/// Creates an endpoint in `pipeline`; returns its id.
pub(super) async fn create_endpoint(
    connection: &mut Connection,
    pipeline: &str,
) -> io::Result<String> {
    let constructor = json!({"mediaPipeline": pipeline});
    let params = json!({"type": "WebRtcEndpoint", "constructorParams": constructor});
    Ok(connection.call("create", &params.to_string()).await?.value)
}

/// Sends `frame` once and learns from the reply, whose value must begin with `value`.
async fn learn(
    sender: &mut Sender,
    receiver: &mut Receiver,
    frame: &mut Frame,
    value: &str,
) -> io::Result<Expected> {
    let id = sender.take_id();
    sender.send(frame.with_id(id)).await?;
    let learned = receiver.take(|text| {
        let is_ours = split_id(text).is_some_and(|(found, _)| found == id);
        let stray = || Err(Wrong::Stray(shortened(text)));
        Some(if is_ours { Expected::learn(text, value) } else { stray() })
    });
    learned.await?.map_err(io::Error::other)
}

impl Participant {
    /// Makes one call and checks the reply.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn call(&mut self, kind: Kind) -> io::Result<Result<(), Wrong>> {
        let id = self.sender.take_id();
        self.sender.send(self.frames[kind as usize].with_id(id)).await?;
        let expected = &self.expected[kind as usize];
        let checked = self.receiver.take(|text| {
            Some(match split_id(text) {
                Some((found, rest)) if found == id => expected.check(text, rest),
                Some(_) | None => Err(Wrong::Stray(shortened(text))),
            })
        });
        checked.await
    }

    /// Loses the connection and goes on with the session on another; returns that.
    ///
    /// # Errors
    /// There is no connection, or the session is not what it was: then the error holds a [`Wrong`].
    pub(super) async fn come_back(self, venue: &Venue) -> io::Result<Connection> {
        let Self { sender, receiver, session, meeting, endpoint, name, .. } = self;
        drop((sender, receiver));
        let mut connection = venue.open(meeting).await?;
        let params = json!({"sessionId": session}).to_string();
        let resumed = connection.call("connect", &params).await?.session;
        let told = ask_name(&mut connection, &endpoint).await?;
        if resumed == session && told == name {
            return Ok(connection);
        }
        Err(io::Error::other(Wrong::Misrouted(format!("{resumed} {}", shortened(&told)))))
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        Connection { sender: self.sender, receiver: self.receiver }.close().await;
    }
}

/// Has each make one call that is not measured; `tally` gets to know what is wrong.
pub(super) async fn ping_all(participants: &mut [Participant], tally: &mut Tally) {
    for one in participants {
        match tokio::time::timeout(PATIENCE, one.call(Kind::Ping)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(wrong))) => tally.faults.on_wrong(&wrong),
            Ok(Err(error)) => tally.faults.on_broken(&error),
            Err(_late) => tally.faults.on_missing(1, "replies"),
        }
    }
}

/// Has all say goodbye and waits for the ends, but not for ever.
pub(super) async fn leave_all(participants: Vec<Participant>) {
    let leaving = futures_util::future::join_all(participants.into_iter().map(Participant::leave));
    let _ = tokio::time::timeout(PATIENCE, leaving).await; // they are dropped then
}
