//! The driver of the session: what it is owed and owes. What the session says is checked in `laws`.

mod laws;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pinfold::model::{BackendId, Finding, PipelineId, SessionId, Time};
use pinfold::policy::access::Isolation;
use pinfold::policy::guard::Rules;
use pinfold::protocol::error::Failure;
use pinfold::protocol::request::{Hints, parse_request};
use pinfold::session::{
    Bounds, Input, LinkFailure, LinkNo, Output, Paced, Remains, Session, Ticket, Wish,
};
use serde_json::Value;

use super::script::Script;
use laws::canonical;

/// The first pipeline that is made here; others' pipelines come before.
const FIRST_MADE: u128 = 1_000;

/// A session, and all that it has asked for and not got, or got and not given back.
pub(super) struct World {
    session: Session,
    now: Time,
    bounds: Bounds,
    out: Vec<Output>,
    /// Requests that are not answered yet, by id.
    asked: BTreeMap<String, usize>,
    sent: BTreeMap<u64, Sent>,
    last_number: u64,
    places: BTreeMap<Ticket, Wish>,
    tickets_seen: BTreeSet<Ticket>,
    claims: BTreeSet<Ticket>,
    /// Turns that are waited for, and where.
    turns: BTreeMap<Ticket, BackendId>,
    /// Calls that block and are under way.
    blocking: BTreeSet<Ticket>,
    locates: Vec<PipelineId>,
    /// A session that the client wants to go on with.
    wish: Option<SessionId>,
    /// How often each pipeline is said to be in use.
    holds: BTreeMap<PipelineId, u32>,
    made: Vec<PipelineId>,
    wires: BTreeMap<LinkNo, Wire>,
}

/// A request of the client.
struct Sent {
    text: String,
    pipeline: Option<PipelineId>,
    /// Whether the session knew its pipeline when it came, so that it had to wait for no place.
    was_known: bool,
}

/// A link as its driver sees it.
pub(super) struct Wire {
    backend: BackendId,
    state: State,
    /// Whether an answer has named the session since it was opened.
    pub(super) is_tied: bool,
    /// Sent and not answered.
    pub(super) calls: VecDeque<Frame>,
    pub(super) last_answer: Option<String>,
    /// The last request that had to wait for no place.
    last_known: u64,
    last_of: BTreeMap<PipelineId, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Opening,
    Open,
}

/// A request as it reached a backend.
pub(super) struct Frame {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Value,
}

impl Frame {
    /// Whether Kurento spells the id as the client did.
    pub(super) fn id_comes_back_as_sent(&self) -> bool {
        !self.id.is_f64() && self.id != "é"
    }
}

impl World {
    pub(super) fn new(bounds: Bounds, is_paced: bool) -> Self {
        let session = Session::new(SessionId::from_random(7), "edge", Hints::default(), bounds);
        Self {
            session: if is_paced { session.paced() } else { session },
            now: Time::ZERO,
            bounds,
            out: Vec::new(),
            asked: BTreeMap::new(),
            sent: BTreeMap::new(),
            last_number: 0,
            places: BTreeMap::new(),
            tickets_seen: BTreeSet::new(),
            claims: BTreeSet::new(),
            turns: BTreeMap::new(),
            blocking: BTreeSet::new(),
            locates: Vec::new(),
            wish: None,
            holds: BTreeMap::new(),
            made: Vec::new(),
            wires: BTreeMap::new(),
        }
    }

    /// The listener may keep its clients apart.
    pub(super) fn keep_apart(&mut self, script: &mut Script<'_>) {
        let isolation = [Isolation::Open, Isolation::Meeting, Isolation::Session][script.pick(3)];
        let rules = Rules { isolation, ..Rules::default() };
        self.session.on_moved(Hints::default(), Arc::new(rules));
    }

