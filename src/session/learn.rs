//! What a backend's message means, and what the session learns from an answer.

use std::borrow::Cow;
use std::time::Duration;

use super::calls::{Call, Learn, Sent, TransactionLearn};
use super::{Closing, LinkNo, Output, Phase, Session, Ticket, Tried};
use crate::model::PipelineId;
use crate::policy::health::CallClass;
use crate::policy::tally::Change;
use crate::protocol::answer;
use crate::protocol::json::Text;
use crate::protocol::media::{Element, MediaCall};
use crate::protocol::object::newref;
use crate::protocol::reply::{FromBackend, Reply, parse_reply, peek};
use crate::protocol::request::Method;
use crate::protocol::transaction::parse_done;

/// What a backend says that has no descriptors or threads left.
const NOT_ENOUGH_RESOURCES: i32 = 40009;

impl Session {
    pub(super) fn on_backend(&mut self, link: LinkNo, text: &str, out: &mut Vec<Output>) {
        let id = match peek(text) {
            FromBackend::Event => return out.push(Output::RelayToClient),
            FromBackend::Empty => return out.push(Output::Stray),
            FromBackend::Reply(id) => id,
        };
        let from = &mut self.links[link.0];
        let Phase::Open { is_tied, calls, .. } = &mut from.phase else {
            // While it settles only the edge's own call was sent.
            if !from.is_settling {
                out.push(Output::Stray);
            }
            return;
        };
        let Some(sent) = calls.take(id) else {
            return out.push(Output::Stray);
        };
        let took = sent.took(self.now);
        let Sent { call, is_expired, .. } = sent;
        if is_expired {
            return self.on_late(link, &call, text, out);
        }
        if *is_tied && matches!(call.learn, Learn::Nothing) {
            return out.push(Output::RelayToClient);
        }
        let reply = parse_reply(text);
        *is_tied |= reply.names_session;
        self.is_told |= reply.names_session;
        let before = out.len();
        out.extend(tried(&call.learn, &reply, took).map(|tried| Output::Tried(link, tried)));
        match call.learn {
            Learn::Own => return self.on_tied(link, out),
            Learn::Nothing => {}
            Learn::Created(ticket) => self.learn_created(link, ticket, reply.value, out),
            Learn::Released(pipeline) => {
                if reply.is_success {
                    self.learn_released(pipeline, out);
                }
            }
            Learn::Media(call) => {
                if reply.is_success {
                    self.learn_media(&call, reply.value, &|_| None, out);
                }
            }
            Learn::Transaction(learn) => self.learn_transaction(link, &learn, &reply, out),
            Learn::Subscribed(object) => self.learn_subscribed(&object, reply.value),
            Learn::Blocking(ticket) => out.push(Output::Unblocked(ticket, true)),
            Learn::Closed(key, _) => return self.on_closed(key, link, out),
        }
        // Events that came before the answer follow it: if a pin fails, the answer is taken back, and
        // whoever does that must know which message it is.
        let is_event = |output: &mut Output| matches!(output, Output::Event(_));
        let events: Vec<Output> = out.extract_if(before.., is_event).collect();
        out.push(Output::RelayToClient);
        out.extend(events);
    }

    /// An answer whose call was given up: what it says of pipelines that are gone, of media and of
    /// subscriptions, is true all the same.
    fn on_late(&mut self, link: LinkNo, call: &Call, text: &str, out: &mut Vec<Output>) {
        let reply = parse_reply(text);
        if let Phase::Open { is_tied, .. } = &mut self.links[link.0].phase {
            *is_tied |= reply.names_session;
        }
        match &call.learn {
            Learn::Released(pipeline) if reply.is_success => self.learn_released(*pipeline, out),
            Learn::Media(call) if reply.is_success => {
                self.learn_media(call, reply.value, &|_| None, out);
            }
            Learn::Transaction(learn) => self.learn_transaction(link, learn, &reply, out),
            Learn::Subscribed(object) => self.learn_subscribed(object, reply.value),
            Learn::Nothing
            | Learn::Created(_)
            | Learn::Released(_)
            | Learn::Media(_)
            | Learn::Blocking(_)
            | Learn::Closed(..)
            | Learn::Own => {}
        }
        out.push(Output::Late);
    }

    /// `value` is the raw value of the answer to a `create`; none if that failed. A pipeline that is
    /// known was not made now: Kurento repeats its answer to an id used again within 20 seconds.
    fn learn_created(
        &mut self,
        link: LinkNo,
        ticket: Ticket,
        value: Option<&str>,
        out: &mut Vec<Output>,
    ) {
        let object = value.and_then(Text::of).map(Text::decode);
        match object.and_then(|object| PipelineId::parse(&object)) {
            Some(pipeline) if !self.pipelines.contains_key(&pipeline) => {
                out.push(Output::Created(ticket, pipeline));
                self.know(pipeline, link, out);
            }
            Some(_) | None => out.push(Output::NotCreated(ticket)),
        }
    }

