//! Endpoints that negotiate: offers, answers, candidates, ICE.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::media::Later;
use super::methods::Params;
use super::objects::Id;
use super::random;
use super::sdp::{Local, Sdp};
use super::server::{Server, map};
use super::wire;

/// From the first remote candidate until ICE checks, and until it has found a pair, for the first
/// component; the second comes `COMPONENT_GAP` later. Source: measured on loopback.
const CHECKS_AFTER: Duration = Duration::from_millis(10);
const PAIR_AFTER: Duration = Duration::from_millis(70);
const COMPONENT_GAP: Duration = Duration::from_millis(15);

/// The one stream of bundled media: a text in registers, a number in events.
const STREAM: u8 = 1;

/// How far an endpoint has come with its far side.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    step: Step,
    local: Option<Local>,
    local_text: String,
    remote_text: String,
    mids: Vec<String>,
    video_codec: Option<String>,
    /// Our UDP candidate of each component.
    gathered: Vec<String>,
    /// The far side's first candidate of each component.
    remote: [Option<String>; 2],
    has_ice_begun: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Fresh,
    Offered,
    Done,
}

impl Negotiation {
    /// Whether our candidates have been gathered.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// The codec of the picture that both sides agreed on, in lower case.
    pub(super) fn video_codec(&self) -> Option<&str> {
        self.video_codec.as_deref()
    }

    /// Whether the two sides have agreed on their media.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }
}

impl Server {
    /// `generateOffer`.
    pub(super) fn generate_offer(&mut self, id: &Id, args: &Params) -> Result<Value, Fault> {
        if self.object(id)?.media.negotiation.step != Step::Fresh {
            return Err(already_negotiated());
        }
        let local = self.local_of(id)?;
        let values = &self.object(id)?.values;
        let is_set = |name: &str| values.get(name).and_then(Value::as_bool).unwrap_or(false);
        let direction = match (is_set("recvonly"), is_set("sendonly")) {
            (true, false) => "recvonly",
            (false, true) => "sendonly",
            (true, true) | (false, false) => "sendrecv",
        };
        let options = args.get("options");
        let is_wanted = |name: &str| options.and_then(|o| o.get(name)) != Some(&Value::Bool(false));
        let mut wanted = Vec::new();
        wanted.extend(is_wanted("offerToReceiveAudio").then_some("audio"));
        wanted.extend(is_wanted("offerToReceiveVideo").then_some("video"));
        wanted.extend(is_set("useDataChannels").then_some("application"));
        let offer = local.offer(&wanted, direction);
        let negotiation = &mut self.object_mut(id)?.media.negotiation;
        negotiation.step = Step::Offered;
        negotiation.mids = wanted.iter().map(|media| format!("{media}0")).collect();
        negotiation.local_text.clone_from(&offer);
        Ok(offer.into())
    }

    /// `processOffer`.
    pub(super) fn process_offer(&mut self, id: &Id, args: &Params) -> Result<Value, Fault> {
        let offer = args.get("offer").and_then(wire::as_text).unwrap_or_default();
        let parsed = read_sdp(&offer, "offer")?;
        if self.object(id)?.media.negotiation.step != Step::Fresh {
            return Err(already_negotiated());
        }
        let answer = self.local_of(id)?.answer(&parsed);
        let negotiation = &mut self.object_mut(id)?.media.negotiation;
        negotiation.mids = parsed.mids();
        negotiation.local_text.clone_from(&answer);
        let agreed = Sdp::parse(&answer).and_then(|sdp| sdp.video_codec());
        self.negotiated(id, &offer, parsed.has_candidate(), agreed)?;
        Ok(answer.into())
    }

    /// `processAnswer`; gives our own description back.
    pub(super) fn process_answer(&mut self, id: &Id, args: &Params) -> Result<Value, Fault> {
        let answer = args.get("answer").and_then(wire::as_text).unwrap_or_default();
        let parsed = read_sdp(&answer, "answer")?;
        match self.object(id)?.media.negotiation.step {
            Step::Offered => {}
            Step::Fresh => {
                let kind = "SDP_END_POINT_NOT_OFFER_GENERATED";
                return Err(Fault::kurento(40209, kind, "Offer not generated"));
            }
            Step::Done => {
                let kind = "SDP_END_POINT_ANSWER_ALREADY_PROCCESED";
                return Err(Fault::kurento(40210, kind, "Sdp Answer already processed"));
            }
        }
        self.negotiated(id, &answer, parsed.has_candidate(), parsed.video_codec())?;
        Ok(self.object(id)?.media.negotiation.local_text.as_str().into())
    }