    pub(super) fn session_id(&self) -> String {
        self.session.id().to_string()
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn made(&self) -> Vec<PipelineId> {
        self.made.clone()
    }

    /// Pipelines made here that the session is not just asking for.
    pub(super) fn told(&self) -> Vec<PipelineId> {
        self.made.iter().copied().filter(|pipeline| !self.locates.contains(pipeline)).collect()
    }

    pub(super) fn make_pipeline(&mut self) -> PipelineId {
        let pipeline = PipelineId::from_u128(FIRST_MADE + self.made.len() as u128);
        self.made.push(pipeline);
        pipeline
    }

    pub(super) fn wire(&mut self, link: LinkNo) -> &mut Wire {
        self.wires.get_mut(&link).expect("a link that was opened")
    }

    pub(super) fn links_that(&self, is_meant: impl Fn(&Wire) -> bool) -> Vec<LinkNo> {
        self.wires.iter().filter(|(_, wire)| is_meant(wire)).map(|(link, _)| *link).collect()
    }

    pub(super) fn has_places(&self) -> bool {
        !self.places.is_empty()
    }

    pub(super) fn has_locates(&self) -> bool {
        !self.locates.is_empty()
    }

    pub(super) fn has_wish(&self) -> bool {
        self.wish.is_some()
    }

    /// What is left of the session that the client names is found, or nothing is.
    pub(super) fn resume(&mut self, script: &mut Script<'_>) {
        let Some(id) = self.wish.take() else { return };
        let count = script.pick(4);
        if count == 3 {
            return self.handle(Input::Resumed(Finding::Unknown));
        }
        // The links begin anew.
        self.wires.clear();
        let pipelines: Vec<_> =
            self.made.iter().take(count).map(|made| (*made, backend(script.pick(4)))).collect();
        for (pipeline, _) in &pipelines {
            *self.holds.entry(*pipeline).or_default() += 1;
        }
        let mut backends: Vec<_> = pipelines.iter().map(|(_, at)| at.clone()).collect();
        backends.push(backend(script.pick(4)));
        let mut remains = Remains::found(id, (backends, true), &[]);
        remains.pipelines = pipelines;
        self.handle(Input::Resumed(Finding::Known(remains)));
    }

    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// A turn that is waited for has come, or is refused.
    pub(super) fn give_turn(&mut self, script: &mut Script<'_>) {
        let Some(ticket) = script.choose(self.turns.keys().copied()) else { return };
        self.turns.remove(&ticket);
        let paced = [Paced::Go, Paced::Go, Paced::TooLarge, Paced::Refused(100)][script.pick(4)];
        self.handle(Input::Paced(ticket, paced));
        let is_refused = self.out.iter().any(|output| matches!(output, Output::Refuse(..)));
        assert_eq!(is_refused, paced != Paced::Go, "{:?}", self.out);
    }

    pub(super) fn has_opening(&self) -> bool {
        self.wires.values().any(|wire| wire.state == State::Opening)
    }

    pub(super) fn has_unanswered(&self) -> bool {
        self.wires.values().any(|wire| !wire.calls.is_empty())
    }

    pub(super) fn said_anything_to_the_client(&self) -> bool {
        self.out.iter().any(|output| match output {
            Output::RelayToClient
            | Output::Answer(..)
            | Output::Refuse(..)
            | Output::Manager(..)
            | Output::Listen(_)
            | Output::Event(_)
            | Output::EventsLost(_) => true,
            Output::Relay(_)
            | Output::Tried(..)
            | Output::ToBackend(..)
            | Output::Pace(..)
            | Output::Unpace(_)
            | Output::SendBlocking(..)
            | Output::Unblocked(..)
            | Output::Again(..)
            | Output::Place(..)
            | Output::Locate(_)
            | Output::Resume(_)
            | Output::StopListening
            | Output::OpenLink(..)
            | Output::Created(..)
            | Output::NotCreated(_)
            | Output::Released(_)
            | Output::MediaChanged(..)
            | Output::Unheld(_)
            | Output::Prune
            | Output::Bereft
            | Output::Stray
            | Output::TimedOut(..)
            | Output::Late => false,
        })
    }

    /// The client sends `text`, which is about one object of `pipeline` or of none.
    pub(super) fn client_says(&mut self, text: &str, pipeline: Option<PipelineId>) {
        let id = match parse_request(text, self.bounds.depth_max) {
            Ok(request) => request.id,
            Err(refused) => refused.id,
        };
        *self.asked.entry(canonical(id)).or_default() += 1;
        let was_known = pipeline.is_some_and(|pipeline| self.holds.contains_key(&pipeline));
        self.sent.insert(self.last_number, Sent { text: text.to_owned(), pipeline, was_known });
        self.handle(Input::FromClient(text));
        let is_refused = self.out.iter().any(|output| matches!(output, Output::Refuse(..)));
        assert!(!is_refused || self.out.len() == 1, "refused, and yet: {:?}", self.out);
    }

    pub(super) fn backend_says(&mut self, link: LinkNo, text: &str) {
        self.handle(Input::FromBackend(link, text));
    }

    /// A place that was asked for is found or not.
    pub(super) fn place(&mut self, script: &mut Script<'_>) {
        let Some(ticket) = script.choose(self.places.keys().copied()) else { return };
        let wish = self.places.remove(&ticket).expect("it was chosen from there");
        let found = match (script.pick(8), wish) {
            (7, _) => Err(Failure::not_enough_resources("full")),
            (_, Wish::Anywhere { .. }) => Ok(backend(script.pick(4))),
            (number, Wish::Pipeline { on, .. }) => {
                self.claims.insert(ticket);
                Ok(on.unwrap_or_else(|| backend(number % 4)))
            }
        };
        self.handle(Input::Placed(ticket, found));
    }

    /// A pipeline that was asked for is located or not.
    pub(super) fn locate(&mut self, script: &mut Script<'_>) {
        if self.locates.is_empty() {
            return;
        }
        let pipeline = self.locates.remove(script.pick(self.locates.len()));
        let place = match script.pick(5) {
            4 => None,
            number => Some(backend(number)),
        };
        self.tell_located(pipeline, place);
    }

    fn tell_located(&mut self, pipeline: PipelineId, place: Option<BackendId>) {
        if place.is_some() {
            *self.holds.entry(pipeline).or_default() += 1;
        }
        self.handle(Input::Located(pipeline, place.into()));
    }

    /// A link that is being opened is open, or is not.
    pub(super) fn open_link(&mut self, script: &mut Script<'_>) {
        let opening = self.links_that(|wire| wire.state == State::Opening);
        let Some(link) = script.choose(opening) else { return };
        match script.pick(8) {
            6 => self.tell_failed(link, LinkFailure::Unreachable),
            7 => self.tell_failed(link, LinkFailure::Lost),
            _ => {
                self.wire(link).state = State::Open;
                self.handle(Input::LinkOpened(link));
            }
        }
    }

    /// An open link fails.
    pub(super) fn fail_link(&mut self, script: &mut Script<'_>, failure: Option<LinkFailure>) {
        let open = self.links_that(|wire| wire.state == State::Open);
        let Some(link) = script.choose(open) else { return };
        let failures = [LinkFailure::Cut, LinkFailure::Lost, LinkFailure::TooLong];
        let drawn = failures[script.pick(3)];
        self.tell_failed(link, failure.unwrap_or(drawn));
    }

    fn tell_failed(&mut self, link: LinkNo, failure: LinkFailure) {
        let wire = self.wire(link);
        wire.state = State::Closed;
        wire.is_tied = false;
        wire.calls.clear();
        wire.last_known = 0;
        wire.last_of.clear();
        self.handle(Input::LinkFailed(link, failure));
    }

    /// Time passes, and the session is told when it wants to be.
    pub(super) fn pass_time(&mut self, script: &mut Script<'_>) {
        let millis = [1, 600, 6_000, 70_000][script.pick(4)];
        self.now = self.now + Duration::from_millis(millis);
        while self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
            let before = self.session.deadline();
            self.handle(Input::Tick);
            assert_ne!(self.session.deadline(), before, "it wants to be told again and again");
        }
    }

