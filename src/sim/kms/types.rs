//! The types of objects: what creates them, what they derive from, their events.
//!
//! Source: the module descriptions (`*.kmd.json`) of core, elements and filters, Kurento 7.3.

/// What an object of a type hangs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// Nothing: it is a root.
    Nothing,
    /// A media pipeline, named by the constructor parameter `mediaPipeline`.
    Pipeline,
    /// A hub, named by the constructor parameter `hub`.
    Hub,
}

/// One type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its name without the module.
    pub(super) name: &'static str,
    /// Its ancestors, nearest first.
    pub(super) bases: &'static [&'static str],
    /// Its place in the tree of objects.
    pub(super) under: Under,
    /// Constructor parameters needed besides the parent, all strings.
    pub(super) needs: &'static [&'static str],
}

impl Kind {
    /// Whether an object of this type is also a `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name || self.bases.contains(&name)
    }

    /// Whether objects of this type send events called `event`.
    pub(super) fn has_event(&self, event: &str) -> bool {
        EVENTS.iter().any(|(kind, events)| self.is(kind) && events.contains(&event))
    }
}

/// The type with this name, with or without the prefix `kurento.`; none for abstract ones.
pub(super) fn creatable(name: &str) -> Option<&'static Kind> {
    let name = name.strip_prefix("kurento.").unwrap_or(name);
    KINDS.iter().find(|kind| kind.name == name)
}

/// The type of the one manager.
pub(super) const MANAGER: Kind =
    Kind { name: "ServerManager", bases: &["MediaObject"], under: Under::Nothing, needs: &[] };

/// The modules of a server with the types that each can create.
pub(super) const MODULES: &[(&str, &[&str])] = &[
    ("core", &["HubPort", "MediaPipeline", "PassThrough"]),
    (
        "elements",
        &[
            "AlphaBlending",
            "Composite",
            "Dispatcher",
            "DispatcherOneToMany",
            "HttpPostEndpoint",
            "Mixer",
            "PlayerEndpoint",
            "RecorderEndpoint",
            "RtpEndpoint",
            "WebRtcEndpoint",
        ],
    ),
    ("filters", &["FaceOverlayFilter", "GStreamerFilter", "ImageOverlayFilter", "ZBarFilter"]),
];

const ELEMENT: &[&str] = &["MediaElement", "MediaObject"];
const HUB: &[&str] = &["Hub", "MediaObject"];
const FILTER: &[&str] = &["Filter", "MediaElement", "MediaObject"];
const URI: &[&str] = &["UriEndpoint", "Endpoint", "MediaElement", "MediaObject"];
const HTTP: &[&str] =
    &["HttpEndpoint", "SessionEndpoint", "Endpoint", "MediaElement", "MediaObject"];
const RTP: &[&str] = &[
    "BaseRtpEndpoint",
    "SdpEndpoint",
    "SessionEndpoint",
    "Endpoint",
    "MediaElement",
    "MediaObject",
];

const fn kind(name: &'static str, bases: &'static [&'static str]) -> Kind {
    Kind { name, bases, under: Under::Pipeline, needs: &[] }
}

const KINDS: &[Kind] = &[
    Kind { name: "MediaPipeline", bases: &["MediaObject"], under: Under::Nothing, needs: &[] },
    Kind { name: "HubPort", bases: ELEMENT, under: Under::Hub, needs: &[] },
    kind("PassThrough", ELEMENT),
    kind("AlphaBlending", HUB),
    kind("Composite", HUB),
    kind("Dispatcher", HUB),
    kind("DispatcherOneToMany", HUB),
    kind("Mixer", HUB),
    kind("HttpPostEndpoint", HTTP),
    Kind { name: "PlayerEndpoint", bases: URI, under: Under::Pipeline, needs: &["uri"] },
    Kind { name: "RecorderEndpoint", bases: URI, under: Under::Pipeline, needs: &["uri"] },
    kind("RtpEndpoint", RTP),
    kind("WebRtcEndpoint", RTP),
    kind("FaceOverlayFilter", FILTER),
    Kind { name: "GStreamerFilter", bases: FILTER, under: Under::Pipeline, needs: &["command"] },
    kind("ImageOverlayFilter", FILTER),
    kind("ZBarFilter", FILTER),
];

const EVENTS: &[(&str, &[&str])] = &[
    ("MediaObject", &["Error"]),
    ("ServerManager", &["ObjectCreated", "ObjectDestroyed"]),
    (
        "MediaElement",
        &[
            "ElementConnected",
            "ElementDisconnected",
            "MediaFlowInStateChanged",
            "MediaFlowOutStateChanged",
            "MediaTranscodingStateChanged",
        ],
    ),
    ("SessionEndpoint", &["MediaSessionStarted", "MediaSessionTerminated"]),
    ("BaseRtpEndpoint", &["ConnectionStateChanged", "MediaStateChanged"]),
    ("RtpEndpoint", &["OnKeySoftLimit"]),
    (
        "WebRtcEndpoint",
        &[
            "DataChannelClosed",
            "DataChannelOpened",
            "IceCandidateFound",
            "IceComponentStateChanged",
            "IceGatheringDone",
            "NewCandidatePairSelected",
        ],
    ),
    ("UriEndpoint", &["UriEndpointStateChanged"]),
    ("PlayerEndpoint", &["EndOfStream"]),
    ("RecorderEndpoint", &["Paused", "Recording", "Stopped"]),
    ("HttpPostEndpoint", &["EndOfStream"]),
    ("ZBarFilter", &["CodeFound"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_a_module_can_be_created_and_no_other() {
        let names: Vec<_> = MODULES.iter().flat_map(|(_, names)| names.iter()).collect();
        assert!(names.iter().all(|name| creatable(name).is_some()));
        assert_eq!(names.len(), KINDS.len());
        assert!(creatable("MediaElement").is_none() && creatable("ServerManager").is_none());
        assert!(creatable("kurento.MediaPipeline").is_some());
    }

    #[test]
    fn events_are_inherited() {
        let webrtc = creatable("WebRtcEndpoint").expect("known");
        assert!(webrtc.has_event("IceCandidateFound") && webrtc.has_event("ElementConnected"));
        assert!(!webrtc.has_event("ObjectCreated") && MANAGER.has_event("ObjectCreated"));
    }
}
