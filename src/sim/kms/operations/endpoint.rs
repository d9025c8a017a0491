//! Operations of endpoints: session descriptions, ICE, playing and recording.

use serde_json::{Value, json};

use super::Op;
use crate::sim::kms::Kms;
use crate::sim::kms::methods::Outcome;
use crate::sim::kms::sdp::{self, IceLogin};
use crate::sim::kms::wire::Fault;

/// Where an endpoint keeps its own description, the peer's and how far it has come.
const LOCAL: &str = "localSessionDescriptor";
const REMOTE: &str = "remoteSessionDescriptor";
const CONNECTION: &str = "connectionState";
const STATE: &str = "state";

impl Kms {
    pub(super) fn endpoint_operation(&mut self, op: &Op<'_>) -> Option<Outcome> {
        match op.name {
            "generateOffer" if op.kind.is("SdpEndpoint") => Some(self.generate_offer(op)),
            "processOffer" if op.kind.is("SdpEndpoint") => Some(self.process_offer(op)),
            "processAnswer" if op.kind.is("SdpEndpoint") => Some(self.process_answer(op)),
            "getLocalSessionDescriptor" if op.kind.is("SdpEndpoint") => Some(self.kept(op, LOCAL)),
            "getRemoteSessionDescriptor" if op.kind.is("SdpEndpoint") => {
                Some(self.kept(op, REMOTE))
            }
            "gatherCandidates" if op.kind.is("WebRtcEndpoint") => Some(self.gather_candidates(op)),
            "addIceCandidate" if op.kind.is("WebRtcEndpoint") => Some(self.add_candidate(op)),
            "getIceConnectionState" if op.kind.is("WebRtcEndpoint") => {
                Some(Ok(self.ice_state(op.id)))
            }
            "getVideoInfo" if op.kind.is("PlayerEndpoint") => Some(Ok(video_info())),
            "getStats" if op.kind.is("MediaElement") => Some(Ok(self.stats(op.id))),
            "play" | "pause" | "stop" | "record" | "stopAndWait" if op.kind.is("UriEndpoint") => {
                self.run_uri(op)
            }
            _ => None,
        }
    }

    fn generate_offer(&mut self, op: &Op<'_>) -> Outcome {
        if self.property(op.id, LOCAL).is_some() {
            let message = "Offer already generated";
            return Err(Fault::kurento(40208, "SDP_END_POINT_ALREADY_NEGOTIATED", message));
        }
        let offer = sdp::offer(&IceLogin::draw(&mut self.draws));
        self.keep(op.id, LOCAL, json!(offer));
        Ok(json!(offer))
    }

    fn process_offer(&mut self, op: &Op<'_>) -> Outcome {
        let offer = op.text("offer")?;
        if self.property(op.id, REMOTE).is_some() {
            let message = "Endpoint already negotiated";
            return Err(Fault::kurento(40208, "SDP_END_POINT_ALREADY_NEGOTIATED", message));
        }
        let answer = sdp::answer(&offer, &IceLogin::draw(&mut self.draws))?;
        self.keep(op.id, LOCAL, json!(answer));
        self.negotiated(op.id, &offer);
        Ok(json!(answer))
    }

    fn process_answer(&mut self, op: &Op<'_>) -> Outcome {
        let answer = op.text("answer")?;
        let Some(local) = self.property(op.id, LOCAL).cloned() else {
            let message = "Offer not generated";
            return Err(Fault::kurento(40209, "SDP_END_POINT_NOT_OFFER_GENERATED", message));
        };
        if self.property(op.id, REMOTE).is_some() {
            let message = "Answer already processed";
            return Err(Fault::kurento(40210, "SDP_END_POINT_ANSWER_ALREADY_PROCCESED", message));
        }
        sdp::answer(&answer, &IceLogin::draw(&mut self.draws))?;
        self.negotiated(op.id, &answer);
        Ok(local)
    }

    fn negotiated(&mut self, id: &str, remote: &str) {
        self.keep(id, REMOTE, json!(remote));
        self.emit(id, "MediaSessionStarted", json!({}));
    }

