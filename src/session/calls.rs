//! Calls that a backend has not answered yet.

use std::collections::VecDeque;
use std::time::Duration;

use super::texts::Texts;
use super::{LinkNo, Output, Ticket};
use crate::model::{PipelineId, Time};
use crate::protocol::media::MediaCall;
use crate::protocol::request::Method;

/// How often one call is sent again.
const RESENDS_MAX: u8 = 3;

/// How long after it was sent first a call may be sent again. Kurento keeps an answer for 20 s and
/// gives it again to the same id instead of running the call twice; the rest is for the way there.
/// Source: Kurento protocol notes, section 8.
const RESEND_WITHIN: Duration = Duration::from_secs(18);

/// Bytes of an id that are kept without an allocation; longer ids take one.
const SHORT_MAX: usize = 22;

/// A request's id as it stood in the client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallId {
    Short(u8, [u8; SHORT_MAX]),
    Long(Box<str>),
}

impl CallId {
    pub(super) fn new(raw: &str) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match bytes.get_mut(..raw.len()) {
            Some(slot) => {
                slot.copy_from_slice(raw.as_bytes());
                Self::Short(u8::try_from(raw.len()).expect("22 at most"), bytes)
            }
            None => Self::Long(raw.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(len, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).expect("copied from a str")
            }
            Self::Long(text) => text,
        }
    }

    /// Whether it is spelled as those of the edge's own calls.
    fn is_own(raw: &str) -> bool {
        raw.starts_with("\"pinfold-")
    }

    /// Whether Kurento would spell this id in its answer as the client did: short integers and
    /// plain ASCII strings. Others come back rewritten (`1.8446744073709552e+19`, `\u00e9`).
    fn is_echoed(raw: &str) -> bool {
        let is_integer = raw.len() < 16 && raw != "-0" && {
            let digits = raw.strip_prefix('-').unwrap_or(raw);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        };
        let is_plain = || raw.starts_with('"') && raw.is_ascii() && !raw.contains(['\\', '\x7f']);
        is_integer || is_plain()
    }
}

/// What the session learns from an answer.
#[derive(Clone, Debug)]
pub(super) enum Learn {
    Nothing,
    /// A new pipeline's id.
    Created(Ticket),
    /// That this pipeline is destroyed.
    Released(PipelineId),
    /// That the media of a pipeline have changed.
    Media(Box<MediaCall>),
    /// All of these, and subscriptions, by index of the operation.
    Transaction(Box<TransactionLearn>),
    /// The id of a new subscription to this object.
    Subscribed(Box<str>),
    /// That a thread of the backend is free again.
    Blocking(Ticket),
    /// That the backend of this link has closed the session.
    Closed(Ticket, LinkNo),
    /// The call is the edge's own: its answer is for nobody else.
    Own,
}

#[derive(Clone, Debug)]
pub(super) struct TransactionLearn {
    pub(super) creates: Vec<(usize, Ticket)>,
    pub(super) releases: Vec<(usize, PipelineId)>,
    pub(super) media: Vec<(usize, MediaCall)>,
    /// Objects as the text has them, so perhaps as a reference to another operation.
    pub(super) subscribes: Vec<(usize, Box<str>)>,
    pub(super) blocks: Option<Ticket>,
}

impl TransactionLearn {
    /// `Nothing` if there is nothing to be learned.
    pub(super) fn into_learn(self) -> Learn {
        let Self { creates, releases, media, subscribes, blocks } = &self;
        let changes_nothing = creates.is_empty() && releases.is_empty() && media.is_empty();
        if changes_nothing && subscribes.is_empty() && blocks.is_none() {
            return Learn::Nothing;
        }
        Learn::Transaction(Box::new(self))
    }
}

