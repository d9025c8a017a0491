//! Operations that connect elements.

use serde_json::{Value, json};

use super::Op;
use crate::sim::kms::Kms;
use crate::sim::kms::methods::Outcome;
use crate::sim::kms::objects::pipeline_of;
use crate::sim::kms::wire::Fault;

/// The kinds of media. `connect` without `mediaType` is for all of them.
const MEDIA: &[&str] = &["AUDIO", "VIDEO", "DATA"];

impl Kms {
    pub(super) fn element_operation(&mut self, op: &Op<'_>) -> Option<Outcome> {
        if !op.kind.is("MediaElement") {
            return None;
        }
        match op.name {
            "connect" => Some(self.connect_elements(op)),
            "disconnect" => Some(self.disconnect_elements(op)),
            "getSinkConnections" => Some(self.connections(op, Side::Sinks)),
            "getSourceConnections" => Some(self.connections(op, Side::Sources)),
            "isMediaFlowingIn" => {
                Some(Ok(json!(self.objects.links.keys().any(|(to, _)| to == op.id))))
            }
            "isMediaFlowingOut" => {
                Some(Ok(json!(self.objects.links.values().any(|from| from == op.id))))
            }
            _ => None,
        }
    }

    fn connect_elements(&mut self, op: &Op<'_>) -> Outcome {
        let (sink, media) = self.sink_and_media(op)?;
        if pipeline_of(&sink) != pipeline_of(op.id) {
            let message = "Media elements do not share pipeline";
            return Err(Fault::kurento(40004, "CONNECT_ERROR", message));
        }
        for media in media {
            let link = (sink.clone(), media);
            let former = self.objects.links.insert(link, op.id.to_owned());
            if former.as_deref() == Some(op.id) {
                continue;
            }
            if let Some(former) = former {
                self.emit_link(&former, &sink, media, "ElementDisconnected");
            }
            self.emit_link(op.id, &sink, media, "ElementConnected");
        }
        Ok(Value::Null)
    }

    fn disconnect_elements(&mut self, op: &Op<'_>) -> Outcome {
        let (sink, media) = self.sink_and_media(op)?;
        for media in media {
            let link = (sink.clone(), media);
            if self.objects.links.get(&link).is_some_and(|source| source == op.id) {
                self.objects.links.remove(&link);
                self.emit_link(op.id, &sink, media, "ElementDisconnected");
            }
        }
        Ok(Value::Null)
    }

    fn sink_and_media(&self, op: &Op<'_>) -> Result<(String, Vec<&'static str>), Fault> {
        let sink = op.text("sink")?;
        let found = self.objects.find(&sink).ok_or_else(|| Fault::object(&sink))?;
        if !found.kind.is("MediaElement") {
            return Err(Fault::unexpected("bad_weak_ptr"));
        }
        Ok((sink, media_arg(op)?))
    }

    fn connections(&self, op: &Op<'_>, side: Side) -> Outcome {
        let media = media_arg(op)?;
        let links = self.objects.links.iter().filter(|((sink, kind), source)| {
            media.contains(kind)
                && match side {
                    Side::Sinks => *source == op.id,
                    Side::Sources => sink == op.id,
                }
        });
        let found = links.map(|((sink, kind), source)| {
            json!({
                "__module__": "kurento", "__type__": "ElementConnectionData",
                "sink": sink, "sinkDescription": "default",
                "source": source, "sourceDescription": "default", "type": kind,
            })
        });
        Ok(found.collect())
    }

    fn emit_link(&mut self, source: &str, sink: &str, media: &str, event: &str) {
        let data = json!({
            "mediaType": media, "sink": sink,
            "sinkMediaDescription": "default", "sourceMediaDescription": "default",
        });
        self.emit(source, event, data);
    }
}

/// Which end of its links an element asks for.
#[derive(Clone, Copy)]
enum Side {
    Sinks,
    Sources,
}

fn media_arg(op: &Op<'_>) -> Result<Vec<&'static str>, Fault> {
    if op.arg("mediaType").is_none() {
        return Ok(MEDIA.to_vec());
    }
    let wanted = op.text("mediaType")?;
    let known = MEDIA.iter().find(|media| **media == wanted);
    known.map(|media| vec![*media]).ok_or_else(|| Fault::marshal("Invalid value for 'MediaType'"))
}