    /// Lets the time come until which an open link is left alone; whether there is such a link.
    pub(super) fn wait_for_link(&mut self) -> bool {
        let Some(deadline) = self.session.deadline() else { return false };
        if !self.session.is_waiting() {
            return false;
        }
        self.now = self.now.max(deadline);
        self.handle(Input::Tick);
        true
    }

    /// Answers to what was not asked, or not any more.
    pub(super) fn tell_nonsense(&mut self, script: &mut Script<'_>) {
        let closed = self.links_that(|wire| wire.state == State::Closed);
        match (script.pick(6), script.choose(closed)) {
            (0, _) => {
                self.handle(Input::Placed(Ticket(1 << 40), Err(Failure::invalid_session())));
                assert_eq!(self.out, [], "nobody asked");
            }
            (1, _) => {
                let answered = |ticket: &Ticket| !self.places.contains_key(ticket);
                let tickets: Vec<_> = self.tickets_seen.iter().copied().filter(answered).collect();
                let Some(ticket) = script.choose(tickets) else { return };
                self.handle(Input::Placed(ticket, Err(Failure::invalid_session())));
                assert_eq!(self.out, [], "it was answered before");
            }
            (5, _) => {
                let ended = |ticket: &Ticket| !self.turns.contains_key(ticket);
                let tickets: Vec<_> = self.tickets_seen.iter().copied().filter(ended).collect();
                let Some(ticket) = script.choose(tickets) else { return };
                self.handle(Input::Paced(ticket, Paced::Go));
                assert_eq!(self.out, [], "it is not waited for");
            }
            (2, _) => {
                let Some(pipeline) = script.choose(self.session.pipelines()) else { return };
                let place = backend(script.pick(4));
                self.tell_located(pipeline, script.flag().then_some(place));
            }
            (3, Some(link)) => {
                self.handle(Input::LinkOpened(link));
                assert_eq!(self.out, [], "nobody asked");
            }
            (4, Some(link)) => {
                let failure = if script.flag() { LinkFailure::Lost } else { LinkFailure::Cut };
                self.handle(Input::LinkFailed(link, failure));
            }
            _ => {}
        }
    }