    /// A call that changes media has succeeded, with this raw value. `result` is that of an operation of
    /// the same transaction, for references.
    fn learn_media<'a>(
        &mut self,
        call: &MediaCall,
        value: Option<&str>,
        result: &impl Fn(usize) -> Option<&'a str>,
        out: &mut Vec<Output>,
    ) {
        let change = match call {
            MediaCall::Create => {
                let made = value.and_then(Text::of).map(Text::decode);
                let made = made.and_then(|object| Element::parse(&object));
                made.map(|(pipeline, element)| (pipeline, Change::Created(element)))
            }
            MediaCall::Release(object) => {
                let Some(object) = resolve(object, result) else { return };
                // One that is made and released in the same transaction.
                if let Some(pipeline) = PipelineId::parse(&object).filter(|_| !object.contains('/'))
                {
                    return self.learn_released(pipeline, out);
                }
                let gone = Element::parse(&object);
                gone.map(|(pipeline, element)| (pipeline, Change::Released(element)))
            }
            MediaCall::Connect(source, sink, media) => between(source, sink, result)
                .map(|(pipeline, from, to)| (pipeline, Change::Connected(from, to, *media))),
            MediaCall::Disconnect(source, sink, media) => between(source, sink, result)
                .map(|(pipeline, from, to)| (pipeline, Change::Disconnected(from, to, *media))),
        };
        out.extend(
            change.map(|(pipeline, change)| Output::MediaChanged(pipeline, Box::new(change))),
        );
    }

    fn learn_released(&mut self, pipeline: PipelineId, out: &mut Vec<Output>) {
        self.pipelines.remove(&pipeline);
        self.manager.on_released(pipeline);
        out.push(Output::Released(pipeline));
    }

    /// `id` is the raw value of the answer to a `subscribe`; none if that failed.
    fn learn_subscribed(&mut self, object: &str, id: Option<&str>) {
        if let Some(id) = id.and_then(Text::of) {
            self.subscriptions.on_made(&id.decode(), object);
        }
    }

    /// A transaction stops at its first failing operation; those before it have happened.
    fn learn_transaction(
        &mut self,
        link: LinkNo,
        learn: &TransactionLearn,
        reply: &Reply<'_>,
        out: &mut Vec<Output>,
    ) {
        let done = reply.value.map(parse_done).unwrap_or_default();
        // In the order of the operations, as they are answered.
        let at = |index| done.binary_search_by_key(&index, |done| done.index).ok();
        let value = |index| at(index).and_then(|at| done[at].value);
        for &(index, ticket) in &learn.creates {
            self.learn_created(link, ticket, value(index), out);
        }
        for (index, call) in &learn.media {
            if at(*index).is_some() {
                self.learn_media(call, value(*index), &value, out);
            }
        }
        for &(index, pipeline) in &learn.releases {
            if at(index).is_some() {
                self.learn_released(pipeline, out);
            }
        }
        for (index, object) in &learn.subscribes {
            if let Some(object) = resolve(object, &value) {
                self.learn_subscribed(&object, value(*index));
            }
        }
        out.extend(learn.blocks.map(|ticket| Output::Unblocked(ticket, true)));
    }

    /// The backend of `link` has closed the session. With that goes the use of the pipelines there,
    /// with `release` the pipelines themselves; not of those made elsewhere since the client asked.
    pub(super) fn on_closed(&mut self, key: Ticket, link: LinkNo, out: &mut Vec<Output>) {
        let Some(closing) = self.closings.get_mut(&key) else { return };
        closing.unanswered -= 1;
        let releases = closing.releases;
        self.links[link.0].is_resumed = false;
        self.pipelines.retain(|pipeline, at| {
            if *at == link {
                out.push(match releases {
                    true => Output::Released(*pipeline),
                    false => Output::Unheld(*pipeline),
                });
            }
            *at != link
        });
        self.answer_closed(key, out);
    }

    /// Tells the client, when all backends have closed the session.
    pub(super) fn answer_closed(&mut self, key: Ticket, out: &mut Vec<Output>) {
        if self.closings.get(&key).is_some_and(|closing| closing.unanswered == 0) {
            let Closing { call, .. } = self.closings.remove(&key).expect("it was found");
            out.push(Output::Answer(Method::CloseSession, answer::closed(call.as_str())));
        }
    }
}

/// What a backend can do, from its answer to a call that makes one thing. Operations of transactions
/// do not count: their times are those of what goes with them.
fn tried(learn: &Learn, reply: &Reply<'_>, took: Option<Duration>) -> Option<Tried> {
    let class = match learn {
        Learn::Created(_) => CallClass::Pipeline,
        Learn::Media(call) if matches!(**call, MediaCall::Create) => CallClass::Element,
        Learn::Nothing
        | Learn::Released(_)
        | Learn::Media(_)
        | Learn::Transaction(_)
        | Learn::Subscribed(_)
        | Learn::Blocking(_)
        | Learn::Closed(..)
        | Learn::Own => return None,
    };
    match reply.error {
        Some(NOT_ENOUGH_RESOURCES) => Some(Tried::Refused),
        Some(_) => None,
        None => took.filter(|_| reply.is_success).map(|took| Tried::Made(class, took)),
    }
}

/// An object that a transaction names: itself, or the result of the operation it refers to.
fn resolve<'o, 'r: 'o>(
    object: &'o str,
    result: &impl Fn(usize) -> Option<&'r str>,
) -> Option<Cow<'o, str>> {
    match newref(object) {
        Some(index) => result(index).and_then(Text::of).map(Text::decode),
        None => Some(object.into()),
    }
}

/// The pipeline of two objects, and the elements they are.
fn between<'r>(
    source: &str,
    sink: &str,
    result: &impl Fn(usize) -> Option<&'r str>,
) -> Option<(PipelineId, Element, Element)> {
    Change::between(&resolve(source, result)?, &resolve(sink, result)?)
}