    fn negotiated(
        &mut self,
        id: &Id,
        remote: &str,
        has_candidate: bool,
        agreed: Option<String>,
    ) -> Result<(), Fault> {
        let negotiation = &mut self.object_mut(id)?.media.negotiation;
        negotiation.step = Step::Done;
        negotiation.remote_text = remote.to_owned();
        negotiation.video_codec = agreed;
        if has_candidate {
            negotiation.remote.iter_mut().for_each(|c| *c = Some(String::new()));
        }
        self.raise(id, "MediaSessionStarted", Map::new());
        self.begin_ice(id)
    }

    /// `getLocalSessionDescriptor` and `getRemoteSessionDescriptor`.
    pub(super) fn descriptor(&self, id: &Id, is_local: bool) -> Result<Value, Fault> {
        let negotiation = &self.object(id)?.media.negotiation;
        let (text, code, kind, message) = if is_local {
            let kind = "SDP_END_POINT_NO_LOCAL_SDP_ERROR";
            (&negotiation.local_text, 40202, kind, "No local SDP")
        } else {
            let kind = "SDP_END_POINT_NO_REMOTE_SDP_ERROR";
            (&negotiation.remote_text, 40203, kind, "No remote SDP")
        };
        if text.is_empty() {
            return Err(Fault::kurento(code, kind, message));
        }
        Ok(text.as_str().into())
    }

    /// `gatherCandidates`: for each component and media line one UDP and two TCP candidates.
    pub(super) fn gather_candidates(&mut self, id: &Id) -> Result<Value, Fault> {
        let negotiation = &self.object(id)?.media.negotiation;
        let mids = negotiation.mids.clone();
        if mids.is_empty() || !negotiation.gathered.is_empty() {
            return Ok(Value::Null);
        }
        for component in 1..=2 {
            self.ice_state(id, component, "GATHERING")?;
        }
        for component in 1..=2 {
            let candidates = self.draw_candidates(component);
            for candidate in &candidates {
                for (at, mid) in mids.iter().enumerate() {
                    let found = json!({
                        "__module__": "kurento",
                        "__type__": "IceCandidate",
                        "candidate": candidate,
                        "sdpMLineIndex": at,
                        "sdpMid": mid,
                    });
                    self.raise(id, "IceCandidateFound", map("candidate", found));
                }
            }
            let negotiation = &mut self.object_mut(id)?.media.negotiation;
            negotiation.gathered.extend(candidates.into_iter().next());
        }
        self.raise(id, "IceGatheringDone", Map::new());
        self.begin_ice(id)?;
        Ok(Value::Null)
    }

    /// Our candidates of `component`. The numbers are libnice's priorities for a local address.
    fn draw_candidates(&mut self, component: u32) -> [String; 3] {
        let (udp, tcp) = (random::port(&mut self.draws), random::port(&mut self.draws));
        let address = &self.settings.media_address;
        let below = component - 1;
        let (first, second, third) =
            (2_015_364_095 - below, 1_015_022_591 - below, 1_010_828_287 - below);
        [
            format!("candidate:1 {component} UDP {first} {address} {udp} typ host"),
            format!("candidate:2 {component} TCP {second} {address} 9 typ host tcptype active"),
            format!("candidate:3 {component} TCP {third} {address} {tcp} typ host tcptype passive"),
        ]
    }

    /// `addIceCandidate`.
    pub(super) fn add_candidate(&mut self, id: &Id, args: &Params) -> Result<Value, Fault> {
        let candidate = args.get("candidate").and_then(|c| c.get("candidate"));
        let candidate = candidate.and_then(wire::as_text).unwrap_or_default();
        let component = usize::from(candidate.split(' ').nth(1) == Some("2"));
        let remote = &mut self.object_mut(id)?.media.negotiation.remote[component];
        remote.get_or_insert(candidate);
        self.begin_ice(id)?;
        Ok(Value::Null)
    }

