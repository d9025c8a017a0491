//! What the backend answers: values that name it and the object asked for.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::call::Call;
use crate::protocol::request::MANAGER;

/// The operation that makes an object emit `count` events to each of its subscribers.
pub(crate) const EMIT: &str = "emit";

/// Most events of one call for each subscriber. A call for more is refused.
pub(crate) const EMIT_MAX: u32 = 100_000;

/// What stands behind the names in the answer to an offer: about as long as a real one.
const SDP_ANSWER: &str = concat!(
    r"\r\nv=0\r\no=- 3994143017 3994143017 IN IP4 0.0.0.0\r\ns=Kurento Media Server\r\n",
    r"c=IN IP4 0.0.0.0\r\nt=0 0\r\na=msid-semantic: WMS 6x9ZxQZqgV2vFXJbn2Tz\r\n",
    r"a=group:BUNDLE 0 1\r\nm=audio 1 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:0\r\na=rtcp:9 IN IP4 ",
    r"0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=setup:active\r\n",
    r"a=sendrecv\r\na=rtcp-mux\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=ssrc:2150563812 ",
    r"cname:user3042017318@host-9f10491c\r\na=ice-ufrag:GZqV\r\na=ice-pwd:",
    r"5mBrHNJmVqyHhsUSrGOUDL\r\na=fingerprint:sha-256 F0:CF:85:E7:A1:B1:72:24:01:20:DD:99:75:",
    r"E9:0C:53:62:A6:34:9C:09:01:3D:64:97:49:89:57:D7:6C:4B:CC\r\nm=video 1 UDP/TLS/RTP/SAVPF ",
    r"96 102\r\na=mid:1\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 ",
    r"H264/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\n",
    r"a=rtcp-fb:96 nack pli\r\na=setup:active\r\na=sendrecv\r\na=rtcp-mux\r\na=ssrc:1021718349 ",
    r"cname:user3042017318@host-9f10491c\r\na=ice-ufrag:GZqV\r\na=ice-pwd:5mBrHNJmVqyHhsUSrGOUDL\r\n",
);

/// What a fleet needs to know of its server. Source: Kurento protocol notes, section 5.
const INFO: &str = r#"{"capabilities":["transactions"],"modules":[{"factories":["MediaPipeline"],"generationTime":"","name":"core","version":"7.3.1"},{"factories":["WebRtcEndpoint"],"generationTime":"","name":"elements","version":"7.3.1"},{"factories":[],"generationTime":"","name":"filters","version":"7.3.1"}],"type":"KMS","version":"7.3.1"}"#;

/// Who answers, for all connections.
#[derive(Debug)]
pub(super) struct Identity {
    name: String,
    /// Begins every id that is made here, so that a call for another backend's object shows.
    tag: String,
    /// Drawn at the start, so that no id is made twice by two processes of one name.
    next: AtomicU64,
    server_id: String,
}

