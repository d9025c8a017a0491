//! `POST` and `DELETE` requests: what operators order.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::admin::http::{Answer, error, json};
use crate::admin::orders::{Order, OrderError, Orders};
use crate::model::BackendId;
use crate::settings::{BackendSettings, parse_backend};

use super::query;

/// Longest body of a request, in bytes.
const BODY_MAX_BYTES: usize = 64 << 10;

/// Where a process asks to take over.
pub(crate) const TAKEOVER_PATH: &str = "/api/v1/takeover";

/// What a path lets be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderRoute<'a> {
    /// Drain the backend whose id stands in the path.
    Drain(&'a str),
    /// Give it meetings again.
    Undrain(&'a str),
    /// Read the config again.
    Reload,
    /// Add a backend.
    AddBackend,
    /// Remove the backend whose id stands in the path.
    RemoveBackend(&'a str),
    /// Hand over to another process.
    TakeOver,
}

const BACKENDS_PATH: &str = "/api/v1/backends";

const RELOAD_PATH: &str = "/api/v1/reload";

impl<'a> OrderRoute<'a> {
    /// The order of a request with `method` for `path`; `None` if there is none.
    pub(super) fn of(method: &Method, path: &'a str) -> Option<Self> {
        if path == RELOAD_PATH {
            return (method == Method::POST).then_some(Self::Reload);
        }
        if path == TAKEOVER_PATH {
            return (method == Method::POST).then_some(Self::TakeOver);
        }
        let rest = path.strip_prefix(BACKENDS_PATH)?;
        if rest.is_empty() {
            return (method == Method::POST).then_some(Self::AddBackend);
        }
        match rest.strip_prefix('/')?.split_once('/') {
            Some((id, "drain")) if method == Method::POST => Some(Self::Drain(id)),
            Some((id, "undrain")) if method == Method::POST => Some(Self::Undrain(id)),
            None if method == Method::DELETE => rest.strip_prefix('/').map(Self::RemoveBackend),
            Some(_) | None => None,
        }
    }

    /// The order with the body of its request.
    fn read(self, body: &[u8]) -> Result<Order, OrderError> {
        match self {
            Self::Drain(id) => Ok(Order::Drain(backend(id)?, of_json(body)?)),
            Self::Undrain(id) => {
                of_json::<Nothing>(body)?;
                Ok(Order::Undrain(backend(id)?))
            }
            Self::Reload => {
                of_json::<Nothing>(body)?;
                Ok(Order::Reload)
            }
            Self::AddBackend => Ok(Order::AddBackend(Box::new(described(body)?))),
            Self::RemoveBackend(id) => {
                of_json::<Nothing>(body)?;
                Ok(Order::RemoveBackend(backend(id)?))
            }
            Self::TakeOver => {
                of_json::<Nothing>(body)?;
                Ok(Order::TakeOver)
            }
        }
    }
}

/// Carries out what `request` orders.
pub(super) async fn answer<O: Orders, B: Body<Data = Bytes>>(
    orders: &O,
    route: OrderRoute<'_>,
    body: B,
) -> Answer
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(body) = Limited::new(body, BODY_MAX_BYTES).collect().await else {
        let reason = format!("the body is cut off, or longer than {BODY_MAX_BYTES} bytes");
        return error(StatusCode::PAYLOAD_TOO_LARGE, &reason);
    };
    let ordered = match route.read(&body.to_bytes()) {
        Ok(order) => orders.order(order).await,
        Err(reason) => Err(reason),
    };
    match ordered {
        Ok(told) => json(StatusCode::OK, &told),
        Err(reason) => error(status(&reason), &reason.to_string()),
    }
}

fn status(reason: &OrderError) -> StatusCode {
    match reason {
        OrderError::Invalid(_) => StatusCode::BAD_REQUEST,
        OrderError::Unknown(_) => StatusCode::NOT_FOUND,
        OrderError::Refused(_) => StatusCode::CONFLICT,
        OrderError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A body that says nothing.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

/// Reads a body; an empty one is an empty object.
fn of_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, OrderError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| OrderError::Invalid(format!("the body: {error}")))
}

/// Reads a backend: an object with the keys of `[[backends]]`.
fn described(body: &[u8]) -> Result<BackendSettings, OrderError> {
    let text = str::from_utf8(body).map_err(|_| OrderError::Invalid("not UTF-8".to_owned()))?;
    parse_backend(text).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        OrderError::Invalid(mistakes.join("; "))
    })
}

fn backend(encoded: &str) -> Result<BackendId, OrderError> {
    let id = query::decode("the backend", encoded).map_err(OrderError::Invalid)?;
    BackendId::parse(&id).map_err(|_| OrderError::Unknown("no such backend".to_owned()))
}

/// Requests for what `path` lets be ordered, by another method, are answered with those allowed.
pub(super) fn is_order_path(path: &str) -> bool {
    OrderRoute::of(&Method::POST, path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::orders::{DrainOrder, Then};

    #[test]
    fn an_order_is_a_path_and_a_body() {
        let read =
            |path, body: &str| OrderRoute::of(&Method::POST, path).unwrap().read(body.as_bytes());
        let a = || BackendId::parse("kms-a").unwrap();
        let path = "/api/v1/backends/kms-a/drain";
        assert_eq!(read(path, ""), Ok(Order::Drain(a(), DrainOrder::default())));
        let how = DrainOrder { deadline_ms: Some(5), then: Then::Remove };
        let body = r#"{"deadline_ms":5,"then":"remove"}"#;
        assert_eq!(read(path, body), Ok(Order::Drain(a(), how)));
        assert_eq!(read("/api/v1/backends/kms-a/undrain", "{}"), Ok(Order::Undrain(a())));
        assert_eq!(read("/api/v1/reload", ""), Ok(Order::Reload));
        assert!(matches!(read("/api/v1/reload", r#"{"x":1}"#), Err(OrderError::Invalid(_))));
        assert_eq!(read("/api/v1/takeover", ""), Ok(Order::TakeOver));
        for body in ["[", r#"{"deadline":5}"#, r#"{"then":"leave"}"#, r#"{"deadline_ms":-1}"#] {
            assert!(matches!(read(path, body), Err(OrderError::Invalid(_))), "{body}");
        }
        let unknown = read("/api/v1/backends/%20/drain", "");
        assert!(matches!(unknown, Err(OrderError::Unknown(_))));
        for path in ["/api/v1/backend", "/api/v1/backends/a/explode", "/api/v1/backends/a"] {
            assert_eq!(OrderRoute::of(&Method::POST, path), None, "{path}");
        }
        assert_eq!(OrderRoute::of(&Method::GET, path), None);
        let path = "/api/v1/backends";
        let body = r#"{"id": "kms-a", "url": "ws://10.0.0.5", "capacity": 90}"#;
        let Ok(Order::AddBackend(added)) = read(path, body) else { panic!("no backend") };
        assert_eq!((added.id, added.capacity.0), (a(), 90));
        for (body, told) in [
            ("", "EOF"),
            (r#"{"id": "kms-a"}"#, "<backend>:1:1: url: found nothing"),
            (r#"{"id": "a", "url": "ws://b", "x": 1}"#, "x: found an unknown key"),
        ] {
            let refused = read(path, body).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
        let removed = OrderRoute::of(&Method::DELETE, "/api/v1/backends/kms-a").unwrap();
        assert_eq!(removed.read(b""), Ok(Order::RemoveBackend(a())));
    }
}
