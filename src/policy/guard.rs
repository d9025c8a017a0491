//! The guard: what of a client's call may reach a media server.
//!
//! Three questions, in this order. Would it hurt the server (the bodyguard, always on)? Does the
//! listener's [`Policy`] allow it? Which pipelines does it refer to, so that the session can see
//! whether it may touch them ([`Isolation`])? A transaction is judged operation by operation, and
//! refused as a whole.
//!
//! Inside a transaction any text can be replaced by the result of an earlier operation. The result
//! of a `create` has a known type. Any other result may be whatever the client has stored before, as
//! a name or a tag: it must not choose an object, a type or an operation.

mod call;
mod pattern;
mod policy;
mod uri;

use std::borrow::Cow;

use self::call::{Call, Meaning, text_of};
pub use self::policy::{Policy, PolicyError};
use super::access::Isolation;
use crate::model::Labels;
use crate::model::PipelineId;
use crate::protocol::error::Failure;
use crate::protocol::json::{JsonError, Reader, Text};
use crate::protocol::loss::OnLoss;
use crate::protocol::object::ObjectType;
use crate::protocol::request::{Method, Params, Request};
use crate::protocol::transaction::{Operation, read_operations};

/// What holds for the clients of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How far they are kept apart.
    pub isolation: Isolation,
    /// What they may ask.
    pub policy: Policy,
    /// Whether they may say where people are.
    pub trusts_client_place: bool,
    /// Labels that the backends of their meetings must have.
    pub require: Labels,
    /// What they see when they have lost all that they had.
    pub on_loss: OnLoss,
}

/// What is to be known of a call that may go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Objects that it refers to, besides the one it is about, and all that a transaction refers to.
    /// Only collected where connections are kept apart.
    pub references: Vec<(PipelineId, Cow<'a, str>)>,
    /// Whether it blocks one of the few threads on which a server answers everybody.
    pub blocks: bool,
    /// What it does to subscriptions, in order.
    pub subscriptions: Vec<Subscription<'a>>,
}

