//! What a transaction touches and creates, so that it can be routed as one.

use super::error::Failure;
use super::json::{JsonError, Reader, Text};
use super::media::MediaCall;
use super::reply::parse_reply;
use super::request::{Hints, MANAGER, Method, Params, Refused, read_params};
use crate::model::PipelineId;

/// Pipelines one transaction may create, and different ones it may touch. More are refused, because
/// each is placed or looked up by itself.
pub const PIPELINES_MAX: usize = 64;

/// Operations of one transaction. More are refused: a server runs them all on one of its ten threads, and
/// gives their answers as one.
pub const OPERATIONS_MAX: usize = 1_024;

/// Operations of one transaction that ask for a server's descriptions of itself (`getKmd`,
/// `getMetadata`), which are far longer than the question: one for each of the modules there are.
pub const DESCRIPTIONS_MAX: usize = 8;

/// What routing must know of a transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// Pipelines its operations touch, each once.
    pub touches: Vec<PipelineId>,
    /// Pipelines it creates: index of the operation, and what the creator tells of it.
    pub creates: Vec<(usize, Hints)>,
    /// Pipelines it releases: index of the operation, and which.
    pub releases: Vec<(usize, PipelineId)>,
    /// What it changes of the media of pipelines: index of the operation, and what.
    pub media: Vec<(usize, MediaCall)>,
}

/// Reads `operations`, the raw value of that member; absent or no array is an empty transaction,
/// which the backend will answer. Where people are counts only if the sender `may_say_place`.
///
/// # Errors
/// A hint that cannot be taken, or too many operations, descriptions or pipelines.
pub fn parse_transaction(
    operations: Option<&str>,
    may_say_place: bool,
) -> Result<Transaction, Failure> {
    let mut transaction = Transaction::default();
    let mut description_count = 0;
    read_operations(operations, |index, operation| {
        description_count += usize::from(operation.asks_for_description());
        if description_count > DESCRIPTIONS_MAX {
            return Err(Failure::malformed_transaction(
                "more than 8 operations are getKmd or getMetadata",
            ));
        }
        transaction.add(index, operation, may_say_place)
    })?;
    Ok(transaction)
}

/// Reads `operations`, the raw value of that member, and calls `on_operation` with the index of each;
/// absent or no array has none.
///
/// # Errors
/// What `on_operation` returns, too many operations, or a member of one that occurs twice.
pub fn read_operations<'a>(
    operations: Option<&'a str>,
    mut on_operation: impl FnMut(usize, &Operation<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(operations) = operations.filter(|raw| raw.starts_with('[')) else {
        return Ok(());
    };
    Reader::new(operations, usize::MAX)
        .array(|index, reader| {
            if index == OPERATIONS_MAX {
                let failure = Failure::malformed_transaction("more than 1,024 operations");
                return Err(Refused { id: "null", failure });
            }
            let operation = read_operation(reader)?;
            on_operation(index, &operation).map_err(|failure| Refused { id: "null", failure })
        })
        .map_err(|refused: Refused<'_>| refused.failure)
}

/// One operation: its method and parameters, neither checked, because the backend does that.
#[derive(Debug, Default)]
pub struct Operation<'a> {
    /// Raw `method`.
    pub method: Option<&'a str>,
    /// The members of `params`; none if that is no object.
    pub params: Params<'a>,
}

fn read_operation<'a>(reader: &mut Reader<'a>) -> Result<Operation<'a>, Refused<'a>> {
    let mut operation = Operation::default();
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(operation);
    }
    reader.object(|key, reader| {
        if key.is("params") && reader.peek() == Some(b'{') && operation.params.opening.is_none() {
            return read_params(reader, &mut operation.params).map_err(
                |Refused { id, failure }| Refused {
                    id,
                    failure: Failure::malformed_transaction(failure.message),
                },
            );
        }
        let value = reader.value()?;
        let is_again = key.is("params") && operation.params.opening.is_some()
            || key.is("method") && operation.method.replace(value).is_some();
        if is_again {
            let failure = Failure::malformed_transaction("a member of an operation occurs twice");
            return Err(Refused { id: "null", failure });
        }
        Ok::<_, Refused<'a>>(())
    })?;
    Ok(operation)
}