    /// Two candidates on the first section, then the end: enough for a client to see them trickle.
    /// Before a session description there is nothing to gather for.
    fn gather_candidates(&mut self, op: &Op<'_>) -> Outcome {
        let local = self.property(op.id, LOCAL).and_then(Value::as_str);
        let Some(mid) = local.and_then(|local| sdp::mids(local).into_iter().next()) else {
            return Ok(Value::Null);
        };
        self.emit_component(op.id, "GATHERING");
        for (foundation, priority) in [(1, 2_015_364_095u32), (2, 1_015_022_591)] {
            let port = 20_000 + self.draws.below(40_000);
            let text = format!("candidate:{foundation} 1 UDP {priority} 127.0.0.1 {port} typ host");
            let candidate = json!({
                "__module__": "kurento", "__type__": "IceCandidate",
                "candidate": text, "sdpMLineIndex": 0, "sdpMid": mid,
            });
            self.emit(op.id, "IceCandidateFound", json!({"candidate": candidate}));
        }
        self.emit(op.id, "IceGatheringDone", json!({}));
        Ok(Value::Null)
    }

    /// The first candidate of the peer connects the endpoint: there is no media to wait for.
    fn add_candidate(&mut self, op: &Op<'_>) -> Outcome {
        let Some(candidate) = op.arg("candidate") else {
            op.text("candidate")?;
            return Ok(Value::Null);
        };
        if !candidate.get("candidate").is_some_and(Value::is_string) {
            return Err(Fault::marshal("'candidate' property should be a string"));
        }
        let is_negotiated = self.property(op.id, REMOTE).is_some();
        if !is_negotiated || self.property(op.id, CONNECTION).is_some() {
            return Ok(Value::Null);
        }
        self.keep(op.id, CONNECTION, json!("CONNECTED"));
        self.keep(op.id, "mediaState", json!("CONNECTED"));
        for state in ["CONNECTING", "CONNECTED", "READY"] {
            self.emit_component(op.id, state);
        }
        let change = json!({"newState": "CONNECTED", "oldState": "DISCONNECTED"});
        self.emit(op.id, "ConnectionStateChanged", change.clone());
        self.emit(op.id, "MediaStateChanged", change);
        Ok(Value::Null)
    }

    fn ice_state(&self, id: &str) -> Value {
        if self.property(id, CONNECTION).is_none() {
            return json!([]);
        }
        let ready = |component: u32| {
            json!({
                "__module__": "kurento", "__type__": "IceConnection",
                "componentId": component, "state": "READY", "streamId": "1",
            })
        };
        json!([ready(1), ready(2)])
    }

    fn emit_component(&mut self, id: &str, state: &str) {
        let data = json!({"componentId": 1, "state": state, "streamId": 1});
        self.emit(id, "IceComponentStateChanged", data);
    }

    fn run_uri(&mut self, op: &Op<'_>) -> Option<Outcome> {
        let (state, event) = match (op.name, op.kind.name) {
            ("play", "PlayerEndpoint") => ("START", None),
            ("record", "RecorderEndpoint") => ("START", Some("Recording")),
            ("pause", "RecorderEndpoint") => ("PAUSE", Some("Paused")),
            ("pause", _) => ("PAUSE", None),
            ("stop" | "stopAndWait", "RecorderEndpoint") => ("STOP", Some("Stopped")),
            ("stop", _) => ("STOP", None),
            _ => return None,
        };
        self.keep(op.id, STATE, json!(state));
        self.emit(op.id, "UriEndpointStateChanged", json!({"state": state}));
        if let Some(event) = event {
            self.emit(op.id, event, json!({}));
        }
        Some(Ok(Value::Null))
    }

    fn stats(&self, id: &str) -> Value {
        let stats = json!({
            "__module__": "kurento", "__type__": "ElementStats", "id": id,
            "inputAudioLatency": 0.0, "inputLatency": [], "inputVideoLatency": 0.0,
            "timestamp": self.unix_ms() / 1_000, "timestampMillis": self.unix_ms(),
            "type": "element",
        });
        json!({id: stats})
    }

    fn kept(&self, op: &Op<'_>, name: &str) -> Outcome {
        Ok(self.property(op.id, name).cloned().unwrap_or_else(|| json!("")))
    }

    pub(super) fn property(&self, id: &str, name: &str) -> Option<&Value> {
        self.objects.find(id)?.properties.get(name)
    }

    pub(super) fn keep(&mut self, id: &str, name: &str, value: Value) {
        if let Some(object) = self.objects.find_mut(id) {
            object.properties.insert(name.to_owned(), value);
        }
    }
}

/// As of a live stream: no length, no seeking.
fn video_info() -> Value {
    json!({
        "__module__": "kurento", "__type__": "VideoInfo",
        "duration": 0, "isSeekable": false, "seekableEnd": 0, "seekableInit": 0,
    })
}
