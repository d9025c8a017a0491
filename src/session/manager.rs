//! The server manager as one for the whole fleet: what a call of it is, and who gets its events.
//!
//! A call that only what all sessions share can answer becomes [`Output::Manager`]. No call of a
//! client makes a backend measure, list or subscribe anything: that would block one of its few I/O
//! threads, stop its garbage collection, or tell of one backend only. What every backend would say
//! alike and the edge does not know (`getKmd`, `getMetadata`) goes to any.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Output, Session};
use crate::model::PipelineId;
use crate::policy::access::Isolation;
use crate::protocol::answer;
use crate::protocol::error::Failure;
use crate::protocol::event::{Change, ManagerEvent, ObjectEvent};
use crate::protocol::json::{JsonError, Reader, Text, quote};
use crate::protocol::request::{MANAGER, Method, Params, Request};

/// Subscriptions of one session to events of the manager. A further one is answered with 40009.
const SUBSCRIPTIONS_MAX: usize = 64;

/// Events that came before the answer which tells whose they are, and pipelines whose last events
/// may still come. At the bound the oldest is forgotten, and its event with it.
const EARLY_MAX: usize = 64;

/// What a session sees of others through the manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagerScope {
    /// The pipelines that its own connection uses, events of what is in them, and its own session.
    Own,
    /// All that is known to the edge, as on a bare server.
    #[default]
    All,
}

impl From<Isolation> for ManagerScope {
    /// A client that is kept apart from others is not told of them.
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Open => Self::All,
            Isolation::Meeting | Isolation::Session => Self::Own,
        }
    }
}

/// A call of the manager that needs what all sessions share. It is answered with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operation of the same name, with its parameters")]
pub enum ManagerCall {
    GetInfo,
    GetCpuCount,
    GetUsedCpu,
    GetUsedMemory,
    GetPipelines(ManagerScope),
    GetSessions,
    GetCreationTime,
    GetName,
    SetName(String),
    GetSendTagsInEvents,
    SetSendTagsInEvents(bool),
    GetTags,
    GetTag(String),
    AddTag(String, String),
    RemoveTag(String),
}

impl ManagerCall {
    /// Whether it changes what every client of the process sees.
    const fn is_seen_by_others(&self) -> bool {
        match self {
            Self::SetName(_)
            | Self::SetSendTagsInEvents(_)
            | Self::AddTag(..)
            | Self::RemoveTag(_) => true,
            Self::GetInfo
            | Self::GetCpuCount
            | Self::GetUsedCpu
            | Self::GetUsedMemory
            | Self::GetPipelines(_)
            | Self::GetSessions
            | Self::GetCreationTime
            | Self::GetName
            | Self::GetSendTagsInEvents
            | Self::GetTags
            | Self::GetTag(_) => false,
        }
    }
}

/// What an operation of the manager takes to be answered.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing: it has this value, JSON, on every server.
    Value(Cow<'static, str>),
    Shared(ManagerCall),
    /// Any backend.
    Backend,
}

/// A session's subscriptions to events of the manager, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    all: Vec<(String, ManagerEvent)>,
    /// The number of the last id, so that none is given twice.
    last: u64,
}

impl Subscriptions {
    /// Whether there is one to what happens to objects.
    #[must_use]
    pub fn hear_objects(&self) -> bool {
        self.all.iter().any(|(_, of)| matches!(of, ManagerEvent::Object(_)))
    }
}

/// What a session has to do with the manager.
#[derive(Debug, Default)]
pub(super) struct Manager {
    scope: ManagerScope,
    subscriptions: Subscriptions,
    /// Events about pipelines that this session may be making. Only with [`ManagerScope::Own`].
    early: VecDeque<Arc<ObjectEvent>>,
    /// Pipelines it has released a moment ago. Only with [`ManagerScope::Own`].
    released: VecDeque<PipelineId>,
    /// Pipelines that it had on a backend which was lost: their last events may still come. The same.
    lost: BTreeSet<PipelineId>,
}

impl Manager {
    /// From now on the session sees so much of others.
    pub(super) fn set_scope(&mut self, scope: ManagerScope) {
        self.scope = scope;
    }

