//! The core in a made-up world: clients, edges, backends and a network in virtual time.
//!
//! The sessions, their drivers, placement, pins and fleet table are those of the real edge; the
//! backends are [`Kms`](crate::sim::kms::Kms). Only sockets, clock and chance are made up, and one
//! seed decides them all, so that a run that fails can be looked at again. After every step the
//! world checks what must always hold (`check`), and in the end that nothing is left of anybody.
//!
//! Each edge has its own pin store: one that edges share is not there yet. Not in here: framing,
//! TLS, backpressure, which are the shell's.

mod act;
mod asking;
mod back;
mod backend;
mod calls;
mod check;
mod client;
mod draining;
mod edge;
mod facts;
mod faults;
mod links;
mod losses;
mod network;
pub mod placement;
mod probes;
mod relays;
mod reload;
mod shape;
mod sources;
mod step;
mod store;
mod takeover;
mod tasks;
mod time;
mod turnover;
mod world;

#[cfg(test)]
mod tests;

use std::fmt;

use world::World;

/// A mistake that can be planted, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The store looks whether a meeting is pinned, and pins it a moment later.
    GetThenSet,
    /// The store removes whatever pin a meeting has, not the one it was told.
    UnconditionalUnpin,
    /// Events that come while a call waits for its answer are dropped.
    DroppedEvent,
    /// What a link still brings after it, or the call, was given up reaches the client.
    LateAnswer,
    /// A pin outlives the process it was made on.
    KeptPin,
    /// Backends forget their answers, so that a call which is sent again is run again.
    ForgottenAnswers,
    /// The store says that a pin is settled when it is not.
    EarlyAnswer,
    /// A crash loses a pin that was settled.
    LostClaim,
    /// One backend denies every session, so that what is resumed is not whole.
    ForgottenBackend,
    /// Events of a session go to the connection that its client had before.
    OldConnection,
    /// An operator drains a backend, and the edge does not hear it.
    DeafToDrain,
    /// Meetings are let go without anybody asking their backend to release what they have.
    UnaskedRelease,
    /// The sessions of some clients do not hear that their link is lost.
    UntoldLoss,
    /// An edge that starts again has forgotten the orders of its operators.
    ForgottenOrders,
    /// What a source does not name any more is gone at once.
    HastySources,
    /// A process lets another take over and goes on with its pins.
    KeptPins,
    /// A process that takes over does not hear what the other still does.
    DeafToNews,
    /// Operators give orders to a process when another has read what it left.
    OpenGate,
    /// What an edge has lost with a backend is not known to the next process of that edge.
    ForgottenRemnants,
}

/// One run to be made.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// Steps before everybody leaves.
    pub steps: u64,
    /// What is planted.
    pub bug: Option<Bug>,
    /// Whether to keep a trace: one line a step.
    pub is_traced: bool,
}

/// What a run without a fault did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps, those of the end included.
    pub steps: u64,
    /// Calls that clients made.
    pub calls: u64,
    /// Calls answered with an error.
    pub errors: u64,
    /// Events that reached clients.
    pub events: u64,
    /// Pipelines made.
    pub pipelines: u64,
    /// Processes that were killed or given up for lost.
    pub losses: u64,
    /// Times that calls over one link were given up because they took too long.
    pub timeouts: u64,
    /// Calls that reached a backend once more, because their link broke.
    pub resent: u64,
    /// Of these, those that the backend had answered already.
    pub repeated: u64,
    /// Answers that came when their calls had been given up.
    pub late: u64,
    /// Pipelines taken back because their pins did not settle.
    pub withdrawn: u64,
    /// Costly calls that would have had to wait for too long, and were told so.
    pub paced: u64,
    /// Times that an edge was killed.
    pub crashes: u64,
    /// Times that a client got its session back.
    pub resumed: u64,
    /// Of these, those where the session was still at work.
    pub resumed_here: u64,
    /// Times that nobody knew the session of a client that came back.
    pub forgotten: u64,
    /// Times that an operator drained a backend, dropped it, or took that back.
    pub decisions: u64,
    /// Backends that left the fleet of an edge.
    pub removed: u64,
    /// Times that meetings were let go.
    pub moved: u64,
    /// Client connections that were closed because all they had was lost.
    pub bereft: u64,
    /// Times that an edge took up another config.
    pub reloads: u64,
    /// Times that a process took over from another.
    pub takeovers: u64,
    /// Most legs that one edge has counted on one backend.
    pub legs_max: u32,
}

/// A run in which nothing broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it did.
    pub tally: Tally,
    /// One line a step or message, if they were kept.
    pub trace: Vec<String>,
}

/// Something that must not happen, happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}")]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// What happened.
    pub what: String,
    /// One line a step or message, if they were kept.
    pub trace: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, calls, errors, events, pipelines, losses, withdrawn, paced, .. } = self;
        let Self { timeouts, resent, repeated, late, .. } = self;
        let Self { crashes, resumed, resumed_here, forgotten, decisions, removed, moved, .. } =
            self;
        let Self { bereft, reloads, takeovers, legs_max, .. } = self;
        write!(
            f,
            "{steps} steps, {calls} calls, {errors} errors, {events} events, \
             {pipelines} pipelines, {withdrawn} taken back, {losses} losses, {paced} paced, \
             {timeouts} timeouts, {late} late answers, {resent} calls sent again, {repeated} of them \
             answered twice by their backend, {crashes} edges killed, {resumed} sessions resumed, \
             {resumed_here} of them at work, {forgotten} forgotten, {decisions} decisions of operators, \
             {removed} backends removed, {moved} times meetings let go, {bereft} connections \
             closed after a loss, {reloads} reloads, {takeovers} processes replaced, up to {legs_max} legs counted on a backend"
        )
    }
}

impl Tally {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            calls: self.calls + other.calls,
            errors: self.errors + other.errors,
            events: self.events + other.events,
            pipelines: self.pipelines + other.pipelines,
            losses: self.losses + other.losses,
            timeouts: self.timeouts + other.timeouts,
            resent: self.resent + other.resent,
            repeated: self.repeated + other.repeated,
            late: self.late + other.late,
            withdrawn: self.withdrawn + other.withdrawn,
            paced: self.paced + other.paced,
            crashes: self.crashes + other.crashes,
            resumed: self.resumed + other.resumed,
            resumed_here: self.resumed_here + other.resumed_here,
            forgotten: self.forgotten + other.forgotten,
            decisions: self.decisions + other.decisions,
            removed: self.removed + other.removed,
            moved: self.moved + other.moved,
            bereft: self.bereft + other.bereft,
            reloads: self.reloads + other.reloads,
            takeovers: self.takeovers + other.takeovers,
            legs_max: if self.legs_max > other.legs_max { self.legs_max } else { other.legs_max },
        }
    }
}

/// Makes one run: `steps` steps, then everybody leaves and the world comes to rest.
///
/// # Errors
/// The first thing that must not happen and did.
pub fn session(run: &Run) -> Result<Done, Broken> {
    let mut world = World::new(run);
    let outcome = world.run(run.steps);
    let World { tally, trace, .. } = world;
    match outcome {
        Ok(()) => Ok(Done { tally, trace }),
        Err(what) => Err(Broken { seed: run.seed, step: tally.steps, what, trace }),
    }
}