/// What a call does to subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription<'a> {
    /// It makes one: index of the operation (0 alone), and the object.
    Made(usize, Cow<'a, str>),
    /// It ends one: the object, and the subscription's id.
    Ended(Cow<'a, str>, Cow<'a, str>),
    /// It releases the object, and with it all that is inside.
    Released(Cow<'a, str>),
}

impl Rules {
    /// Judges one call of a client.
    ///
    /// # Errors
    /// What the client is told instead: 40001 for an object of the wrong kind, 40008 for a reference
    /// that hides what it stands for, 40111 for what the policy does not allow.
    #[inline]
    pub fn judge<'a>(&self, request: &Request<'a>) -> Result<Verdict<'a>, Failure> {
        // Most of all traffic ends here: nothing in it can hurt, and no row is about it.
        if request.method == Method::Invoke
            && text_operation(&request.params).is_some_and(|at| self.policy.is_silent_on(at))
        {
            return Ok(Verdict::default());
        }
        self.judge_closely(request)
    }

    fn judge_closely<'a>(&self, request: &Request<'a>) -> Result<Verdict<'a>, Failure> {
        let mut verdict = Verdict::default();
        self.judge_call(&Call::alone(request.method, &request.params))?;
        self.note(0, (request.method, &request.params), &mut verdict)?;
        if request.method == Method::Transaction {
            self.judge_operations(request.params.operations, &mut verdict)?;
        }
        Ok(verdict)
    }

    fn judge_operations<'a>(
        &self,
        operations: Option<&'a str>,
        verdict: &mut Verdict<'a>,
    ) -> Result<(), Failure> {
        let mut made = Vec::new();
        read_operations(operations, |index, operation| {
            let judged = self.judge_operation(index, operation, (&made, verdict));
            judged.map_err(|failure| {
                let message = format!("operation {index}: {}", failure.message).into();
                Failure { message, ..failure }
            })?;
            let is_create = operation.method.and_then(Text::of).is_some_and(|m| m.is("create"));
            let kind = text_of(operation.params.kind).filter(|_| is_create);
            made.push(kind.map(Cow::into_owned));
            Ok(())
        })
    }

    fn judge_operation<'a>(
        &self,
        index: usize,
        operation: &Operation<'a>,
        (made, verdict): (&[Option<String>], &mut Verdict<'a>),
    ) -> Result<(), Failure> {
        // Without a method, or with one that is none, it is refused by the server.
        let Some(method) = operation.method.and_then(Text::of).and_then(Method::parse) else {
            return Ok(());
        };
        let params = &operation.params;
        self.judge_call(&Call::operation(method, params, made))?;
        if let Some(object) = text_of(params.object) {
            self.refer(object, verdict);
        }
        self.note(index, (method, params), verdict)
    }

    fn judge_call(&self, call: &Call<'_>) -> Result<(), Failure> {
        check_names(call)?;
        check_arguments(call)?;
        if self.policy.allows(call) {
            return Ok(());
        }
        Err(Failure::not_allowed(&in_words(call)))
    }

    /// Notes what a call that may go on refers to and takes.
    fn note<'a>(
        &self,
        index: usize,
        (method, params): (Method, &Params<'a>),
        verdict: &mut Verdict<'a>,
    ) -> Result<(), Failure> {
        match method {
            Method::Invoke => {
                if text_operation(params).is_some() {
                    return Ok(());
                }
                verdict.blocks |= is_operation(params, "stopAndWait");
                self.refer_to_all(params.operation_params, verdict)?;
            }
            Method::Create => self.refer_to_all(params.constructor_params, verdict)?,
            Method::Subscribe => {
                let object = text_of(params.object);
                let made = object.map(|object| Subscription::Made(index, object));
                verdict.subscriptions.extend(made);
            }
            Method::Unsubscribe => {
                let named = text_of(params.object).zip(text_of(params.subscription));
                let ended = named.map(|(object, id)| Subscription::Ended(object, id));
                verdict.subscriptions.extend(ended);
            }
            Method::Release => {
                let object = text_of(params.object);
                verdict.subscriptions.extend(object.map(Subscription::Released));
            }
            Method::Connect
            | Method::Ping
            | Method::Describe
            | Method::Ref
            | Method::Unref
            | Method::KeepAlive
            | Method::CloseSession
            | Method::Transaction => {}
        }
        Ok(())
    }

    fn refer_to_all<'a>(
        &self,
        raw: Option<&'a str>,
        verdict: &mut Verdict<'a>,
    ) -> Result<(), Failure> {
        if self.isolation == Isolation::Open {
            return Ok(());
        }
        each_text(raw, |text| {
            self.refer(text, verdict);
            Ok(())
        })
    }

    fn refer<'a>(&self, object: Cow<'a, str>, verdict: &mut Verdict<'a>) {
        if self.isolation == Isolation::Open {
            return;
        }
        if let Some(pipeline) = PipelineId::parse(&object)
            && verdict.references.iter().all(|(known, _)| *known != pipeline)
        {
            verdict.references.push((pipeline, object));
        }
    }
}

/// Object, type and operation must be what they seem to be.
fn check_names(call: &Call<'_>) -> Result<(), Failure> {
    let Params { object, kind, operation, .. } = call.params;
    // Most calls are no part of a transaction.
    if call.is_alone() {
        return Ok(());
    }
    if text_of(*object).is_some_and(|text| call.meaning(&text) == Meaning::Result) {
        return Err(hidden("'object'"));
    }
    for (name, raw) in [("'type'", kind), ("'operation'", operation)] {
        if text_of(*raw).is_some_and(|text| call.is_replaced(&text)) {
            return Err(hidden(name));
        }
    }
    Ok(())
}

