//! What goes into a session and comes out of it, and what bounds it.

use std::sync::Arc;
use std::time::Duration;

use super::manager::{ManagerCall, Subscriptions};
use super::pace::Paced;
use super::subscriptions::ObjectSubscriptions;
use crate::model::{BackendId, Finding, PipelineId, SessionId};
use crate::policy::access::{Meetings, Own};
use crate::policy::health::CallClass;
use crate::policy::pacing::Ask;
use crate::policy::tally::Change;
use crate::protocol::error::Failure;
use crate::protocol::event::ObjectEvent;
use crate::protocol::request::{Hints, Method};

/// Number of a session's link, one for each backend it has met, counted from 0.
///
/// A backend is met before anything goes there, so a link may be opened before those of lower
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNo(pub usize);

/// A question for a place that waits to be answered, or a reserve that waits to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent this message.
    FromClient(&'a str),
    /// The client sent a message that was too long to keep.
    TooLong,
    /// The backend of this link sent this message.
    FromBackend(LinkNo, &'a str),
    /// The answer to [`Output::Place`].
    Placed(Ticket, Result<BackendId, Failure>),
    /// The answer to [`Output::Locate`].
    Located(PipelineId, Finding<BackendId>),
    /// The answer to [`Output::Resume`]. Its events of the manager, if it hears any, follow without
    /// [`Output::Listen`].
    Resumed(Finding<Remains>),
    /// The client is back on another connection, where it has sent these messages already.
    Returned(Vec<String>),
    /// The link that [`Output::OpenLink`] asked for is open.
    LinkOpened(LinkNo),
    /// The link could not be opened, or is no more.
    LinkFailed(LinkNo, LinkFailure),
    /// The answer to [`Output::Pace`].
    Paced(Ticket, Paced),
    /// What [`Output::SendBlocking`] asked for was not sent: too many such calls are under way.
    NotSent(LinkNo, Ticket),
    /// [`Session::deadline`](super::Session::deadline) has come.
    Tick,
    /// The manager of some backend tells this, after [`Output::Listen`].
    Event(&'a Arc<ObjectEvent>),
    /// So many such events were dropped, because this session did not take them.
    EventsLost(u64),
}

/// Why a link is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFailure {
    /// It was open and broke; the backend may live.
    Cut,
    /// It was open and brought a message that is too long to be passed on. The backend lives, and would
    /// answer the same again: no call is sent again.
    TooLong,
    /// It could not be opened; the backend may live.
    Unreachable,
    /// Nothing listens there, or the fleet says that the backend is lost: its objects are gone.
    Lost,
}

/// What to do, in order.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send the client's message just handed in to this backend, as it came.
    Relay(LinkNo),
    /// Send the backend's message just handed in to the client, as it came.
    RelayToClient,
    /// Send this text to a backend.
    ToBackend(LinkNo, String),
    /// A call wants its turn at this backend; answered by [`Input::Paced`], at once if it need not wait.
    /// One at a time for each link.
    Pace(Ticket, BackendId, Ask),
    /// The turn is not waited for any more.
    Unpace(Ticket),
    /// Send this text, or without one the client's message just handed in, if its backend can bear
    /// one more call that blocks; else answer with [`Input::NotSent`]. Each that was sent ends with
    /// [`Output::Unblocked`].
    SendBlocking(LinkNo, BackendId, Ticket, Option<String>),
    /// The call that blocks is answered; or, with `false`, its end will not be seen, if it was sent
    /// at all.
    Unblocked(Ticket, bool),
    /// Send this call to a backend once more, because the link broke before its answer came.
    Again(LinkNo, String),
    /// Send the client this answer to its call of that method, which no backend was asked.
    Answer(Method, String),
    /// Send the client this error; the raw id is that of its request, or `null`.
    Refuse(String, Failure),
    /// Answer the client's request with this raw id, a call of the manager.
    Manager(String, ManagerCall),
    /// Listen to the managers of all backends, and send the client this answer when all are heard.
    Listen(String),
    /// Listen to them no longer.
    StopListening,
    /// Send the client this event of the manager.
    Event(Arc<ObjectEvent>),
    /// Tell the client that so many events of the manager were dropped.
    EventsLost(u64),
    /// Find a place; answered by [`Input::Placed`].
    Place(Ticket, Wish),
    /// Find out where this pipeline lives and note that this session uses it; answered by
    /// [`Input::Located`].
    Locate(PipelineId),
    /// The client names another session, on a connection that holds nothing yet: find out what that
    /// session holds; answered by [`Input::Resumed`]. Until then all its messages wait. Whoever has
    /// that session at work may take the client over instead, with [`Session::take_waiting`](super::Session::take_waiting).
    Resume(SessionId),
    /// Open a link; answered by [`Input::LinkOpened`] or [`Input::LinkFailed`].
    OpenLink(LinkNo, BackendId),
    /// The pipeline that this ticket's place was for exists, and this session uses it.
    Created(Ticket, PipelineId),
    /// This ticket's place is not used.
    NotCreated(Ticket),
    /// This pipeline was destroyed, for everybody.
    Released(PipelineId),
    /// This has happened to the elements of this pipeline.
    MediaChanged(PipelineId, Box<Change>),
    /// This session uses this pipeline no longer.
    Unheld(PipelineId),
    /// The session knows many pipelines: call [`Session::forget`](super::Session::forget) with those that are gone.
    Prune,
    /// A backend's message answered no call and was dropped.
    Stray,
    /// The backend of this link has left so many calls unanswered for too long. Their senders are
    /// told by [`Output::Refuse`].
    TimedOut(LinkNo, usize),
    /// The client has nothing left on any backend, and is to be closed for that unless it asks for
    /// something before.
    Bereft,
    /// A backend's message answered a call that had taken too long, and was dropped.
    Late,
    /// The backend of this link has answered a call that makes something.
    Tried(LinkNo, Tried),
}