    /// Lets ICE run once both sides are described, we have gathered and the far side has begun to.
    fn begin_ice(&mut self, id: &Id) -> Result<(), Fault> {
        let negotiation = &mut self.object_mut(id)?.media.negotiation;
        let is_ready = negotiation.step == Step::Done
            && !negotiation.gathered.is_empty()
            && negotiation.remote.iter().any(Option::is_some);
        if !is_ready || std::mem::replace(&mut negotiation.has_ice_begun, true) {
            return Ok(());
        }
        for component in 1..=2 {
            let wait = COMPONENT_GAP * u32::from(component - 1);
            self.do_later(CHECKS_AFTER + wait, Later::IceChecks(id.clone(), component));
            self.do_later(PAIR_AFTER + wait, Later::IcePair(id.clone(), component));
        }
        Ok(())
    }

    /// ICE begins to check pairs.
    pub(super) fn ice_checks(&mut self, id: &Id, component: u8) -> Result<(), Fault> {
        self.ice_state(id, component, "CONNECTING")
    }

    /// ICE has found a pair; with the first component the endpoint is connected.
    pub(super) fn ice_pair(&mut self, id: &Id, component: u8) -> Result<(), Fault> {
        let object = self.object_mut(id)?;
        let at = usize::from(component - 1);
        let negotiation = &object.media.negotiation;
        let remote = negotiation.remote[at].clone().unwrap_or_default();
        let pair = json!({
            "__module__": "kurento",
            "__type__": "IceCandidatePair",
            "componentId": component,
            "localCandidate": negotiation.gathered.get(at).cloned().unwrap_or_default(),
            "remoteCandidate": remote,
            "streamId": STREAM.to_string(),
        });
        let pairs = object.values.entry("ICECandidatePairs").or_insert_with(|| json!([]));
        pairs.as_array_mut().into_iter().for_each(|pairs| pairs.push(pair.clone()));
        self.raise(id, "NewCandidatePairSelected", map("candidatePair", pair));
        self.ice_state(id, component, "CONNECTED")?;
        self.ice_state(id, component, "READY")?;
        if component == 1 {
            self.set_state(id, "connectionState", "ConnectionStateChanged")?;
            if self.settings.peers_send_media {
                self.set_state(id, "mediaState", "MediaStateChanged")?;
                self.feed_from(id)?;
            }
        }
        Ok(())
    }

    fn set_state(&mut self, id: &Id, property: &str, event: &str) -> Result<(), Fault> {
        self.object_mut(id)?.values.insert(property.to_owned(), "CONNECTED".into());
        let mut data = map("newState", "CONNECTED");
        data.insert("oldState".to_owned(), "DISCONNECTED".into());
        self.raise(id, event, data);
        Ok(())
    }

    fn ice_state(&mut self, id: &Id, component: u8, state: &str) -> Result<(), Fault> {
        let connection = json!({
            "__module__": "kurento",
            "__type__": "IceConnection",
            "componentId": component,
            "state": state,
            "streamId": STREAM.to_string(),
        });
        let values = &mut self.object_mut(id)?.values;
        let known = values.entry("IceConnectionState").or_insert_with(|| json!([]));
        if let Value::Array(known) = known {
            known.retain(|c| c.get("componentId") != Some(&component.into()));
            known.push(connection);
        }
        let mut data = map("state", state);
        data.insert("componentId".to_owned(), component.into());
        data.insert("streamId".to_owned(), STREAM.into());
        self.raise(id, "IceComponentStateChanged", data);
        Ok(())
    }

    /// The endpoint's own half, drawn when it is first needed.
    fn local_of(&mut self, id: &Id) -> Result<Local, Fault> {
        let object = self.object(id)?;
        if let Some(local) = &object.media.negotiation.local {
            return Ok(local.clone());
        }
        let is_web_rtc = object.is_a("WebRtcEndpoint");
        let seconds = self.unix_millis(self.now) / 1_000;
        let certificate = (self.fingerprint.as_str(), self.settings.media_address.as_str());
        let local = Local::draw(&mut self.draws, is_web_rtc, seconds, certificate);
        self.object_mut(id)?.media.negotiation.local = Some(local.clone());
        Ok(local)
    }
}

fn read_sdp<'a>(text: &'a str, what: &str) -> Result<Sdp<'a>, Fault> {
    let fault = |message: String| Fault::kurento(40201, "SDP_PARSE_ERROR", message);
    if text.is_empty() {
        return Err(fault(format!("Empty {what} not valid")));
    }
    Sdp::parse(text).ok_or_else(|| fault("Invalid SDP".to_owned()))
}

fn already_negotiated() -> Fault {
    Fault::kurento(40208, "SDP_END_POINT_ALREADY_NEGOTIATED", "Endpoint already negotiated")
}
