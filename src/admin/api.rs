//! Requests to answers.

mod decisions;
mod orders;
mod query;

pub(crate) use self::orders::TAKEOVER_PATH;
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::model::MeetingId;
use crate::telemetry::METRICS_CONTENT_TYPE;

use orders::OrderRoute;

use super::guard;
use super::http::{Answer, error, json, with_type};
use super::orders::Orders;
use super::server::Admin;
use super::views::{BackendRows, MeetingRows, Unavailable, Views};

/// Meetings on a page unless the request says otherwise.
const PAGE_LEN: usize = 100;

/// Meetings on a page at most; asking for more is an error.
const PAGE_MAX_LEN: usize = 1_000;

/// Decisions in an answer unless the request says otherwise.
const DECISIONS_LEN: usize = 20;

/// Decisions in an answer at most; asking for more is an error. Each is worked out for the answer.
const DECISIONS_MAX_LEN: usize = 200;

const MEETINGS_PATH: &str = "/api/v1/meetings";

const DECISIONS_PATH: &str = "/api/v1/decisions";

/// Answers `request`; never fails, an error is an answer.
pub(super) async fn answer<V, B>(admin: &Admin<V>, request: Request<B>) -> Answer
where
    V: Views + Orders,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if let Err(refusal) = guard::check(&request) {
        return error(StatusCode::FORBIDDEN, &refusal.to_string());
    }
    let (head, body) = request.into_parts();
    if let Some(route) = OrderRoute::of(&head.method, head.uri.path()) {
        return orders::answer(&admin.views, route, body).await;
    }
    show(admin, &Request::from_parts(head, body)).await
}

/// Answers a request that changes nothing.
async fn show<V: Views, B: Body>(admin: &Admin<V>, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    let Some(route) = Route::of(path) else {
        return match orders::is_order_path(path) {
            true => not_allowed("only POST is allowed", "POST"),
            false => error(StatusCode::NOT_FOUND, &format!("no such path: {path}")),
        };
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed("only GET and HEAD are allowed", "GET, HEAD");
    }
    if !request.body().is_end_stream() {
        return error(StatusCode::BAD_REQUEST, "requests have no body here");
    }
    match route {
        Route::Health => text(StatusCode::OK, "ok\n"),
        Route::Readiness => match admin.readiness.check() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        },
        Route::Metrics => {
            with_type(StatusCode::OK, METRICS_CONTENT_TYPE, admin.metrics.encode().into())
        }
        Route::Backends => json(StatusCode::OK, &BackendRows { backends: admin.views.backends() }),
        Route::Meetings => meetings(admin, request.uri().query().unwrap_or_default()).await,
        Route::Meeting(id) => meeting(admin, id).await,
        Route::Decisions => decisions::list(admin, request.uri().query().unwrap_or_default()),
        Route::Decision(id) => decisions::row(admin, id),
        Route::DecisionState(id) => decisions::state(admin, id),
        Route::State => json(StatusCode::OK, &admin.views.scene()),
    }
}

fn not_allowed(reason: &str, allowed: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, reason);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Health,
    Readiness,
    Metrics,
    Backends,
    Meetings,
    /// One meeting; its id as it stands in the path.
    Meeting(&'a str),
    Decisions,
    /// One decision; its id as it stands in the path.
    Decision(&'a str),
    /// What it depended on.
    DecisionState(&'a str),
    /// What one would depend on now.
    State,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Readiness),
            "/metrics" => Some(Self::Metrics),
            "/api/v1/backends" => Some(Self::Backends),
            MEETINGS_PATH => Some(Self::Meetings),
            DECISIONS_PATH => Some(Self::Decisions),
            "/api/v1/state" => Some(Self::State),
            _ => Self::of_one(path),
        }
    }

    fn of_one(path: &'a str) -> Option<Self> {
        let is_id = |id: &&str| !id.is_empty() && !id.contains('/');
        let below = |start| path.strip_prefix(start)?.strip_prefix('/');
        if let Some(id) = below(MEETINGS_PATH).filter(is_id) {
            return Some(Self::Meeting(id));
        }
        let rest = below(DECISIONS_PATH)?;
        match rest.strip_suffix("/state") {
            Some(id) => Some(id).filter(is_id).map(Self::DecisionState),
            None => Some(rest).filter(is_id).map(Self::Decision),
        }
    }
}

async fn meetings<V: Views>(admin: &Admin<V>, query: &str) -> Answer {
    let page = match Page::parse(query) {
        Ok(page) => page,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &reason),
    };
    // One more than asked for tells whether there is another page.
    let mut meetings = match admin.views.meetings(page.after.as_deref(), page.limit + 1).await {
        Ok(meetings) => meetings,
        Err(reason) => return unavailable(&reason),
    };
    let has_next = meetings.len() > page.limit;
    meetings.truncate(page.limit);
    let next = meetings.last().filter(|_| has_next).map(|last| last.id.clone());
    json(StatusCode::OK, &MeetingRows { meetings, next })
}

async fn meeting<V: Views>(admin: &Admin<V>, encoded: &str) -> Answer {
    let id = query::decode("the meeting", encoded);
    let parse =
        |text: String| MeetingId::parse(&text).map_err(|reason| format!("the meeting {reason}"));
    let id = match id.and_then(parse) {
        Ok(id) => id,
        Err(reason) => return error(StatusCode::BAD_REQUEST, &reason),
    };
    match admin.views.meeting(&id).await {
        Ok(Some(row)) => json(StatusCode::OK, &row),
        Ok(None) => error(StatusCode::NOT_FOUND, "no such meeting"),
        Err(reason) => unavailable(&reason),
    }
}

/// Which meetings are asked for.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// Reads `after=TEXT&limit=NUMBER`, both optional, percent-encoded once.
    fn parse(query: &str) -> Result<Self, String> {
        let mut page = Self { after: None, limit: PAGE_LEN };
        for (name, value) in query::pairs(query) {
            match name {
                "after" => page.after = Some(query::decode(name, value)?),
                "limit" => page.limit = query::limit(value, PAGE_MAX_LEN)?,
                _ => return Err(format!("unknown parameter {name:?}: expected after or limit")),
            }
        }
        Ok(page)
    }
}

fn unavailable(reason: &Unavailable) -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, &reason.to_string())
}

fn text(status: StatusCode, text: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_route_or_nothing() {
        assert_eq!(Route::of("/api/v1/meetings"), Some(Route::Meetings));
        assert_eq!(Route::of("/api/v1/meetings/a%2Fb"), Some(Route::Meeting("a%2Fb")));
        let of = |path| Route::of(path).unwrap();
        assert_eq!(of("/api/v1/decisions"), Route::Decisions);
        assert_eq!(of("/api/v1/decisions/7"), Route::Decision("7"));
        assert_eq!(of("/api/v1/decisions/7/state"), Route::DecisionState("7"));
        for path in ["/api/v1/decisions/", "/api/v1/decisions//state", "/api/v1/decisions/7/x"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
        for path in ["/", "/healthz/", "/api/v1/meetings/", "/api/v1/meetings/a/b", "/api/v2/x"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_page_has_bounds() {
        let page = |after: Option<&str>, limit| Ok(Page { after: after.map(str::to_owned), limit });
        assert_eq!(Page::parse(""), page(None, 100));
        assert_eq!(Page::parse("limit=1000&after=a%26b%2525"), page(Some("a&b%25"), 1_000));
        for query in ["limit=0", "limit=1001", "limit=", "limit=-1", "page=2", "after=%ff"] {
            assert!(Page::parse(query).is_err(), "{query}");
        }
    }
}