impl Operation<'_> {
    /// Whether every server answers this call of its manager alike, does nothing by it that others
    /// notice, and gives no result by which a later operation could name the manager unseen.
    fn is_alike_everywhere(&self) -> bool {
        let operations = ["getChildren", "getParent", "getMediaPipeline"];
        self.asks_for_description()
            || is_one_of(self.method, &["describe", "ref", "unref"])
            || is_one_of(self.method, &["invoke"]) && is_one_of(self.params.operation, &operations)
    }

    fn asks_for_description(&self) -> bool {
        let operations = ["getKmd", "getMetadata"];
        is_one_of(self.method, &["invoke"]) && is_one_of(self.params.operation, &operations)
    }
}

fn is_one_of(raw: Option<&str>, names: &[&str]) -> bool {
    raw.and_then(Text::of).is_some_and(|text| names.iter().any(|name| text.is(name)))
}

impl Transaction {
    fn add(
        &mut self,
        index: usize,
        operation: &Operation<'_>,
        may_say_place: bool,
    ) -> Result<(), Failure> {
        let Some(method) = operation.method.and_then(Text::of) else { return Ok(()) };
        let params = &operation.params;
        let is_manager = || params.object_text().is_some_and(|object| object == MANAGER);
        if ["transaction", "closeSession", "connect"].iter().any(|name| method.is(name)) {
            return Err(Failure::malformed_transaction(
                "transaction, closeSession and connect cannot stand in a transaction",
            ));
        }
        if is_manager() && !operation.is_alike_everywhere() {
            return Err(Failure::malformed_transaction(
                "only describe, ref, unref, getKmd, getMetadata, getChildren, getParent and \
                 getMediaPipeline of the server manager can stand in a transaction; send others as \
                 calls of their own",
            ));
        }
        let media = Method::parse(method).and_then(|method| MediaCall::of(method, params));
        self.media.extend(media.map(|call| (index, call)));
        if method.is("create") && params.creates_pipeline() {
            if self.creates.len() == PIPELINES_MAX {
                return Err(Failure::malformed_transaction("more than 64 pipelines are created"));
            }
            self.creates.push((index, params.hints(may_say_place)?));
        } else if method.is("create") {
            if let Some((pipeline, _)) = params.constructor_object() {
                self.touch(pipeline)?;
            }
        } else if let Some(object) = params.object_text() {
            let Some(pipeline) = PipelineId::parse(&object) else { return Ok(()) };
            self.touch(pipeline)?;
            if method.is("release") && !object.contains('/') {
                self.releases.push((index, pipeline));
            }
        }
        Ok(())
    }

    fn touch(&mut self, pipeline: PipelineId) -> Result<(), Failure> {
        if self.touches.contains(&pipeline) {
            return Ok(());
        }
        if self.touches.len() == PIPELINES_MAX {
            return Err(Failure::malformed_transaction("more than 64 pipelines are touched"));
        }
        self.touches.push(pipeline);
        Ok(())
    }
}

/// One operation of an answered transaction that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<'a> {
    /// Index of the operation.
    pub index: usize,
    /// Raw `result.value`, if it gave one.
    pub value: Option<&'a str>,
}