impl Learn {
    /// Gives back the places that will not be used.
    pub(super) fn abandon(&self, out: &mut Vec<Output>) {
        match self {
            Self::Nothing
            | Self::Released(_)
            | Self::Media(_)
            | Self::Subscribed(_)
            | Self::Closed(..)
            | Self::Own => {}
            Self::Created(ticket) => out.push(Output::NotCreated(*ticket)),
            Self::Blocking(ticket) => out.push(Output::Unblocked(*ticket, false)),
            Self::Transaction(learn) => {
                out.extend(learn.creates.iter().map(|(_, t)| Output::NotCreated(*t)));
                out.extend(learn.blocks.map(|ticket| Output::Unblocked(ticket, false)));
            }
        }
    }

    /// What is still to be learned from an answer whose call was given up.
    fn when_late(&self) -> Self {
        match self {
            Self::Nothing | Self::Created(_) | Self::Blocking(_) | Self::Closed(..) => {
                Self::Nothing
            }
            Self::Released(pipeline) => Self::Released(*pipeline),
            Self::Media(call) => Self::Media(call.clone()),
            Self::Subscribed(object) => Self::Subscribed(object.clone()),
            Self::Transaction(learn) => {
                let late = TransactionLearn { creates: Vec::new(), blocks: None, ..*learn.clone() };
                late.into_learn()
            }
            Self::Own => Self::Own,
        }
    }

    pub(super) fn creates(&self) -> bool {
        match self {
            Self::Created(_) => true,
            Self::Transaction(learn) => !learn.creates.is_empty(),
            Self::Nothing
            | Self::Released(_)
            | Self::Media(_)
            | Self::Subscribed(_)
            | Self::Blocking(_)
            | Self::Closed(..)
            | Self::Own => false,
        }
    }

    /// The ticket of a call that blocks a thread of its backend.
    pub(super) const fn blocks(&self) -> Option<Ticket> {
        match self {
            Self::Blocking(ticket) => Some(*ticket),
            Self::Transaction(learn) => learn.blocks,
            Self::Nothing
            | Self::Created(_)
            | Self::Released(_)
            | Self::Media(_)
            | Self::Subscribed(_)
            | Self::Closed(..)
            | Self::Own => None,
        }
    }
}

/// A request that was sent on, or is about to be.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) method: Method,
    /// Whether it was about the server as a whole, so that any other would do.
    pub(super) goes_anywhere: bool,
    pub(super) learn: Learn,
}

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) call: Call,
    /// When it was sent first.
    pub(super) at: Time,
    /// Bytes of its text that are kept; 0 if it is not.
    len: u32,
    /// How often it was sent again.
    resends: u8,
    /// It took too long: its sender was told, and its answer, if one still comes, is for nobody.
    pub(super) is_expired: bool,
}

impl Sent {
    /// Whether it can be sent once more at `now`: Kurento still has the answer if it gave one.
    fn can_go_again(&self, now: Time) -> bool {
        self.len > 0 && !self.is_expired && now.since(self.at) <= RESEND_WITHIN
    }

    /// Time from sending it to `now`; `None` if it was sent again.
    pub(super) fn took(&self, now: Time) -> Option<Duration> {
        (self.resends == 0).then(|| now.since(self.at))
    }

    /// Whether its link is to be opened once more for it.
    fn may_try_again(&self, now: Time) -> bool {
        self.can_go_again(now) && self.resends < RESENDS_MAX
    }
}

/// The unanswered calls of one link, oldest first, with their texts.
///
/// Kurento answers the requests of one connection strictly in order, so the oldest is the expected
/// one. Ids are compared all the same, where their spelling can be trusted.
#[derive(Debug, Default)]
pub(super) struct Calls {
    sent: VecDeque<Sent>,
    /// Texts of those with a `len`, in the same order.
    texts: Texts,
    /// How many are the edge's own.
    own_count: usize,
}

impl Calls {
    /// How many the client has made.
    pub(super) fn len(&self) -> usize {
        self.sent.len() - self.own_count
    }

