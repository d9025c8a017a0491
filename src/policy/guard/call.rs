//! A call as the guard sees it: what its texts mean, of which type its object is.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::uri::Uri;
use crate::protocol::json::{JsonError, Reader, Text};
use crate::protocol::object::{ObjectType, newref};
use crate::protocol::request::{Method, Params};

/// One call, alone or in a transaction.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) params: &'a Params<'a>,
    /// In a transaction, what the operations before it make: the type of each `create`.
    made: Option<&'a [Option<String>]>,
    uri: OnceCell<Given>,
}

/// What a text in the parameters stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Itself.
    Text,
    /// An object of this type.
    Object(ObjectType<'a>),
    /// The result of an operation that makes no object: it may be anything.
    Result,
}

/// What a call gives as its `uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    /// Something that two readers might take differently.
    Unreadable,
    Uri(Uri),
}

impl<'a> Call<'a> {
    /// A call of its own.
    pub(super) const fn alone(method: Method, params: &'a Params<'a>) -> Self {
        Self { method, params, made: None, uri: OnceCell::new() }
    }

    /// An operation of a transaction.
    pub(super) const fn operation(
        method: Method,
        params: &'a Params<'a>,
        made: &'a [Option<String>],
    ) -> Self {
        Self { method, params, made: Some(made), uri: OnceCell::new() }
    }

    /// Whether it is no part of a transaction.
    pub(super) const fn is_alone(&self) -> bool {
        self.made.is_none()
    }

    /// What `text` stands for.
    pub(super) fn meaning<'b>(&'b self, text: &'b str) -> Meaning<'b> {
        match newref(text).map(|index| self.made?.get(index)) {
            Some(Some(Some(kind))) => Meaning::Object(ObjectType::parse(kind)),
            Some(Some(None)) => Meaning::Result,
            // There is no such result yet: a server refuses it.
            Some(None) => Meaning::Text,
            None => ObjectType::of(text).map_or(Meaning::Text, Meaning::Object),
        }
    }

    /// Whether `text` is replaced by the result of an operation before.
    pub(super) fn is_replaced(&self, text: &str) -> bool {
        self.made.is_some_and(|made| newref(text).is_some_and(|index| index < made.len()))
    }

    /// Calls `decide` with the type that is created, or that the object has.
    pub(super) fn has_kind(&self, decide: impl FnOnce(ObjectType<'_>) -> bool) -> bool {
        if self.method == Method::Create {
            let kind = text_of(self.params.kind);
            return kind.is_some_and(|kind| decide(ObjectType::parse(&kind)));
        }
        let Some(object) = text_of(self.params.object) else { return false };
        match self.meaning(&object) {
            Meaning::Object(kind) => decide(kind),
            Meaning::Text | Meaning::Result => false,
        }
    }

    /// The operation that is invoked, or the event that is subscribed to.
    pub(super) fn name(&self) -> Option<Text<'a>> {
        match self.method {
            Method::Invoke => self.params.operation,
            Method::Subscribe => self.params.kind,
            Method::Connect
            | Method::Ping
            | Method::Create
            | Method::Describe
            | Method::Unsubscribe
            | Method::Release
            | Method::Ref
            | Method::Unref
            | Method::KeepAlive
            | Method::CloseSession
            | Method::Transaction => None,
        }
        .and_then(Text::of)
    }

    /// The parameter `uri`.
    pub(super) fn uri(&self) -> &Given {
        self.uri.get_or_init(|| self.read_uri().unwrap_or(Given::Unreadable))
    }

    fn read_uri(&self) -> Result<Given, JsonError> {
        let mut given = Given::Nothing;
        let Some(members) = self.arguments().filter(|raw| raw.starts_with('{')) else {
            return Ok(given);
        };
        Reader::new(members, usize::MAX).object(|key, reader| {
            let value = reader.value()?;
            if key.is("uri") {
                // One that stands there twice is read by the server in its own way.
                let text = text_of(Some(value)).filter(|_| given == Given::Nothing);
                let text = text.filter(|text| !self.is_replaced(text));
                let uri = text.and_then(|text| Uri::read(&text));
                given = uri.map_or(Given::Unreadable, Given::Uri);
            }
            Ok::<_, JsonError>(())
        })?;
        Ok(given)
    }

    /// The raw parameters of what is created or invoked.
    pub(super) fn arguments(&self) -> Option<&'a str> {
        match self.method {
            Method::Create => self.params.constructor_params,
            Method::Invoke => self.params.operation_params,
            Method::Connect
            | Method::Ping
            | Method::Describe
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Release
            | Method::Ref
            | Method::Unref
            | Method::KeepAlive
            | Method::CloseSession
            | Method::Transaction => None,
        }
    }
}

/// The string that `raw` is.
pub(super) fn text_of(raw: Option<&str>) -> Option<Cow<'_, str>> {
    raw.and_then(Text::of).map(Text::decode)
}
