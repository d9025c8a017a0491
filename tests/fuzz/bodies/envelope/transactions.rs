//! Transactions: `parse_transaction` and the answer's `parse_done`.

use pinfold::model::PipelineId;
use pinfold::protocol::media::{Media, MediaCall};
use pinfold::protocol::object::newref;
use pinfold::protocol::request::MANAGER;
use pinfold::protocol::transaction::{
    Done, PIPELINES_MAX, Transaction, parse_done, parse_transaction,
};

use super::members::{Members, items, string};
use super::requests::{PARAMS, constructor_object, hints};

const MALFORMED: i32 = 40008;

/// What may not stand in a transaction.
const REFUSED: [&str; 3] = ["transaction", "closeSession", "connect"];

/// Operations of the manager that every server answers alike.
const ALIKE: [&str; 5] = ["getKmd", "getMetadata", "getChildren", "getParent", "getMediaPipeline"];

pub(super) fn check(operations: Option<&str>) {
    let ours = parse_transaction(operations, false).map_err(|failure| failure.code);
    assert_eq!(ours, expected(operations), "{operations:?}");
}

fn expected(operations: Option<&str>) -> Result<Transaction, i32> {
    let mut transaction = Transaction::default();
    for (index, raw) in operations.and_then(items).unwrap_or_default().into_iter().enumerate() {
        let members = Members::of(raw).unwrap_or_default();
        let params = params(&members)?;
        if let Some(method) = members.last("method").and_then(string) {
            add(&mut transaction, index, &method, &params)?;
        }
    }
    Ok(transaction)
}

/// The params of an operation, or the code of its refusal: the first member that occurs again.
fn params<'a>(members: &Members<'a>) -> Result<Members<'a>, i32> {
    let mut params = None;
    let mut has_method = false;
    for (key, raw) in &members.0 {
        match key.as_str() {
            "method" if std::mem::replace(&mut has_method, true) => return Err(MALFORMED),
            "params" if params.is_some() => return Err(MALFORMED),
            "params" => {
                params = Members::of(raw);
                if params.as_ref().is_some_and(|params| params.repeats(&PARAMS)) {
                    return Err(MALFORMED);
                }
            }
            _ => {}
        }
    }
    Ok(params.unwrap_or_default())
}

fn add(
    transaction: &mut Transaction,
    index: usize,
    method: &str,
    params: &Members<'_>,
) -> Result<(), i32> {
    let object = params.last("object").map(|raw| string(raw).unwrap_or_else(|| raw.to_owned()));
    let operation = params.last("operation").and_then(string);
    let is_alike = ["describe", "ref", "unref"].contains(&method)
        || method == "invoke" && operation.is_some_and(|name| ALIKE.contains(&name.as_str()));
    if REFUSED.contains(&method) || object.as_deref() == Some(MANAGER) && !is_alike {
        return Err(MALFORMED);
    }
    let kind = params.last("type").and_then(string);
    let is_pipeline = matches!(kind.as_deref(), Some("MediaPipeline" | "kurento.MediaPipeline"));
    let call = media_call((method, is_pipeline), object.as_deref(), params);
    transaction.media.extend(call.map(|call| (index, call)));
    let touched = match method {
        "create" if is_pipeline => {
            if transaction.creates.len() == PIPELINES_MAX {
                return Err(MALFORMED);
            }
            transaction.creates.push((index, hints(params)?));
            return Ok(());
        }
        "create" => constructor_object(params).map(|(pipeline, _)| pipeline),
        _ => object.as_deref().and_then(PipelineId::parse),
    };
    let Some(pipeline) = touched else { return Ok(()) };
    if !transaction.touches.contains(&pipeline) {
        if transaction.touches.len() == PIPELINES_MAX {
            return Err(MALFORMED);
        }
        transaction.touches.push(pipeline);
    }
    if method == "release" && object.is_some_and(|object| !object.contains('/')) {
        transaction.releases.push((index, pipeline));
    }
    Ok(())
}

/// What an operation changes of elements.
fn media_call(
    (method, is_pipeline): (&str, bool),
    object: Option<&str>,
    params: &Members<'_>,
) -> Option<MediaCall> {
    let is_short = |text: &str| text.len() <= 512;
    let object = match object.filter(|text| is_short(text)) {
        Some("null") if params.last("object") == Some("null") => Some(""),
        Some(_) if params.last("object").is_some_and(|raw| raw.starts_with(['{', '['])) => None,
        other => other,
    };
    match method {
        "create" => (!is_pipeline).then_some(MediaCall::Create),
        "release" => object
            .filter(|object| object.contains('/') || newref(object).is_some())
            .map(|object| MediaCall::Release(object.into())),
        "invoke" => {
            let given = params.last("operationParams").and_then(Members::of)?;
            let sink = given.last("sink").and_then(string).filter(|text| is_short(text))?;
            let media = match given.last("mediaType").map(string) {
                None => Media::All,
                Some(Some(text)) if text == "AUDIO" => Media::Audio,
                Some(Some(text)) if text == "VIDEO" => Media::Video,
                Some(Some(text)) if text == "DATA" => Media::Data,
                Some(_) => return None,
            };
            let (from, to) = (object?.into(), sink.into());
            match params.last("operation").and_then(string)?.as_str() {
                "connect" => Some(MediaCall::Connect(from, to, media)),
                "disconnect" => Some(MediaCall::Disconnect(from, to, media)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Checks what is read of `value`, the value of an answer.
pub(super) fn check_done(value: &str) {
    let done = |raw: &&'_ str| -> Option<(usize, Option<String>)> {
        let answer = Members::of(raw)?;
        let index = answer.last("id")?.parse().ok()?;
        let result = Members::of(answer.last("result")?).unwrap_or_default();
        Some((index, result.last("value").map(str::to_owned)))
    };
    let theirs: Vec<_> = items(value).unwrap_or_default().iter().filter_map(done).collect();
    let owned = |Done { index, value }| (index, value.map(str::to_owned));
    let ours: Vec<_> = parse_done(value).into_iter().map(owned).collect();
    assert_eq!(ours, theirs, "{value}");
}