    /// Whether nothing is under way, of the client or of the edge.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Notes a call sent at `now` as `text`, which is kept if no more than `kept_max` bytes are. That of
    /// a call that blocks is not: after a cut the backend is still at it, and would block another
    /// thread for the same call.
    pub(super) fn push(&mut self, call: Call, text: &str, now: Time, kept_max: usize) {
        let is_own = matches!(call.learn, Learn::Own);
        let may_go_again = !is_own && call.learn.blocks().is_none();
        let is_kept = may_go_again && self.texts.push(text, kept_max);
        let len = if is_kept { text.len() } else { 0 };
        self.own_count += usize::from(is_own);
        self.sent.push_back(Sent {
            call,
            at: now,
            len: u32::try_from(len).expect("a message is shorter"),
            resends: 0,
            is_expired: false,
        });
    }

    /// Takes the call that an answer with the raw `id` belongs to; `None` if it answers none.
    pub(super) fn take(&mut self, id: &str) -> Option<Sent> {
        let oldest = self.sent.front()?;
        if oldest.call.id.as_str() == id {
            return self.remove(0);
        }
        if let Some(found) = self.sent.iter().position(|sent| sent.call.id.as_str() == id) {
            return self.remove(found);
        }
        if CallId::is_echoed(oldest.call.id.as_str()) || CallId::is_own(id) {
            return None;
        }
        self.remove(0)
    }

    fn remove(&mut self, index: usize) -> Option<Sent> {
        let at: usize = self.sent.range(..index).map(|sent| sent.len as usize).sum();
        let sent = self.sent.remove(index)?;
        self.texts.remove(at, sent.len as usize);
        self.own_count -= usize::from(matches!(sent.call.learn, Learn::Own));
        Some(sent)
    }

    /// The link broke, or could not be opened again. Those for which that is tried once more stay;
    /// returns the others, but for those that were given up before.
    pub(super) fn give_up_stale(&mut self, now: Time) -> Vec<Call> {
        self.give_up_unless(|sent| sent.may_try_again(now))
    }

    /// The link is open again. Those that are sent over it stay; returns those that had to wait for too
    /// long.
    pub(super) fn give_up_late(&mut self, now: Time) -> Vec<Call> {
        self.give_up_unless(|sent| sent.can_go_again(now))
    }

    fn give_up_unless(&mut self, stays: impl Fn(&Sent) -> bool) -> Vec<Call> {
        let mut given_up = Vec::new();
        let mut index = 0;
        while let Some(sent) = self.sent.get(index) {
            if stays(sent) {
                index += 1;
            } else if let Some(sent) = self.remove(index)
                && !sent.is_expired
            {
                given_up.push(sent.call);
            }
        }
        given_up
    }

    /// Puts `other` behind the edge's own calls, which have no texts here.
    pub(super) fn take_over(&mut self, other: Self) {
        debug_assert_eq!(self.len(), 0, "texts stand in the order of their calls");
        self.texts = other.texts;
        self.own_count += other.own_count;
        self.sent.extend(other.sent);
    }

    /// Counts one more attempt for each.
    pub(super) fn count_attempt(&mut self) {
        for sent in &mut self.sent {
            sent.resends += 1;
        }
    }