    fn is_subscribed(&self, event: ManagerEvent) -> bool {
        self.subscriptions.all.iter().any(|(_, of)| *of == event)
    }

    /// Ends the subscriptions that `is_over` names.
    fn end(&mut self, is_over: impl Fn(&str) -> bool, out: &mut Vec<Output>) {
        let heard = self.subscriptions.hear_objects();
        self.subscriptions.all.retain(|(id, _)| !is_over(id));
        if heard && !self.subscriptions.hear_objects() {
            self.early.clear();
            self.released.clear();
            self.lost.clear();
            out.push(Output::StopListening);
        }
    }

    /// Ends all subscriptions: the session is closed, or lets go of the manager.
    pub(super) fn end_all(&mut self, out: &mut Vec<Output>) {
        self.end(|_| true, out);
    }

    /// What a later connection needs to go on with these subscriptions.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        self.subscriptions.clone()
    }

    /// The session goes on with these, whatever this connection had before.
    pub(super) fn become_(&mut self, subscriptions: Subscriptions) {
        *self = Self { scope: self.scope, subscriptions, ..Self::default() };
    }

    /// Events that came before it was known that this session makes `pipeline`, its first among them.
    pub(super) fn on_known(&mut self, pipeline: PipelineId, out: &mut Vec<Output>) {
        self.early.retain(|event| {
            let is_own = event.pipeline == Some(pipeline);
            if is_own {
                out.push(Output::Event(Arc::clone(event)));
            }
            !is_own
        });
    }

    /// Nothing is being made any more, so what came early is of others.
    pub(super) fn on_nothing_made(&mut self) {
        self.early.clear();
    }

    /// This session has lost `pipeline` with its backend; the events of that may still come. `most` are
    /// remembered.
    pub(super) fn on_lost(&mut self, pipeline: PipelineId, most: usize) {
        let hears = self.scope == ManagerScope::Own && self.subscriptions.hear_objects();
        if hears && self.lost.len() < most {
            self.lost.insert(pipeline);
        }
    }

    /// Whether `event` is about something lost. That of a pipeline is the last about it.
    fn is_of_lost(&mut self, event: &ObjectEvent, pipeline: PipelineId) -> bool {
        if event.change == Change::Destroyed && !event.object.contains('/') {
            return self.lost.remove(&pipeline);
        }
        self.lost.contains(&pipeline)
    }

    /// This session has released `pipeline`; the events of that may still come.
    pub(super) fn on_released(&mut self, pipeline: PipelineId) {
        if self.scope == ManagerScope::Own && self.subscriptions.hear_objects() {
            push_bounded(&mut self.released, pipeline);
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == EARLY_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Session {
    /// Answers a call of the manager, or says by `false` that any backend can.
    ///
    /// # Errors
    /// What its sender is to be told, as a Kurento server would.
    pub(super) fn ask_manager(
        &mut self,
        request: &Request<'_>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Failure> {
        let Request { id, method, params } = request;
        let needs_session = matches!(method, Method::Unsubscribe | Method::Ref | Method::Unref);
        if needs_session && params.session_id.is_none() && !self.is_told {
            return Err(Failure::bad_parameter("'sessionId' parameter is required"));
        }
        let text = match method {
            Method::Describe => answer::described_manager(id, &self.id),
            Method::Invoke => return self.invoke_manager(id, params, out),
            Method::Subscribe => return self.subscribe_to_manager(id, params, out).map(|()| true),
            Method::Unsubscribe => {
                let subscription = text_member(params.subscription, "subscription")?;
                self.manager.end(|known| known == subscription, out);
                answer::done(id, &self.id)
            }
            // It would end the manager subscriptions of everybody.
            Method::Release => {
                return Err(Failure::unexpected("the server manager cannot be released"));
            }
            Method::Ref => answer::done(id, &self.id),
            Method::Unref => {
                self.manager.end_all(out);
                answer::done(id, &self.id)
            }
            Method::Connect
            | Method::Ping
            | Method::Create
            | Method::KeepAlive
            | Method::CloseSession
            | Method::Transaction => unreachable!("they are about no object"),
        };
        self.is_told = true;
        out.push(Output::Answer(*method, text));
        Ok(true)
    }

    fn invoke_manager(
        &mut self,
        id: &str,
        params: &Params<'_>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Failure> {
        let operation = text_member(params.operation, "operation")?;
        let scope = self.manager.scope;
        match asked(&operation, &Arguments(params.operation_params), scope)? {
            Asked::Value(value) => {
                out.push(Output::Answer(Method::Invoke, answer::value(id, &self.id, &value)));
            }
            Asked::Shared(call) if call.is_seen_by_others() && scope == ManagerScope::Own => {
                return Err(Failure::not_allowed(&format!("invoke ServerManager {operation}")));
            }
            Asked::Shared(call) => out.push(Output::Manager(id.to_owned(), call)),
            Asked::Backend => return Ok(false),
        }
        self.is_told = true;
        Ok(true)
    }

    fn subscribe_to_manager(
        &mut self,
        id: &str,
        params: &Params<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let name = text_member(params.kind, "type")?;
        let event =
            ManagerEvent::parse(&name).ok_or_else(|| Failure::event_not_supported(&name))?;
        let subscriptions = &mut self.manager.subscriptions;
        if subscriptions.all.len() == SUBSCRIPTIONS_MAX {
            return Err(Failure::not_enough_resources(
                "this session has too many subscriptions to the server manager; end some",
            ));
        }
        subscriptions.last += 1;
        // In the form of Kurento's own. Counted, because only this session can use it.
        let subscription = format!("00000000-0000-4000-8000-{:012x}", subscriptions.last);
        let text = answer::value(id, &self.id, &quote(&subscription));
        subscriptions.all.push((subscription, event));
        self.is_told = true;
        out.push(match event {
            ManagerEvent::Object(_) => Output::Listen(text),
            ManagerEvent::Error => Output::Answer(Method::Subscribe, text),
        });
        Ok(())
    }

    pub(super) fn on_object_event(&mut self, event: &Arc<ObjectEvent>, out: &mut Vec<Output>) {
        let manager = &mut self.manager;
        if !manager.is_subscribed(ManagerEvent::Object(event.change)) {
            return;
        }
        let is_seen = match (manager.scope, event.pipeline) {
            (ManagerScope::All, _) => true,
            (ManagerScope::Own, None) => false,
            (ManagerScope::Own, Some(pipeline)) => {
                manager.is_of_lost(event, pipeline)
                    || self.pipelines.contains_key(&pipeline)
                    || manager.released.contains(&pipeline)
            }
        };
        if is_seen {
            out.push(Output::Event(Arc::clone(event)));
        } else if manager.scope == ManagerScope::Own && self.making > 0 {
            push_bounded(&mut manager.early, Arc::clone(event));
        }
    }

    pub(super) fn on_events_lost(&mut self, count: u64, out: &mut Vec<Output>) {
        if self.manager.is_subscribed(ManagerEvent::Error) {
            out.push(Output::EventsLost(count));
        }
    }
}

/// What `operation` of the manager takes to be answered.
fn asked(
    operation: &str,
    arguments: &Arguments<'_>,
    scope: ManagerScope,
) -> Result<Asked, Failure> {
    let call = match operation {
        "getId" => return Ok(Asked::Value(quote(MANAGER).into())),
        "getChildren" => return Ok(Asked::Value("[]".into())),
        "getParent" | "getMediaPipeline" => return Ok(Asked::Value("null".into())),
        "getKmd" | "getMetadata" => return Ok(Asked::Backend),
        "getInfo" => ManagerCall::GetInfo,
        "getCpuCount" => ManagerCall::GetCpuCount,
        "getUsedCpu" => {
            arguments.check_integer("interval")?;
            ManagerCall::GetUsedCpu
        }
        "getUsedMemory" => ManagerCall::GetUsedMemory,
        "getPipelines" => ManagerCall::GetPipelines(scope),
        "getSessions" => ManagerCall::GetSessions,
        "getCreationTime" => ManagerCall::GetCreationTime,
        "getName" => ManagerCall::GetName,
        "setName" => ManagerCall::SetName(arguments.text("name")?),
        "getSendTagsInEvents" => ManagerCall::GetSendTagsInEvents,
        "setSendTagsInEvents" => {
            ManagerCall::SetSendTagsInEvents(arguments.boolean("sendTagsInEvents")?)
        }
        "getTags" => ManagerCall::GetTags,
        "getTag" => ManagerCall::GetTag(arguments.text("key")?),
        "addTag" => ManagerCall::AddTag(arguments.text("key")?, arguments.text("value")?),
        "removeTag" => ManagerCall::RemoveTag(arguments.text("key")?),
        _ => {
            let count = arguments.len();
            return Err(Failure::malformed_transaction(format!(
                "Method '{operation}' with {count} parameters not found"
            )));
        }
    };
    Ok(Asked::Shared(call))
}

/// `operationParams` as it stands in the text, read as Kurento's own reader would.
struct Arguments<'a>(Option<&'a str>);

impl<'a> Arguments<'a> {
    /// The raw value of `name`, which should be `wanted`; the last of several.
    fn raw(&self, name: &str, wanted: &str) -> Result<&'a str, Failure> {
        let Some(object) = self.0.filter(|raw| raw.starts_with('{')) else {
            return Err(Failure::bad_argument("'operationParams' is required"));
        };
        let mut found = None;
        let read = Reader::new(object, usize::MAX).object(|key, reader| {
            let value = reader.value()?;
            if key.is(name) {
                found = Some(value);
            }
            Ok::<_, JsonError>(())
        });
        debug_assert!(read.is_ok(), "it was read as a part of its message");
        found.ok_or_else(|| wrong(name, wanted))
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        let wanted = "a string";
        let raw = self.raw(name, wanted)?;
        as_text(raw).map(Cow::into_owned).ok_or_else(|| wrong(name, wanted))
    }

    fn boolean(&self, name: &str) -> Result<bool, Failure> {
        let wanted = "a boolean";
        match self.raw(name, wanted)? {
            "true" => Ok(true),
            "false" | "null" => Ok(false),
            raw if is_number(raw) => Ok(raw.parse().is_ok_and(|number: f64| number != 0.0)),
            _ => Err(wrong(name, wanted)),
        }
    }

    fn check_integer(&self, name: &str) -> Result<(), Failure> {
        let wanted = "a integer";
        match self.raw(name, wanted)? {
            "true" | "false" | "null" => Ok(()),
            raw if raw.parse().is_ok_and(|number: f64| number.fract() == 0.0) => Ok(()),
            _ => Err(wrong(name, wanted)),
        }
    }

    /// How many there are, of whatever kind.
    fn len(&self) -> usize {
        let Some(raw) = self.0 else { return 0 };
        let (mut reader, mut count) = (Reader::new(raw, usize::MAX), 0);
        let mut next = |reader: &mut Reader<'_>| {
            count += 1;
            reader.value().map(drop)
        };
        let read = match reader.peek() {
            Some(b'{') => reader.object(|_, reader| next(reader)),
            Some(b'[') => reader.array(|_, reader| next(reader)),
            Some(_) | None => Ok(()),
        };
        debug_assert!(read.is_ok(), "it was read as a part of its message");
        count
    }
}

fn wrong(name: &str, wanted: &str) -> Failure {
    Failure::bad_argument(format!("'{name}' parameter should be {wanted}"))
}

/// A member of `params` that must be there, as text.
fn text_member<'a>(raw: Option<&'a str>, name: &str) -> Result<Cow<'a, str>, Failure> {
    let missing = || Failure::bad_parameter(format!("'{name}' parameter is required"));
    as_text(raw.ok_or_else(missing)?)
        .ok_or_else(|| Failure::bad_parameter(format!("'{name}' parameter should be a string")))
}

/// A raw value where text is wanted: Kurento takes numbers, booleans and null for it.
fn as_text(raw: &str) -> Option<Cow<'_, str>> {
    match Text::of(raw) {
        Some(text) => Some(text.decode()),
        None if raw == "null" => Some(Cow::Borrowed("")),
        None if raw.starts_with(['{', '[']) => None,
        None => Some(Cow::Borrowed(raw)),
    }
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests;