/// What is created or invoked must not be given what hurts the server.
fn check_arguments(call: &Call<'_>) -> Result<(), Failure> {
    if call.method == Method::Invoke {
        if text_operation(call.params).is_some() {
            return Ok(());
        }
        // The answer would come when the client wants, and block a thread until then.
        if !call.is_alone() && is_operation(call.params, "getUsedCpu") {
            return Err(Failure::malformed_transaction(
                "getUsedCpu cannot stand in a transaction; send it as a call of its own",
            ));
        }
    }
    let wants = Wants::of(call);
    if wants == Wants::Anything && call.is_alone() {
        return Ok(());
    }
    each_text(call.arguments(), |text| match call.meaning(&text) {
        Meaning::Text => Ok(()),
        Meaning::Result => Err(hidden("a parameter")),
        Meaning::Object(kind) if wants.takes(kind) => Ok(()),
        Meaning::Object(kind) => Err(Failure::bad_argument(format!(
            "a {} was given where a {} is wanted",
            kind.name,
            wants.word()
        ))),
    })
}

/// Which objects may be named in the parameters of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Anything,
    /// `connect` to what is no element ends a real server. Source: Kurento protocol notes, section 5.
    Elements,
    /// A hub's operations take its ports.
    Ports,
}

impl Wants {
    fn of(call: &Call<'_>) -> Self {
        if call.method != Method::Invoke {
            Self::Anything
        } else if call.has_kind(|kind| kind.is_hub()) {
            Self::Ports
        } else if is_operation(call.params, "connect") || is_operation(call.params, "disconnect") {
            Self::Elements
        } else {
            Self::Anything
        }
    }

    fn takes(self, kind: ObjectType<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::Elements => kind.may_be_element(),
            Self::Ports => kind.is_kurento("HubPort"),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Anything => "MediaObject",
            Self::Elements => "MediaElement",
            Self::Ports => "HubPort",
        }
    }
}

/// Operations whose parameters are plain text, numbers and candidates, never objects. A client may
/// store in them what it likes, the id of an object too. The first is most of all traffic.
const TEXT_OPERATIONS: [&str; 9] = [
    "addIceCandidate",
    "processOffer",
    "processAnswer",
    "generateOffer",
    "gatherCandidates",
    "addTag",
    "getTag",
    "removeTag",
    "setName",
];

/// Which of [`TEXT_OPERATIONS`] is invoked; in escapes it is none of them.
fn text_operation(params: &Params<'_>) -> Option<usize> {
    let name = params.operation?.strip_prefix('"')?.strip_suffix('"')?;
    TEXT_OPERATIONS.iter().position(|operation| *operation == name)
}

fn is_operation(params: &Params<'_>, name: &str) -> bool {
    params.operation.and_then(Text::of).is_some_and(|operation| operation.is(name))
}

fn each_text<'a>(
    raw: Option<&'a str>,
    mut on_text: impl FnMut(Cow<'a, str>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(raw) = raw else { return Ok(()) };
    Reader::new(raw, usize::MAX)
        .texts(&mut |text| on_text(text.decode()).map_err(Stop::Failure))
        .map_err(|stop| match stop {
            Stop::Failure(failure) => failure,
            Stop::Json(error) => Failure::malformed(&error.to_string()),
        })
}

/// Why reading texts ended early.
enum Stop {
    Failure(Failure),
    Json(JsonError),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

fn hidden(what: &str) -> Failure {
    Failure::malformed_transaction(format!(
        "{what} may refer to the result of a create only; send it as a call of its own"
    ))
}

/// The call in the words of a policy row.
fn in_words(call: &Call<'_>) -> String {
    let mut words = call.method.name().to_owned();
    call.has_kind(|kind| {
        words.push(' ');
        words.push_str(kind.name);
        true
    });
    if let Some(name) = call.name() {
        words.push(' ');
        words.push_str(&name.decode());
    }
    words
}

#[cfg(test)]
mod tests;