/// What a connection is to do besides sending the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect<'a> {
    /// Nothing.
    None,
    /// The connection wants the events of this object.
    Subscribe(&'a str),
    /// It wants them no longer.
    Unsubscribe(&'a str),
    /// Every subscriber of the object gets this many events.
    Emit(&'a str, u32),
}

impl Identity {
    /// The backend `name`; `seed` is drawn at random.
    pub(super) fn new(name: &str, seed: u64) -> Self {
        // FNV-1a. Source: RFC 9923.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self {
            name: name.to_owned(),
            tag: format!("{hash:08x}"),
            next: AtomicU64::new(seed >> 24),
            server_id: format!("{name} {seed:016x}"),
        }
    }

    /// Appends the answer to `call` to `out`. `session` is the connection's; a call that names another
    /// makes that the connection's.
    pub(super) fn answer<'a>(
        &self,
        call: &Call<'a>,
        session: &mut String,
        out: &mut String,
    ) -> Effect<'a> {
        self.tie(call, session);
        match call.method {
            "ping" if session.is_empty() => result(out, call.id, r#"{"value":"pong"}"#),
            "ping" => value(out, call.id, session, r#""pong""#),
            "connect" => {
                let server = &self.server_id;
                result(
                    out,
                    call.id,
                    &format!(r#"{{"serverId":"{server}","sessionId":"{session}"}}"#),
                );
            }
            "create" if self.is_ours(call.parent) || call.kind == "MediaPipeline" => {
                let id = self.create(call);
                value(out, call.id, session, &id);
            }
            "invoke" if call.object == MANAGER => self.manage(call, session, out),
            "invoke" if self.is_ours(call.object) => return self.invoke(call, session, out),
            "describe" if call.object == MANAGER => {
                describe(out, call.id, session, "ServerManager");
            }
            "describe" if self.is_ours(call.object) => {
                let kind = call.object.rsplit('.').next().unwrap_or_default();
                describe(out, call.id, session, kind);
            }
            "subscribe" if call.object == MANAGER => value(out, call.id, session, &self.uuid("")),
            "subscribe" if self.is_ours(call.object) => {
                value(out, call.id, session, &self.uuid(""));
                return Effect::Subscribe(call.object);
            }
            "unsubscribe" => {
                done(out, call.id, session);
                return Effect::Unsubscribe(call.object);
            }
            "release" | "unref" => done(out, call.id, session),
            "ref" if self.is_ours(call.object) => done(out, call.id, session),
            "keepAlive" if call.session.is_empty() || call.session == session => {
                done(out, call.id, session);
            }
            "keepAlive" => error(out, call.id, 40007, "Session not found"),
            "closeSession" => result(out, call.id, "null"),
            "create" | "invoke" | "describe" | "subscribe" | "ref" => {
                error(out, call.id, 40101, "Object not found");
            }
            _ => error(out, call.id, -32601, "Method not found."),
        }
        Effect::None
    }

    /// Ties the connection to the session of a call that names one, as Kurento does, and to a new one
    /// if it has none.
    fn tie(&self, call: &Call<'_>, session: &mut String) {
        if !call.session.is_empty() && call.session != session && call.method != "keepAlive" {
            call.session.clone_into(session);
        } else if session.is_empty() && call.method != "ping" {
            session.push_str(self.uuid("").trim_matches('"'));
        }
    }

    fn invoke<'a>(&self, call: &Call<'a>, session: &str, out: &mut String) -> Effect<'a> {
        if call.operation == EMIT && call.count > EMIT_MAX {
            error(out, call.id, 40008, "too many events");
            return Effect::None;
        }
        let (name, object) = (&self.name, call.object);
        let more = if call.operation == "processOffer" { SDP_ANSWER } else { "" };
        begin(out, call.id, session);
        let _ = write!(out, r#","value":"{name} {object}{more}"}}}}"#); // a String takes all text
        match call.operation {
            EMIT => Effect::Emit(object, call.count),
            _ => Effect::None,
        }
    }

    fn manage(&self, call: &Call<'_>, session: &str, out: &mut String) {
        let answer = match call.operation {
            "getInfo" => INFO,
            "getCpuCount" => "1",
            "getUsedCpu" => "1.0",
            "getUsedMemory" => "65536",
            "getPipelines" | "getSessions" | "getChildren" => "[]",
            _ => return error(out, call.id, 40008, "Method not found"),
        };
        value(out, call.id, session, answer);
    }

    /// Makes an object; returns its id as JSON.
    fn create(&self, call: &Call<'_>) -> String {
        let kind = call.kind;
        let own = self.uuid(&format!("_kurento.{kind}"));
        match call.parent {
            "" => own,
            parent => format!(r#""{parent}/{}"#, &own[1..]),
        }
    }

    /// A UUID with this backend's tag and `suffix`, as JSON.
    fn uuid(&self, suffix: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tag, low) = (&self.tag, number & 0xffff_ffff_ffff);
        format!(r#""{tag}-0000-4000-8000-{low:012x}{suffix}""#)
    }

    fn is_ours(&self, object: &str) -> bool {
        object.starts_with(&self.tag)
    }
}

/// Appends an event of `object`, the one with this number, as a real candidate is told.
pub(super) fn event(out: &mut String, name: &str, object: &str, number: u64) {
    let _ = write!(
        out,
        r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"value":{{"data":{{"candidate":{{"__module__":"kurento","__type__":"IceCandidate","candidate":"candidate:1 1 UDP 99 10.0.0.7 9 typ host","sdpMLineIndex":0,"sdpMid":"0"}},"source":"{object}","tags":[{{"key":"{name}","value":"{number}"}}],"timestampMillis":"1795234832278","type":"IceCandidateFound"}},"object":"{object}","type":"IceCandidateFound"}}}}}}"#
    ); // a String takes all text
}