/// How a call ended that makes a pipeline or an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was made, within this time.
    Made(CallClass, Duration),
    /// Refused for want of resources: error 40009.
    Refused,
}

/// What a session holds, as far as it must be known to go on with it on another connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Its id.
    pub id: SessionId,
    /// The backends that have it.
    pub backends: Vec<BackendId>,
    /// Whether no other has it; else one said nothing when the session was found.
    pub is_whole: bool,
    /// Pipelines it uses, and where they are.
    pub pipelines: Vec<(PipelineId, BackendId)>,
    /// Its subscriptions to the manager.
    pub subscriptions: Subscriptions,
    pub(super) object_subscriptions: ObjectSubscriptions,
    /// Meetings it takes part in.
    pub(super) meetings: Meetings,
    /// Whether nobody here knows what it used, so that this must be believed.
    pub(super) is_found: bool,
    /// Pipelines that it made before this process.
    pub(super) own: Own,
}

/// What a place is wanted for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// A new pipeline.
    Pipeline {
        /// Its meeting and how many are expected there.
        hints: Hints,
        /// The backend it must be on, because the same transaction touches that.
        on: Option<BackendId>,
        /// A backend that could not be reached for this message a moment ago.
        avoid: Option<BackendId>,
    },
    /// A call that any backend can answer. Charges nothing, and its ticket is not used again.
    Anywhere {
        /// A backend that could not be reached for this message a moment ago.
        avoid: Option<BackendId>,
    },
}

/// Bounds of one session. At a bound the call that would cross it is answered with 40009.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Nesting of a client's JSON; deeper is answered with -32600.
    pub depth_max: usize,
    /// Bytes of messages that wait for a place or a link.
    pub held_max_bytes: usize,
    /// Bytes of messages that wait behind a costly call's turn, answered with when to try again. The
    /// calls whose turn is asked for, one for each link, come on top.
    pub paced_max_bytes: usize,
    /// Unanswered calls on one link.
    pub calls_max: usize,
    /// Pipelines known to be in use, and meetings remembered to take part in.
    pub pipelines_max: usize,
    /// Subscriptions that backends have made for this session; those under way come on top.
    pub subscriptions_max: usize,
    /// Bytes of unanswered calls of one link that are kept to be sent again if it breaks. A call that
    /// does not fit is answered with 40003 then; with 0 all are.
    pub resend_max_bytes: usize,
    /// Time a backend may take to answer; then the call is answered with 40003.
    pub call_timeout: Duration,
}

/// How much a session keeps, against its [`Bounds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of messages that wait for a place or a link.
    pub held_bytes: usize,
    /// Bytes of messages that wait behind a costly call's turn.
    pub paced_bytes: usize,
    /// Unanswered calls, of the link that has most.
    pub calls: usize,
    /// Pipelines known to be in use or being made.
    pub pipelines: usize,
    /// Subscriptions known to exist.
    pub subscriptions: usize,
}

impl Sizes {
    /// Whether they keep to `bounds`.
    #[must_use]
    pub const fn are_within(&self, bounds: &Bounds) -> bool {
        self.held_bytes <= bounds.held_max_bytes
            && self.paced_bytes <= bounds.paced_max_bytes
            && self.calls <= bounds.calls_max
            && self.pipelines <= bounds.pipelines_max
    }
}
