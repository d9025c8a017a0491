//! Elements and what flows between them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::{Time, pipeline_of_object};

use super::fault::Fault;
use super::methods::Params;
use super::objects::Id;
use super::server::Server;
use super::webrtc::Negotiation;
use super::wire;

/// What `connect` without `mediaType` connects, in the order of the events.
const MEDIA: [&str; 3] = ["AUDIO", "VIDEO", "DATA"];

/// The media side of an object.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// What feeds this element: kind of media and sink description -> source and its description.
    sources: BTreeMap<(String, String), (Id, String)>,
    /// Whether media leaves the element, and whether it comes in.
    pub(super) sends: bool,
    pub(super) receives: bool,
    /// Whether a recorder waits for media to start.
    pub(super) awaits_media: bool,
    /// Counts `play`, `pause` and `stop`, so that the end of an earlier run is ignored.
    pub(super) run: u64,
    pub(super) started: Time,
    pub(super) negotiation: Negotiation,
}

impl Media {
    /// Whether an element is connected to feed this one.
    pub(super) fn is_fed(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The elements that feed this one's picture.
    pub(super) fn video_sources(&self) -> impl Iterator<Item = &Id> {
        let video = self.sources.iter().filter(|((kind, _), _)| kind == "VIDEO");
        video.map(|(_, (source, _))| source)
    }
}

/// Something that happens by itself, to the object of this id.
#[derive(Clone, Debug)]
pub(super) enum Later {
    /// ICE begins to check pairs of this component.
    IceChecks(Id, u8),
    /// ICE has found a pair for this component.
    IcePair(Id, u8),
    /// A player's media starts to flow, if it is still this run.
    Plays(Id, u64),
    /// A player's source cannot be read, if it is still this run.
    PlayFails(Id, u64),
    /// A player's file has ended, if it is still this run.
    Ends(Id, u64),
    /// Media of this kind has not left a player for a while, if it is still this run.
    RanDry(Id, u64, &'static str),
}

impl Server {
    /// Does what was put off.
    pub(super) fn on_later(&mut self, later: &Later) {
        let outcome = match later {
            Later::IceChecks(id, component) => self.ice_checks(id, *component),
            Later::IcePair(id, component) => self.ice_pair(id, *component),
            Later::Plays(id, run) if self.is_run(id, *run) => self.feed_from(id),
            Later::PlayFails(id, run) if self.is_run(id, *run) => self.play_fails(id),
            Later::Ends(id, run) if self.is_run(id, *run) => self.play_ends(id),
            Later::RanDry(id, run, kind) if self.is_run(id, *run) => {
                self.raise_flow(id, "MediaFlowOutStateChanged", kind, "NOT_FLOWING");
                Ok(())
            }
            Later::Plays(..) | Later::PlayFails(..) | Later::Ends(..) | Later::RanDry(..) => Ok(()),
        };
        // The object may have died meanwhile; then there is nobody to tell.
        outcome.unwrap_or_default();
    }

    /// `connect` of an element.
    pub(super) fn connect_element(&mut self, source: &Id, args: &Params) -> Result<Value, Fault> {
        let sink: Id = arg(args, "sink").into();
        if !self.object(&sink)?.is_a("MediaElement") {
            // A real KMS reads through a null pointer here.
            self.is_dead = self.settings.dies;
            return Err(Fault::bad_object());
        }
        if pipeline_of_object(source) != pipeline_of_object(&sink) {
            let message = "Media elements do not share pipeline";
            return Err(Fault::kurento(40004, "CONNECT_ERROR", message));
        }
        let (from, to) = descriptions(args);
        for kind in kinds(args) {
            let key = (kind.to_owned(), to.clone());
            let entry = (source.clone(), from.clone());
            let replaced = self.object_mut(&sink)?.media.sources.insert(key, entry.clone());
            if replaced.as_ref() == Some(&entry) {
                continue;
            }
            if let Some((old, old_from)) = replaced {
                self.raise_link("ElementDisconnected", (&old, &old_from), (&sink, &to), kind);
            }
            self.raise_link("ElementConnected", (source, &from), (&sink, &to), kind);
        }
        if self.object(source)?.media.sends {
            self.feed(&sink)?;
        }
        Ok(Value::Null)
    }

    /// `disconnect` of an element.
    pub(super) fn disconnect_element(
        &mut self,
        source: &Id,
        args: &Params,
    ) -> Result<Value, Fault> {
        let sink: Id = arg(args, "sink").into();
        if !self.object(&sink)?.is_a("MediaElement") {
            return Err(Fault::bad_object());
        }
        let (from, to) = descriptions(args);
        for kind in kinds(args) {
            let key = (kind.to_owned(), to.clone());
            let sources = &mut self.object_mut(&sink)?.media.sources;
            if sources.get(&key) == Some(&(source.clone(), from.clone())) {
                sources.remove(&key);
                self.raise_link("ElementDisconnected", (source, &from), (&sink, &to), kind);
            }
        }
        Ok(Value::Null)
    }

    fn raise_link(&mut self, event: &str, from: (&Id, &str), to: (&Id, &str), kind: &str) {
        let data = Map::from_iter([
            ("mediaType".to_owned(), kind.into()),
            ("sink".to_owned(), (&**to.0).into()),
            ("sinkMediaDescription".to_owned(), to.1.into()),
            ("sourceMediaDescription".to_owned(), from.1.into()),
        ]);
        self.raise(from.0, event, data);
    }

