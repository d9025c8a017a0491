//! Players and recorders: endpoints that read or write media at a URI.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::media::Later;
use super::objects::Id;
use super::server::{Server, map};

/// How long a player takes until media flows. Source: measured, about 110 ms.
const PLAY_DELAY: Duration = Duration::from_millis(110);

/// Length of every file and stream that is played. Source: the recorded player's file.
const PLAY_MILLIS: u64 = 6_003;

/// From the end of a player's media until an event tells it. Source: recorded for audio, once; for
/// video the recording had not told after 1.63 s.
const DRY_AFTER: [(&str, Duration); 2] =
    [("AUDIO", Duration::from_millis(1_470)), ("VIDEO", Duration::from_millis(1_700))];

impl Server {
    /// `play`, `pause` and `stop` of a player.
    pub(super) fn player(&mut self, id: &Id, operation: &str) -> Result<Value, Fault> {
        let now = self.now;
        let object = self.object_mut(id)?;
        object.media.run += 1;
        object.media.started = now;
        let run = object.media.run;
        let uri = object.values.get("uri").and_then(Value::as_str).unwrap_or_default();
        let fails = !is_playable(uri);
        match operation {
            "play" if fails => self.do_later(PLAY_DELAY, Later::PlayFails(id.clone(), run)),
            "play" => {
                self.uri_state(id, "START", None)?;
                self.do_later(PLAY_DELAY, Later::Plays(id.clone(), run));
                let end = Duration::from_millis(PLAY_MILLIS);
                self.do_later(end, Later::Ends(id.clone(), run));
            }
            "pause" => self.uri_state(id, "PAUSE", None)?,
            _ => {
                self.uri_state(id, "STOP", None)?;
                self.stop_flow(id)?;
            }
        }
        Ok(Value::Null)
    }

    /// `record`, `pause`, `stop` and `stopAndWait` of a recorder.
    pub(super) fn recorder(&mut self, id: &Id, operation: &str) -> Result<Value, Fault> {
        let media = &mut self.object_mut(id)?.media;
        media.awaits_media = operation == "record" && !media.receives;
        let awaits_media = media.awaits_media;
        match operation {
            "record" if awaits_media => {}
            "record" => self.uri_state(id, "START", Some("Recording"))?,
            "pause" => self.uri_state(id, "PAUSE", Some("Paused"))?,
            _ => self.uri_state(id, "STOP", Some("Stopped"))?,
        }
        Ok(Value::Null)
    }

    /// What a player knows of its file: `videoInfo` and `position`.
    pub(super) fn player_value(&self, id: &Id, property: &str) -> Result<Value, Fault> {
        let object = self.object(id)?;
        let played = self.now.since(object.media.started).as_millis();
        let played = u64::try_from(played).unwrap_or(PLAY_MILLIS).min(PLAY_MILLIS);
        Ok(match property {
            "position" => played.into(),
            _ => json!({
                "__module__": "kurento",
                "__type__": "VideoInfo",
                "duration": PLAY_MILLIS,
                "isSeekable": true,
                "seekableEnd": PLAY_MILLIS,
                "seekableInit": 0,
            }),
        })
    }

    pub(super) fn is_run(&self, id: &Id, run: u64) -> bool {
        self.objects.get(id).is_some_and(|object| object.media.run == run)
    }

    pub(super) fn play_fails(&mut self, id: &Id) -> Result<(), Fault> {
        self.object(id)?;
        let data = Map::from_iter([
            ("description".to_owned(), "Invalid URI".into()),
            ("errorCode".to_owned(), 0.into()),
            ("type".to_owned(), "INVALID_URI".into()),
        ]);
        self.raise(id, "Error", data);
        Ok(())
    }

    pub(super) fn play_ends(&mut self, id: &Id) -> Result<(), Fault> {
        self.uri_state(id, "STOP", None)?;
        self.stop_flow(id)?;
        self.raise(id, "EndOfStream", Map::new());
        Ok(())
    }

    fn stop_flow(&mut self, id: &Id) -> Result<(), Fault> {
        if std::mem::replace(&mut self.object_mut(id)?.media.sends, false) {
            let run = self.object(id)?.media.run;
            for (kind, wait) in DRY_AFTER {
                self.do_later(wait, Later::RanDry(id.clone(), run, kind));
            }
        }
        Ok(())
    }

    pub(super) fn uri_state(
        &mut self,
        id: &Id,
        state: &str,
        event: Option<&str>,
    ) -> Result<(), Fault> {
        self.object_mut(id)?.values.insert("state".to_owned(), state.into());
        self.raise(id, "UriEndpointStateChanged", map("state", state));
        if let Some(event) = event {
            self.raise(id, event, Map::new());
        }
        Ok(())
    }
}

/// Whether a player can read `uri`: a scheme we know, and not the discard port, which stands for
/// every address that nobody answers at.
fn is_playable(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or(rest);
    matches!(scheme, "http" | "https" | "rtsp" | "file" | "mongodb") && !host.ends_with(":9")
}
