//! What the text of an object's id tells without asking anybody.
//!
//! Every id ends in `UUID_module.Type`, so whether an object is a media element can be seen before
//! a backend is asked. Source: Kurento protocol notes, section 5.

use super::request::MANAGER;
use crate::model::PipelineId;

/// Length of a UUID and the `_` behind it.
const UUID_LEN: usize = 37;

/// The module of everything that KMS comes with.
const KURENTO: &str = "kurento";

/// Types that are certainly no media elements: what holds elements, and the manager.
const NO_ELEMENTS: [&str; 7] = [
    "MediaPipeline",
    "ServerManager",
    "AlphaBlending",
    "Composite",
    "Dispatcher",
    "DispatcherOneToMany",
    "Mixer",
];

/// The type of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectType<'a> {
    /// Its module; `None` where a client left it out in a `create`.
    pub module: Option<&'a str>,
    /// Its name in that module.
    pub name: &'a str,
}

impl<'a> ObjectType<'a> {
    /// Reads `Type` or `module.Type`, as it stands in a `create`.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        match text.rsplit_once('.') {
            Some((module, name)) => Self { module: Some(module), name },
            None => Self { module: None, name: text },
        }
    }

    /// The type that `object`, an id, ends in; `None` for what cannot be the id of an object.
    #[must_use]
    pub fn of(object: &'a str) -> Option<Self> {
        if object == MANAGER {
            return Some(Self { module: Some(KURENTO), name: "ServerManager" });
        }
        PipelineId::parse(object)?;
        let last = object.rsplit('/').next().unwrap_or(object);
        last.get(UUID_LEN..).map(Self::parse)
    }

    /// Whether such an object may be a media element.
    ///
    /// Of KMS's own types these are the endpoints, the filters, `PassThrough` and `HubPort`. A type of
    /// another module, or of none that is known, is taken for one: nothing here knows better.
    #[must_use]
    pub fn may_be_element(&self) -> bool {
        if NO_ELEMENTS.contains(&self.name) {
            return false;
        }
        let is_usual = self.name.ends_with("Endpoint") || self.name.ends_with("Filter");
        self.module != Some(KURENTO) || is_usual || matches!(self.name, "PassThrough" | "HubPort")
    }

    /// Whether it is one of KMS's own hubs, whose operations take ports only.
    #[must_use]
    pub fn is_hub(&self) -> bool {
        self.may_be_kurento() && NO_ELEMENTS[2..].contains(&self.name)
    }

    /// Whether it is KMS's own type of that name.
    #[must_use]
    pub fn is_kurento(&self, name: &str) -> bool {
        self.may_be_kurento() && self.name == name
    }

    fn may_be_kurento(&self) -> bool {
        self.module.is_none_or(|module| module == KURENTO)
    }
}

/// The index of the operation whose result replaces `text` in a transaction; `None` if the text
/// stands for itself or a server refuses it.
///
/// Read as a server does: by C's rules for a number, whatever follows it. Source: Kurento protocol
/// notes, section 7; a recording shows that forms like `newref:abc` are refused.
#[must_use]
pub fn newref(text: &str) -> Option<usize> {
    let number = text.strip_prefix("newref:")?.trim_start();
    let (is_negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    let index = digits[..len].parse().ok()?;
    (!is_negative || index == 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";

    fn inside(kind: &str) -> String {
        format!("{PIPELINE}/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_{kind}")
    }

    #[test]
    fn an_id_tells_its_type() {
        let endpoint = inside("kurento.WebRtcEndpoint");
        let kind = ObjectType::of(&endpoint).unwrap();
        assert_eq!(kind, ObjectType { module: Some("kurento"), name: "WebRtcEndpoint" });
        assert_eq!(ObjectType::of(PIPELINE).unwrap().name, "MediaPipeline");
        assert_eq!(ObjectType::of(MANAGER).unwrap().name, "ServerManager");
        for text in ["", "nosuch", "newref:0", "manager_Other"] {
            assert_eq!(ObjectType::of(text), None, "{text}");
        }
        assert_eq!(ObjectType::of(&format!("{PIPELINE}/short")), None);
    }

    #[test]
    fn elements_are_told_by_their_type() {
        for kind in [
            "kurento.WebRtcEndpoint",
            "kurento.GStreamerFilter",
            "kurento.PassThrough",
            "kurento.HubPort",
            "chroma.ChromaFilter",
            "datachannelexample.KmsShowData",
        ] {
            assert!(ObjectType::of(&inside(kind)).unwrap().may_be_element(), "{kind}");
        }
        for kind in ["Composite", "AlphaBlending", "Dispatcher", "DispatcherOneToMany", "Mixer"] {
            let hub = inside(&format!("kurento.{kind}"));
            let hub = ObjectType::of(&hub).unwrap();
            assert!(!hub.may_be_element() && hub.is_hub(), "{kind}");
            assert!(!ObjectType::parse(kind).may_be_element(), "{kind} without its module");
        }
        assert!(!ObjectType::of(PIPELINE).unwrap().may_be_element());
        assert!(!ObjectType::of(MANAGER).unwrap().may_be_element());
        assert!(!ObjectType::parse("kurento.Novelty").may_be_element());
        assert!(ObjectType::parse("Novelty").may_be_element());
    }

    #[test]
    fn a_reference_is_read_as_a_server_reads_it() {
        for (text, index) in [("newref:0", 0), ("newref: +12x", 12), ("newref:-0", 0)] {
            assert_eq!(newref(text), Some(index), "{text}");
        }
        for text in ["newref:", "newref:abc", "newref:-1", "newref:99999999999999999999", "0"] {
            assert_eq!(newref(text), None, "{text}");
        }
    }
}