    /// The client has gone.
    pub(super) fn end(mut self) {
        self.out.clear();
        let mut out = Vec::new();
        self.session.end(&mut out);
        for output in &out {
            let gives_back = matches!(
                output,
                Output::NotCreated(_)
                    | Output::Unheld(_)
                    | Output::Unpace(_)
                    | Output::Unblocked(_, false)
            );
            assert!(gives_back, "{output:?}");
            self.act(output, None);
        }
        assert!(self.claims.is_empty(), "not given back: {:?}", self.claims);
        assert!(self.turns.is_empty(), "not given back: {:?}", self.turns);
        assert!(self.blocking.is_empty(), "not given back: {:?}", self.blocking);
        assert!(self.holds.is_empty(), "still in use: {:?}", self.holds);
        let sizes = self.session.sizes();
        assert_eq!((sizes.held_bytes, sizes.paced_bytes), (0, 0));
        assert!(!self.session.is_waiting());
        self.session.end(&mut out);
    }

    /// Tells the session, does what it says and checks the laws.
    pub(super) fn handle(&mut self, input: Input<'_>) {
        let at_hand = match &input {
            Input::FromClient(text) => Some((*text, true)),
            Input::FromBackend(_, text) => Some((*text, false)),
            Input::TooLong => {
                *self.asked.entry("null".to_owned()).or_default() += 1;
                None
            }
            Input::Placed(..)
            | Input::Located(..)
            | Input::Resumed(_)
            | Input::Returned(_)
            | Input::LinkOpened(_)
            | Input::LinkFailed(..)
            | Input::Paced(..)
            | Input::NotSent(..)
            | Input::Tick
            | Input::Event(_)
            | Input::EventsLost(_) => None,
        };
        let mut out = Vec::new();
        self.session.handle(self.now, input, &mut out);
        for output in &out {
            self.act(output, at_hand);
        }
        self.out = out;
        self.check_bounds();
    }
}

fn backend(number: usize) -> BackendId {
    BackendId::parse(&format!("kms-{number}")).expect("letters, a hyphen and a digit")
}
