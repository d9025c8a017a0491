//! The calls that set up media, one method each.

use serde_json::{Value, json};

use super::calls::CallError;
use super::client::Client;

/// An offer as a browser makes it, with one audio and one video stream, both ways.
pub const OFFER_SDP: &str = "v=0\r\n\
    o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:4ZcD\r\n\
    a=ice-pwd:2/1muCWoOi3uLifh0NuRHlmB\r\n\
    a=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:21:3D:A2:E3:53:7B:6F:30:\
    86:F2:30:AA:65:FB:04:24\r\n\
    a=setup:actpass\r\n\
    a=mid:0\r\n\
    a=sendrecv\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:4ZcD\r\n\
    a=ice-pwd:2/1muCWoOi3uLifh0NuRHlmB\r\n\
    a=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:21:3D:A2:E3:53:7B:6F:30:\
    86:F2:30:AA:65:FB:04:24\r\n\
    a=setup:actpass\r\n\
    a=mid:1\r\n\
    a=sendrecv\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\n\
    a=rtcp-fb:96 nack\r\n\
    a=rtcp-fb:96 nack pli\r\n";

/// All fail as [`Client::call`] does, and with [`CallError::Form`] if the answer lacks its value.
impl Client {
    /// Asks for a sign of life.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn ping(&self) -> Result<(), CallError> {
        let value = value_text(&self.call("ping", json!({})).await?)?;
        if value == "pong" { Ok(()) } else { Err(CallError::Form("value")) }
    }

    /// Creates a `MediaPipeline`, in `meeting` if one is named, and gives its id.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn create_pipeline(&self, meeting: Option<&str>) -> Result<String, CallError> {
        let properties = match meeting {
            Some(meeting) => json!({"meeting": meeting}),
            None => json!({}),
        };
        let params = json!({"type": "MediaPipeline", "properties": properties});
        value_text(&self.call("create", params).await?)
    }

    /// Creates a `WebRtcEndpoint` in `pipeline` and gives its id.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn create_endpoint(&self, pipeline: &str) -> Result<String, CallError> {
        let constructor = json!({"mediaPipeline": pipeline});
        let params = json!({"type": "WebRtcEndpoint", "constructorParams": constructor});
        value_text(&self.call("create", params).await?)
    }

    /// Calls `operation` of `object` and gives its value, null for operations without one.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn invoke(
        &self,
        object: &str,
        operation: &str,
        operation_params: Value,
    ) -> Result<Value, CallError> {
        let params = json!({
            "object": object,
            "operation": operation,
            "operationParams": operation_params,
        });
        let mut result = self.call("invoke", params).await?;
        Ok(result.get_mut("value").map(Value::take).unwrap_or_default())
    }

    /// Sends the media of element `source` to element `sink`.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn connect_elements(&self, source: &str, sink: &str) -> Result<(), CallError> {
        self.invoke(source, "connect", json!({"sink": sink})).await.map(drop)
    }

    /// Gives `endpoint` an SDP `offer` and returns the SDP answer.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn process_offer(&self, endpoint: &str, offer: &str) -> Result<String, CallError> {
        let answer = self.invoke(endpoint, "processOffer", json!({"offer": offer})).await?;
        text(&answer)
    }

    /// Makes `endpoint` look for its candidates, which come as `IceCandidateFound`.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn gather_candidates(&self, endpoint: &str) -> Result<(), CallError> {
        self.invoke(endpoint, "gatherCandidates", json!({})).await.map(drop)
    }

    /// Tells `endpoint` a candidate of its peer, given as one line of SDP.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn add_candidate(&self, endpoint: &str, candidate: &str) -> Result<(), CallError> {
        let candidate = json!({
            "__module__": "kurento",
            "__type__": "IceCandidate",
            "candidate": candidate,
            "sdpMid": "0",
            "sdpMLineIndex": 0,
        });
        self.invoke(endpoint, "addIceCandidate", json!({"candidate": candidate})).await.map(drop)
    }

    /// Subscribes to events of `kind` on `object` and gives the subscription's id.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn subscribe(&self, object: &str, kind: &str) -> Result<String, CallError> {
        let params = json!({"object": object, "type": kind});
        value_text(&self.call("subscribe", params).await?)
    }

    /// Destroys `object` and all under it.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn release(&self, object: &str) -> Result<(), CallError> {
        self.call("release", json!({"object": object})).await.map(drop)
    }
}

fn value_text(result: &Value) -> Result<String, CallError> {
    text(result.get("value").unwrap_or(&Value::Null))
}

fn text(value: &Value) -> Result<String, CallError> {
    value.as_str().map(str::to_owned).ok_or(CallError::Form("value"))
}