    /// What is sent when the link is open again.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let mut at = 0;
        self.sent.iter().map(move |sent| {
            let len = sent.len as usize;
            at += len;
            self.texts.copy(at - len, len)
        })
    }

    /// When the first of them has waited for `timeout`.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Time> {
        // The edge's own call goes before older ones that are sent again; all others are in order.
        let waiting = self.sent.iter().filter(|sent| !sent.is_expired);
        waiting.take(2).map(|sent| sent.at + timeout).min()
    }

    /// Marks those that have waited for `timeout` at `now`, and returns them as they were. What is
    /// still to be learned from their answers stays.
    pub(super) fn expire(&mut self, now: Time, timeout: Duration) -> Vec<Call> {
        let mut expired = Vec::new();
        let mut at = 0;
        for sent in &mut self.sent {
            if !sent.is_expired && sent.at + timeout <= now {
                let late = sent.call.learn.when_late();
                let learn = std::mem::replace(&mut sent.call.learn, late);
                expired.push(Call { learn, ..sent.call.clone() });
                sent.is_expired = true;
                self.texts.remove(at, sent.len as usize);
                sent.len = 0;
            }
            at += sent.len as usize;
        }
        expired
    }

    /// Whether it holds a buffer that [`Self::rest`] may give back.
    pub(super) fn owns_buffer(&self) -> bool {
        self.texts.capacity() > 0 || self.sent.capacity() > 0
    }

    /// Gives its buffers back if nothing is in them.
    pub(super) fn rest(&mut self) {
        self.texts.rest();
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
    }

    /// Takes back the call of `ticket`, which blocks and was not sent.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Call> {
        let found = self.sent.iter().position(|sent| sent.call.learn.blocks() == Some(ticket))?;
        self.remove(found).map(|sent| sent.call)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Call> {
        std::mem::take(self).sent.into_iter().filter(|sent| !sent.is_expired).map(|sent| sent.call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000;

    fn call(id: &str, learn: Learn) -> Call {
        Call { id: CallId::new(id), method: Method::Invoke, goes_anywhere: false, learn }
    }

    fn calls(ids: &[&str]) -> Calls {
        let mut calls = Calls::default();
        for id in ids {
            calls.push(call(id, Learn::Nothing), &text(id), Time::ZERO, MAX);
        }
        calls
    }

    fn text(id: &str) -> String {
        format!("text of {id}")
    }

    fn ids(calls: &[Call]) -> Vec<&str> {
        calls.iter().map(|call| call.id.as_str()).collect()
    }

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn take(calls: &mut Calls, id: &str) -> Option<String> {
        calls.take(id).map(|sent| sent.call.id.as_str().to_owned())
    }

    #[test]
    fn answers_meet_their_calls() {
        let long = format!("\"{}\"", "x".repeat(40));
        let mut calls = calls(&["1", "\"1\"", &long, "2"]);
        for id in ["1", "\"1\"", &long] {
            assert_eq!(take(&mut calls, id).as_deref(), Some(id));
        }
        assert_eq!(take(&mut calls, "7"), None, "an answer nobody asked for");
        assert_eq!(calls.len(), 1);
    }

    #[test]
    fn ids_that_come_back_in_another_spelling_go_to_the_oldest_call() {
        for (sent, back) in
            [("18446744073709551616", "1.8446744073709552e+19"), ("\"é\"", "\"\\u00e9\"")]
        {
            let mut calls = calls(&[sent, "2"]);
            assert_eq!(take(&mut calls, back).as_deref(), Some(sent));
            assert_eq!(take(&mut calls, "2").as_deref(), Some("2"));
        }
    }

    #[test]
    fn an_answer_out_of_order_still_finds_its_call() {
        let mut calls = calls(&["1", "2"]);
        assert_eq!(take(&mut calls, "2").as_deref(), Some("2"));
        assert_eq!(take(&mut calls, "1").as_deref(), Some("1"));
    }

    #[test]
    fn what_is_answered_is_not_sent_again_and_the_rest_keeps_text_and_order() {
        let mut calls = calls(&["1", "2", "3", "4"]);
        take(&mut calls, "3");
        take(&mut calls, "1");
        assert!(calls.give_up_stale(seconds(1)).is_empty());
        assert_eq!(calls.texts().collect::<Vec<_>>(), [text("2"), text("4")]);
    }

    #[test]
    fn a_call_is_sent_again_three_times_and_only_while_its_answer_is_kept() {
        let mut calls = calls(&["1"]);
        for _ in 0..3 {
            assert!(calls.give_up_stale(seconds(1)).is_empty());
            calls.count_attempt();
            assert!(calls.give_up_late(seconds(1)).is_empty(), "the third time too");
        }
        assert_eq!(ids(&calls.give_up_stale(seconds(1))), ["1"]);
        calls.push(call("2", Learn::Nothing), &text("2"), seconds(1), MAX);
        assert!(calls.give_up_late(seconds(19)).is_empty());
        assert_eq!(ids(&calls.give_up_late(seconds(20))), ["2"]);
        assert!(calls.is_empty());
    }

    #[test]
    fn a_text_that_finds_no_room_is_not_sent_again() {
        let mut calls = Calls::default();
        for id in ["1", "22", "3"] {
            calls.push(call(id, Learn::Nothing), &text(id), Time::ZERO, 2 * text("1").len());
        }
        assert_eq!(ids(&calls.give_up_stale(Time::ZERO)), ["22"]);
        assert_eq!(calls.texts().collect::<Vec<_>>(), [text("1"), text("3")]);
        calls.push(call("4", Learn::Nothing), &text("4"), Time::ZERO, 0);
        assert_eq!(ids(&calls.give_up_stale(Time::ZERO)), ["4"], "with 0 none is");
    }

    #[test]
    fn a_call_that_took_too_long_keeps_its_slot_and_nothing_else() {
        let timeout = Duration::from_secs(60);
        let mut calls = calls(&["1", "2"]);
        calls.push(call("3", Learn::Nothing), &text("3"), seconds(5), MAX);
        assert_eq!(calls.deadline(timeout), Some(seconds(60)));
        assert_eq!(ids(&calls.expire(seconds(59), timeout)), [""; 0]);
        assert_eq!(ids(&calls.expire(seconds(60), timeout)), ["1", "2"]);
        assert_eq!(ids(&calls.expire(seconds(60), timeout)), [""; 0], "told once");
        assert_eq!(calls.deadline(timeout), Some(seconds(65)));
        assert!(calls.take("1").is_some_and(|sent| sent.is_expired));
        assert_eq!(ids(&calls.give_up_stale(seconds(10))), [""; 0], "told before");
        assert_eq!(calls.texts().collect::<Vec<_>>(), [text("3")]);
        assert!(calls.take("3").is_some_and(|sent| !sent.is_expired));
    }

    #[test]
    fn the_deadline_is_that_of_the_oldest_also_behind_the_edges_own_call() {
        let timeout = Duration::from_secs(60);
        let mut own = Calls::default();
        own.push(call("\"pinfold-tie-1\"", Learn::Own), "{}", seconds(9), MAX);
        assert_eq!((own.len(), own.deadline(timeout)), (0, Some(seconds(69))));
        own.take_over(calls(&["1", "2"]));
        assert_eq!((own.len(), own.deadline(timeout)), (2, Some(seconds(60))));
        assert_eq!(take(&mut own, "\"pinfold-tie-1\"").as_deref(), Some("\"pinfold-tie-1\""));
        assert_eq!(own.texts().collect::<Vec<_>>(), [text("1"), text("2")]);
    }

    #[test]
    fn a_late_answer_tells_of_what_is_gone_and_of_nothing_new() {
        let pipeline =
            PipelineId::parse("aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline");
        let releases = vec![(1, pipeline.unwrap())];
        let creates = vec![(0, Ticket(1))];
        let subscribes = vec![(2, "newref:0".into())];
        let media = vec![(3, MediaCall::Create)];
        let blocks = Some(Ticket(2));
        let learn = TransactionLearn { creates, releases, media, subscribes, blocks }.into_learn();
        let mut calls = Calls::default();
        calls.push(call("1", learn), "text", Time::ZERO, MAX);
        let expired = calls.expire(seconds(1), Duration::ZERO);
        assert!(expired[0].learn.creates(), "to be given back");
        let Some(Sent { call: Call { learn: Learn::Transaction(late), .. }, .. }) = calls.take("1")
        else {
            panic!("the slot is there")
        };
        assert_eq!((late.creates.len(), late.releases.len()), (0, 1));
        assert_eq!((late.media.len(), late.subscribes.len(), late.blocks), (1, 1, None));
    }

    #[test]
    fn buffers_go_when_nothing_is_in_them() {
        let mut calls = calls(&["1"]);
        calls.rest();
        assert!(calls.owns_buffer(), "in use");
        take(&mut calls, "1");
        assert!(calls.owns_buffer(), "used again by the next call");
        calls.rest();
        assert!(!calls.owns_buffer());
    }
}