/// The operations that succeeded, read from `value`, the raw `result.value` of the whole answer.
#[must_use]
pub fn parse_done(value: &str) -> Vec<Done<'_>> {
    let mut done = Vec::new();
    let mut reader = Reader::new(value, usize::MAX);
    if reader.peek() != Some(b'[') {
        return done;
    }
    let read = reader.array(|_, reader| {
        let answer = parse_reply(reader.value()?);
        if let (Ok(index), true) = (answer.id.parse(), answer.is_success) {
            done.push(Done { index, value: answer.value });
        }
        Ok::<_, JsonError>(())
    });
    if read.is_ok() { done } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";

    #[test]
    fn a_transaction_tells_what_it_touches_creates_and_releases() {
        let operations = json!([
            {"method": "create", "params": {"type": "MediaPipeline", "properties": {"meeting": "m"}}},
            {"method": "create", "params": {"type": "WebRtcEndpoint",
                "constructorParams": {"mediaPipeline": "newref:0"}}},
            {"method": "create", "params": {"type": "PassThrough",
                "constructorParams": {"mediaPipeline": PIPELINE}}},
            {"method": "invoke", "params": {"object": format!("{PIPELINE}/x"), "operation": "y"}},
            {"method": "release", "params": {"object": format!("{PIPELINE}/x")}},
            {"method": "release", "params": {"object": PIPELINE}},
            5, {}, {"method": 5}
        ])
        .to_string();
        let read = parse_transaction(Some(&operations), false).unwrap();
        let pipeline = PipelineId::parse(PIPELINE).unwrap();
        assert_eq!(read.touches, [pipeline]);
        assert_eq!(read.creates.len(), 1);
        assert_eq!(read.creates[0].1.meeting.as_ref().unwrap().as_str(), "m");
        assert_eq!(read.releases, [(5, pipeline)]);
        let released = MediaCall::Release(format!("{PIPELINE}/x").into());
        let media = [(1, MediaCall::Create), (2, MediaCall::Create), (4, released)];
        assert_eq!(read.media, media);
    }

    #[test]
    fn odd_operations_are_the_backend_s_to_refuse() {
        for raw in [None, Some("{}"), Some("[]"), Some("null")] {
            assert_eq!(parse_transaction(raw, false), Ok(Transaction::default()));
        }
    }

    fn manager(method: &str, operation: &str) -> serde_json::Value {
        let params = json!({"object": "manager_ServerManager", "operation": operation});
        json!({"method": method, "params": params})
    }

    #[test]
    fn what_any_server_s_manager_answers_alike_may_stand_in_a_transaction() {
        let operations = json!([manager("describe", ""), manager("invoke", "getKmd")]).to_string();
        assert_eq!(parse_transaction(Some(&operations), false), Ok(Transaction::default()));
    }

    #[test]
    fn what_the_edge_could_not_follow_or_would_hurt_others_is_refused() {
        for operation in [
            json!({"method": "transaction", "params": {"operations": []}}),
            json!({"method": "closeSession", "params": {}}),
            json!({"method": "connect"}),
            manager("release", "getKmd"),
            manager("subscribe", "getKmd"),
            manager("invoke", "getPipelines"),
            manager("invoke", "getUsedCpu"),
            manager("invoke", "getName"),
            json!({"method": "invoke", "params": {"object": "manager_ServerManager"}}),
        ] {
            let operations = json!([operation]).to_string();
            assert_eq!(parse_transaction(Some(&operations), false).unwrap_err().code, 40008);
        }
        let twice = r#"[{"method":"ref","params":{"object":"a"},"params":{"object":"b"}}]"#;
        assert_eq!(parse_transaction(Some(twice), false).unwrap_err().code, 40008);
        let within = r#"[{"method":"ref","params":{"object":"a","object":"b"}}]"#;
        assert_eq!(parse_transaction(Some(within), false).unwrap_err().code, 40008);
    }

    #[test]
    fn too_many_new_pipelines_are_refused() {
        let create = json!({"method": "create", "params": {"type": "MediaPipeline"}});
        let operations = json!(vec![create; 65]).to_string();
        assert_eq!(parse_transaction(Some(&operations), false).unwrap_err().code, 40008);
    }

    #[test]
    fn too_many_operations_and_descriptions_are_refused() {
        let code = |operation: serde_json::Value, count: usize| {
            let operations = json!(vec![operation; count]).to_string();
            parse_transaction(Some(&operations), false).map_or_else(|failure| failure.code, |_| 0)
        };
        for (operation, max) in [
            (json!({"method": "ref", "params": {"object": PIPELINE}}), 1_024),
            (json!(5), 1_024),
            (manager("invoke", "getChildren"), 1_024),
            (manager("invoke", "getKmd"), 8),
            (manager("invoke", "getMetadata"), 8),
        ] {
            let codes = [max, max + 1].map(|count| code(operation.clone(), count));
            assert_eq!(codes, [0, 40008], "{operation}");
        }
        let both = [vec![manager("invoke", "getKmd"); 8], vec![manager("invoke", "getMetadata")]];
        assert_eq!(
            parse_transaction(Some(&json!(both.concat()).to_string()), false).unwrap_err().code,
            40008
        );
    }

    #[test]
    fn the_values_of_an_answer_stand_beside_their_operations() {
        let value = json!([
            {"id": 0, "jsonrpc": "2.0", "result": {"sessionId": "s", "value": PIPELINE}},
            {"id": 1, "jsonrpc": "2.0", "result": {"sessionId": "s"}},
            {"error": {"code": 40101}, "id": 2, "jsonrpc": "2.0"}
        ])
        .to_string();
        let pipeline = format!("\"{PIPELINE}\"");
        assert_eq!(
            parse_done(&value),
            [Done { index: 0, value: Some(&pipeline) }, Done { index: 1, value: None }]
        );
    }
}