fn begin(out: &mut String, id: &str, session: &str) {
    out.push_str(r#"{"id":"#);
    out.push_str(if id.is_empty() { "null" } else { id });
    out.push_str(r#","jsonrpc":"2.0","result":{"sessionId":""#);
    out.push_str(session);
    out.push('"');
}

fn done(out: &mut String, id: &str, session: &str) {
    begin(out, id, session);
    out.push_str("}}");
}

fn value(out: &mut String, id: &str, session: &str, value: &str) {
    begin(out, id, session);
    out.push_str(r#","value":"#);
    out.push_str(value);
    out.push_str("}}");
}

fn describe(out: &mut String, id: &str, session: &str, kind: &str) {
    let members = format!(
        r#"{{"hierarchy":["kurento.MediaObject"],"qualifiedType":"kurento.{kind}","sessionId":"{session}","type":"{kind}"}}"#
    );
    result(out, id, &members);
}

fn result(out: &mut String, id: &str, result: &str) {
    let id = if id.is_empty() { "null" } else { id };
    let _ = write!(out, r#"{{"id":{id},"jsonrpc":"2.0","result":{result}}}"#);
}

fn error(out: &mut String, id: &str, code: i32, message: &str) {
    let id = if id.is_empty() { "null" } else { id };
    let _ = write!(
        out,
        r#"{{"error":{{"code":{code},"message":"{message}"}},"id":{id},"jsonrpc":"2.0"}}"#
    );
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(of: &Identity, session: &mut String, method: &str, params: &Value) -> Value {
        let text = json!({"id": 7, "jsonrpc": "2.0", "method": method, "params": params});
        let (text, mut out) = (text.to_string(), String::new());
        of.answer(&Call::read(&text).unwrap(), session, &mut out);
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
        assert_eq!(answer["id"], 7);
        answer
    }

    #[test]
    fn an_answer_names_the_backend_and_the_object() {
        let (a, mut session) = (Identity::new("a", 1 << 40), String::new());
        let pipeline = ask(&a, &mut session, "create", &json!({"type": "MediaPipeline"}));
        let pipeline = pipeline["result"]["value"].as_str().unwrap();
        assert!(crate::model::PipelineId::parse(pipeline).is_some(), "{pipeline}");
        let params =
            json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": pipeline}});
        let endpoint = ask(&a, &mut session, "create", &params);
        let endpoint = endpoint["result"]["value"].as_str().unwrap();
        assert!(endpoint.starts_with(&format!("{pipeline}/")), "{endpoint}");
        let params = json!({"object": endpoint, "operation": "processOffer", "sessionId": "s"});
        let told = ask(&a, &mut session, "invoke", &params);
        assert_eq!(told["result"]["sessionId"], "s");
        let told = told["result"]["value"].as_str().unwrap();
        assert!(told.starts_with(&format!("a {endpoint}\r\nv=0")), "{told}");
        let b = Identity::new("b", 1 << 40);
        assert_eq!(ask(&b, &mut session, "invoke", &params)["error"]["code"], 40101);
    }

    #[test]
    fn every_method_has_an_answer_that_is_json() {
        let (a, mut session) = (Identity::new("a", 3), String::new());
        for method in ["connect", "ping", "describe", "subscribe", "unsubscribe", "release", "ref"]
        {
            ask(&a, &mut session, method, &json!({"object": MANAGER}));
        }
        for operation in ["getInfo", "getCpuCount", "getUsedCpu", "getPipelines"] {
            let params = json!({"object": MANAGER, "operation": operation});
            assert!(ask(&a, &mut session, "invoke", &params)["error"].is_null(), "{operation}");
        }
        assert_eq!(ask(&a, &mut session, "closeSession", &json!({}))["result"], Value::Null);
        assert_eq!(ask(&a, &mut session, "nonsense", &json!({}))["error"]["code"], -32601);
        let other = ask(&a, &mut session, "keepAlive", &json!({"sessionId": "other"}));
        assert_eq!(other["error"]["code"], 40007);
    }

    #[test]
    fn an_event_is_one_of_kurento() {
        let mut text = String::new();
        event(&mut text, "a", "o", 3);
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["params"]["value"]["object"], "o");
        assert_eq!(event["params"]["value"]["data"]["tags"][0], json!({"key": "a", "value": "3"}));
    }
}