    /// `getSourceConnections`: what feeds `sink`.
    pub(super) fn source_connections(&self, sink: &Id, args: &Params) -> Result<Value, Fault> {
        let sources = &self.object(sink)?.media.sources;
        let wanted = sources.iter().filter(|((kind, to), _)| {
            is_wanted(args, "mediaType", kind) && is_wanted(args, "description", to)
        });
        let links =
            wanted.map(|((kind, to), (source, from))| link(kind, (source, from), (sink, to)));
        Ok(links.collect())
    }

    /// `getSinkConnections`: what `source` feeds.
    pub(super) fn sink_connections(&self, source: &Id, args: &Params) -> Result<Value, Fault> {
        self.object(source)?;
        let mut links = Vec::new();
        for (sink, object) in self.objects.in_pipeline(pipeline_of_object(source)) {
            for ((kind, to), (of, from)) in &object.media.sources {
                let fits =
                    is_wanted(args, "mediaType", kind) && is_wanted(args, "description", from);
                if of == source && fits {
                    links.push((kind, from, sink, to));
                }
            }
        }
        links.sort();
        let links = links.into_iter();
        Ok(links.map(|(kind, from, sink, to)| link(kind, (source, from), (sink, to))).collect())
    }

    /// `isMediaFlowingIn` and `isMediaFlowingOut`.
    pub(super) fn is_flowing(&self, id: &Id, direction: &str, kind: &str) -> Result<Value, Fault> {
        let media = &self.object(id)?.media;
        let flows = if direction == "in" { media.receives } else { media.sends };
        Ok((flows && kind != "DATA").into())
    }

    /// Takes a dead object out of the connections of those that live.
    pub(super) fn unplug(&mut self, dead: &Id) {
        let pipeline = pipeline_of_object(dead);
        if self.objects.get(pipeline).is_none() {
            return;
        }
        let fed = self.objects.in_pipeline(pipeline);
        let fed = fed.filter(|(_, o)| o.media.sources.values().any(|(source, _)| source == dead));
        let fed: Vec<Id> = fed.map(|(id, _)| id.clone()).collect();
        for id in &fed {
            if let Some(object) = self.objects.get_mut(id) {
                object.media.sources.retain(|_, (source, _)| source != dead);
            }
        }
    }

    /// Media leaves `id` from now on.
    pub(super) fn feed_from(&mut self, id: &Id) -> Result<(), Fault> {
        let mut waiting = vec![id.clone()];
        while let Some(source) = waiting.pop() {
            if std::mem::replace(&mut self.object_mut(&source)?.media.sends, true) {
                continue;
            }
            for kind in ["AUDIO", "VIDEO"] {
                self.raise_flow(&source, "MediaFlowOutStateChanged", kind, "FLOWING");
            }
            let sinks = self.objects.in_pipeline(pipeline_of_object(&source));
            let sinks = sinks.filter(|(_, o)| o.media.sources.values().any(|(s, _)| *s == source));
            let sinks: Vec<Id> = sinks.map(|(sink, _)| sink.clone()).collect();
            for sink in &sinks {
                waiting.extend(self.feed_one(sink)?);
            }
        }
        Ok(())
    }

    fn feed(&mut self, sink: &Id) -> Result<(), Fault> {
        self.feed_one(sink)?.map_or(Ok(()), |next| self.feed_from(&next))
    }

    /// Media comes into `sink`; gives it back if the media leaves it again on the other side.
    fn feed_one(&mut self, sink: &Id) -> Result<Option<Id>, Fault> {
        let object = self.object_mut(sink)?;
        if std::mem::replace(&mut object.media.receives, true) {
            return Ok(None);
        }
        let starts = std::mem::replace(&mut object.media.awaits_media, false);
        let passes = object.is_a("Filter") || object.is_a("PassThrough");
        for kind in ["AUDIO", "VIDEO"] {
            self.raise_flow(sink, "MediaFlowInStateChanged", kind, "FLOWING");
        }
        if starts {
            self.uri_state(sink, "START", Some("Recording"))?;
        }
        Ok(passes.then(|| sink.clone()))
    }

    pub(super) fn raise_flow(&mut self, id: &Id, event: &str, kind: &str, state: &str) {
        let data = Map::from_iter([
            ("mediaType".to_owned(), kind.into()),
            ("padName".to_owned(), "default".into()),
            ("state".to_owned(), state.into()),
        ]);
        self.raise(id, event, data);
    }
}

fn arg(args: &Params, name: &str) -> String {
    args.get(name).and_then(wire::as_text).unwrap_or_default()
}

fn descriptions(args: &Params) -> (String, String) {
    let or_default = |name| match arg(args, name) {
        text if text.is_empty() => "default".to_owned(),
        text => text,
    };
    (or_default("sourceMediaDescription"), or_default("sinkMediaDescription"))
}

/// The kinds of media that `args` speak of.
fn kinds(args: &Params) -> Vec<&'static str> {
    MEDIA.into_iter().filter(|kind| is_wanted(args, "mediaType", kind)).collect()
}

fn is_wanted(args: &Params, name: &str, value: &str) -> bool {
    args.get(name).and_then(Value::as_str).is_none_or(|wanted| wanted == value)
}

fn link(kind: &str, (source, from): (&Id, &str), (sink, to): (&Id, &str)) -> Value {
    json!({
        "__module__": "kurento",
        "__type__": "ElementConnectionData",
        "sink": &**sink,
        "sinkDescription": to,
        "source": &**source,
        "sourceDescription": from,
        "type": kind,
    })
}
