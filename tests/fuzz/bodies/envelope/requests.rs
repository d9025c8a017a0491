//! Requests: `parse_request` and what is read of `params`.

use pinfold::model::{PipelineId, SessionId};
use pinfold::protocol::request::{
    Hints, Named, Params, REQUEST_ID_MAX_LEN, Said, parse_meeting, parse_participants,
    parse_request,
};

use super::members::{Members, depth, has_huge_number, is_json, is_same, string};
use super::transactions;

/// Nesting up to which requests are read here.
const DEPTH_MAX: usize = 32;

const METHODS: [&str; 13] = [
    "connect",
    "ping",
    "create",
    "invoke",
    "describe",
    "subscribe",
    "unsubscribe",
    "release",
    "ref",
    "unref",
    "keepAlive",
    "closeSession",
    "transaction",
];

/// Members of `params` that may occur once.
pub(super) const PARAMS: [&str; 10] = [
    "sessionId",
    "object",
    "type",
    "operation",
    "operationParams",
    "subscription",
    "constructorParams",
    "properties",
    "operations",
    "release",
];

/// A request as it should be read: raw id, method, raw params and their members.
type Request<'a> = (&'a str, String, Option<&'a str>, Members<'a>);

/// The id a refusal names, and the codes it may have.
type Refusal<'a> = (&'a str, &'static [i32]);

pub(super) fn check(text: &str) {
    let ours = parse_request(text, DEPTH_MAX);
    match (&ours, expected(text)) {
        (Ok(ours), Ok((id, method, raw, params))) => {
            assert!(is_same(Some(ours.id), Some(id)), "id: {} is not {id}", ours.id);
            assert_eq!(format!("{:?}", ours.method).to_lowercase(), method.to_lowercase());
            check_opening(text, &ours.params, raw, &params);
            check_params(&ours.params, &params);
            transactions::check(ours.params.operations);
        }
        (Err(ours), Err((id, codes))) => {
            assert_eq!(ours.id, id, "{text}");
            assert!(codes.contains(&ours.failure.code), "{:?}: {text}", ours.failure);
        }
        _ if has_huge_number(text) => {}
        (ours, theirs) => panic!("{ours:?}, expected {:?}: {text}", theirs.err()),
    }
}

/// What becomes of `text` by the declared rules, after `serde_json` has read it.
fn expected(text: &str) -> Result<Request<'_>, Refusal<'_>> {
    const INVALID: Refusal<'_> = ("null", &[-32600]);
    if !is_json(text) {
        // Whichever comes first: what is no JSON, or what breaks a stricter rule.
        return Err(("null", &[-32700, -32600]));
    }
    let members = Members::of(text).filter(|_| depth(text) <= DEPTH_MAX).ok_or(INVALID)?;
    let raw_params = members.last("params");
    let params = raw_params.and_then(Members::of);
    if members.repeats(&["jsonrpc", "id", "method", "params"])
        || params.as_ref().is_some_and(|params| params.repeats(&PARAMS))
        || members.last("jsonrpc").and_then(string).as_deref() != Some("2.0")
    {
        return Err(INVALID);
    }
    let is_id =
        |id: &&str| *id != "null" && !id.starts_with(['{', '[']) && id.len() <= REQUEST_ID_MAX_LEN;
    let id = members.last("id").filter(is_id).ok_or(INVALID)?;
    let method = members.last("method").and_then(string).ok_or(INVALID)?;
    if !METHODS.contains(&method.as_str()) {
        return Err((id, &[-32601]));
    }
    let may_lack = ["connect", "ping"].contains(&method.as_str());
    match (raw_params, params) {
        (None | Some("null"), _) if may_lack => Ok((id, method, None, Members::default())),
        (Some(raw), Some(params)) => Ok((id, method, Some(raw), params)),
        _ => Err((id, &[-32602])),
    }
}

/// The place where the session could be put in.
fn check_opening(text: &str, ours: &Params<'_>, raw: Option<&str>, params: &Members<'_>) {
    let found = ours.opening.map(|opening| (opening.at, opening.is_empty));
    let place = |raw: &str| raw.as_ptr() as usize - text.as_ptr() as usize + 1;
    assert_eq!(found, raw.map(|raw| (place(raw), params.0.is_empty())), "{text}");
}

/// What is read of the members of `params`.
pub(super) fn check_params(ours: &Params<'_>, theirs: &Members<'_>) {
    let found = [
        ours.session_id,
        ours.object,
        ours.kind,
        ours.operation,
        ours.operation_params,
        ours.subscription,
        ours.constructor_params,
        ours.properties,
        ours.operations,
        ours.release,
    ];
    for (name, ours) in PARAMS.iter().zip(found) {
        let theirs = theirs.last(name);
        assert!(is_same(ours, theirs), "{name}: {ours:?} is not {theirs:?}");
    }
    let text = |raw: &str| match raw.as_bytes() {
        [b'{' | b'[', ..] => None,
        b"null" => Some(String::new()),
        _ => Some(string(raw).unwrap_or_else(|| raw.to_owned())),
    };
    let object = ours.object.and_then(text);
    assert_eq!(ours.object_text().as_deref(), object.as_deref());
    let kind = theirs.last("type").and_then(string);
    let is_pipeline = matches!(kind.as_deref(), Some("MediaPipeline" | "kurento.MediaPipeline"));
    assert_eq!(ours.creates_pipeline(), is_pipeline);
    let found = ours.constructor_object().map(|(pipeline, text)| (pipeline, text.into_owned()));
    assert_eq!(found, constructor_object(theirs));
    assert_eq!(ours.hints(false).map_err(|failure| failure.code), hints(theirs));
    check_said(ours);
    check_session(ours, theirs);
}

/// Where people are changes nothing else that is read, and a place is on Earth.
fn check_said(ours: &Params<'_>) {
    let Ok(hints) = ours.hints(true) else { return };
    if let Some(Said::Place(place)) = hints.said {
        assert!(place.latitude().is_finite() && place.longitude().is_finite(), "{place:?}");
    }
    assert_eq!(ours.hints(false), Ok(Hints { said: None, ..hints }));
}

fn check_session(ours: &Params<'_>, theirs: &Members<'_>) {
    let session = SessionId::from_random(7);
    let named = match theirs.last("sessionId") {
        None => Named::None,
        Some(raw) if string(raw).as_deref() == Some(session.as_str()) => Named::This,
        Some(_) => Named::Other,
    };
    assert_eq!(ours.names(&session), named);
}

pub(super) fn constructor_object(params: &Members<'_>) -> Option<(PipelineId, String)> {
    let members = Members::of(params.last("constructorParams")?)?;
    let mut texts = members.0.iter().filter_map(|(_, raw)| string(raw));
    texts.find_map(|text| Some((PipelineId::parse(&text)?, text)))
}

/// The hints in `properties`, or the code of their refusal.
pub(super) fn hints(params: &Members<'_>) -> Result<Hints, i32> {
    const BAD: i32 = -32000;
    let mut hints = Hints::default();
    let members = params.last("properties").and_then(Members::of).unwrap_or_default();
    for (key, raw) in members.0 {
        match key.as_str() {
            "meeting" => {
                let name = string(raw).ok_or(BAD)?;
                hints.meeting = Some(parse_meeting(&name).map_err(|_| BAD)?);
            }
            "participants" => {
                hints.participants = Some(parse_participants(raw).map_err(|_| BAD)?);
            }
            _ => {}
        }
    }
    Ok(hints)
}
