//! Frames of a client that means harm: what real clients once sent, with other objects in it; what a
//! grammar makes of the protocol's words; and either of them damaged.

use std::path::Path;

use pinfold::model::Draws;
use pinfold::protocol::object::ObjectType;
use serde_json::{Map, Value, json};

const MANAGER: &str = "manager_ServerManager";

/// Those that act on objects first.
const METHODS: [&str; 13] = [
    "create",
    "invoke",
    "invoke",
    "invoke",
    "describe",
    "subscribe",
    "unsubscribe",
    "ref",
    "transaction",
    "transaction",
    "connect",
    "ping",
    "keepAlive",
];

/// Drawn seldom: after them little is left to be hurt.
const DESTRUCTIVE: [&str; 5] = ["release", "unref", "closeSession", "", "onEvent"];

const TYPES: [&str; 14] = [
    "MediaPipeline",
    "kurento.MediaPipeline",
    "WebRtcEndpoint",
    "PassThrough",
    "PlayerEndpoint",
    "RecorderEndpoint",
    "GStreamerFilter",
    "kurento.GStreamerFilter",
    "Composite",
    "Dispatcher",
    "HubPort",
    "ServerManager",
    "newref:0",
    "NoSuch",
];

const OPERATIONS: [&str; 20] = [
    "connect",
    "connect",
    "disconnect",
    "setSource",
    "getName",
    "setName",
    "addTag",
    "getTag",
    "getMediaPipeline",
    "getChildren",
    "getStats",
    "stopAndWait",
    "record",
    "play",
    "generateOffer",
    "processOffer",
    "addIceCandidate",
    "dumpGstreamerDot",
    "setElementProperty",
    "newref:0",
];

const MEMBERS: [&str; 12] = [
    "sink",
    "source",
    "mediaPipeline",
    "hub",
    "uri",
    "command",
    "key",
    "value",
    "name",
    "mediaType",
    "candidate",
    "offer",
];

const TEXTS: [&str; 8] = [
    "connect",
    "manager_ServerManager",
    "newref:0",
    "newref:1",
    "newref: +2x",
    "file:///etc/passwd",
    "VIDEO",
    "é\"\\\u{1f600}",
];

/// Deepest value that the grammar makes. Deeper ones come by damage.
const DEPTH_MAX: usize = 3;

/// A stream of frames that its seed decides.
pub(super) struct Frames {
    draws: Draws,
    recorded: Vec<String>,
    /// Objects of the client itself, of others, and of nobody.
    objects: Vec<String>,
    /// How many of them, the first, are the client's own.
    own: usize,
    session: String,
    /// Sessions of others, and one of nobody.
    foreign: Vec<String>,
    last_id: u64,
}

impl Frames {
    pub(super) fn seeded(seed: u64, recorded: Vec<String>, mut foreign: Vec<String>) -> Self {
        let (objects, session) = (Vec::new(), String::new());
        foreign.push("forged-session-42".to_owned());
        let (draws, last_id) = (Draws::seeded(seed), 1_000_000);
        Self { draws, recorded, objects, own: 0, session, foreign, last_id }
    }

    /// What the frames are about from now on.
    pub(super) fn aim_at(&mut self, own: &[String], others: &[String], session: &str) {
        self.objects = [own, others].concat();
        self.own = own.len();
        session.clone_into(&mut self.session);
    }

    /// Every recorded frame, aimed, in the order of the recordings.
    pub(super) fn all_recorded(&mut self) -> Vec<String> {
        let recorded = self.recorded.clone();
        recorded.iter().map(|text| self.aimed(text)).collect()
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> String {
        let text = match self.draws.below(15) {
            0..3 => {
                let recorded = self.pick(&self.recorded.clone()).clone();
                self.aimed(&recorded)
            }
            3 => self.lethal().to_string(),
            _ => self.request().to_string(),
        };
        match self.draws.below(4) {
            0 => self.damaged(&text),
            _ => text,
        }
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.draws.below(from.len())]
    }

    fn object(&mut self) -> String {
        self.objects[self.draws.below(self.objects.len())].clone()
    }

    /// A recorded frame with objects that exist in place of those that did, and with this session.
    fn aimed(&mut self, text: &str) -> String {
        let pieces: Vec<String> = text.split('"').map(|piece| self.aimed_piece(piece)).collect();
        let text = pieces.join("\"");
        let Ok(mut value) = serde_json::from_str::<Value>(&text) else { return text };
        if value["params"]["operation"] == "getUsedCpu" {
            value["params"]["operationParams"] = json!({"interval": 1});
        }
        let Some(session) = value.pointer_mut("/params/sessionId") else { return text };
        *session = self.session.as_str().into();
        value.to_string()
    }

    /// An object of the same type where there is one.
    fn aimed_piece(&mut self, piece: &str) -> String {
        let Some(kind) = ObjectType::of(piece) else { return piece.to_owned() };
        let object =
            (0..8).map(|_| self.object()).find(|object| ObjectType::of(object) == Some(kind));
        object.unwrap_or_else(|| self.object())
    }

    /// A call that ends a bare server: an element of the client's own is connected to what is none, in
    /// plain words or by way of a result.
    fn lethal(&mut self) -> Value {
        let is_element = |object: &&String| ObjectType::of(object).unwrap().may_be_element();
        let (elements, others): (Vec<_>, Vec<_>) =
            self.objects[..self.own].iter().partition(is_element);
        let element = elements[self.draws.below(elements.len())].as_str();
        let target = others.get(self.draws.below(others.len() + 1)).map_or(MANAGER, |t| t.as_str());
        let invoke = |operation: &str, params: Value| {
            (
                "invoke",
                json!({"object": element, "operation": operation, "operationParams": params}),
            )
        };
        let connect = |sink: &str| invoke("connect", json!({"sink": sink}));
        let new = ("create", json!({"type": "MediaPipeline"}));
        let calls = match self.draws.below(5) {
            0 | 1 => vec![connect(target)],
            2 => vec![invoke("getName", json!({})), connect(target)],
            3 => vec![new, connect("newref:0")],
            _ => vec![
                invoke("addTag", json!({"key": "k", "value": target})),
                invoke("getTag", json!({"key": "k"})),
                connect("newref:1"),
            ],
        };
        self.last_id += 1;
        if let [(method, params)] = &calls[..] {
            return json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        }
        let operation = |(id, (method, params)): (usize, &(&str, Value))| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let operations: Value = calls.iter().enumerate().map(operation).collect();
        json!({"jsonrpc": "2.0", "id": self.last_id, "method": "transaction",
            "params": {"operations": operations}})
    }

    fn request(&mut self) -> Value {
        self.last_id += 1;
        let method = self.method(METHODS.len());
        let mut params = self.params(method);
        if method == "transaction" {
            params["operations"] = (0..self.draws.below(6)).map(|at| self.operation(at)).collect();
        }
        match self.draws.below(16) {
            0 => params["sessionId"] = self.session.as_str().into(),
            1 => params["sessionId"] = self.pick(&self.foreign.clone()).as_str().into(),
            _ => {}
        }
        json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
    }

    fn operation(&mut self, at: usize) -> Value {
        let method = self.method(METHODS.len() - 3);
        let mut params = self.params(method);
        if self.draws.below(2) == 0 && at > 0 {
            params["object"] = format!("newref:{}", self.draws.below(at)).into();
        }
        let id = if self.draws.below(20) == 0 { 7 } else { at };
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// One of the first `count` methods, or something that destroys.
    fn method(&mut self, count: usize) -> &'static str {
        let from = if self.draws.below(60) == 0 { &DESTRUCTIVE[..] } else { &METHODS[..count] };
        self.pick::<&str>(from)
    }

    fn params(&mut self, method: &str) -> Value {
        match method {
            "create" => json!({"type": self.pick(&TYPES), "constructorParams": self.members()}),
            "invoke" => json!({"object": self.object(), "operation": self.pick(&OPERATIONS),
                "operationParams": self.members()}),
            "subscribe" => json!({"object": self.object(), "type": "Error"}),
            "closeSession" => json!({"sessionId": self.session, "release": true}),
            _ => json!({"object": self.object(), "subscription": "made up"}),
        }
    }

    fn members(&mut self) -> Value {
        // What most calls want; others ignore it.
        let wanted =
            ["mediaPipeline", "sink", "source"].map(|name| (name.to_owned(), self.value(0)));
        let mut members = Map::from_iter(wanted);
        for _ in 0..self.draws.below(4) {
            let name = *self.pick(&MEMBERS);
            members.insert(name.to_owned(), self.value(0));
        }
        Value::Object(members)
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.draws.below(if depth < DEPTH_MAX { 10 } else { 8 }) {
            0..=3 => self.object().into(),
            4 | 5 => (*self.pick(&TEXTS)).into(),
            6 => self.draws.below(1_000).into(),
            7 => Value::Null,
            8 => (0..self.draws.below(3)).map(|_| self.value(depth + 1)).collect(),
            _ => json!({ *self.pick(&MEMBERS): self.value(depth + 1) }),
        }
    }

    /// `text` with one thing wrong with it, or one thing written in another way.
    fn damaged(&mut self, text: &str) -> String {
        let at = text.floor_char_boundary(self.draws.below(text.len()));
        let to = text.ceil_char_boundary((at + 1 + self.draws.below(12)).min(text.len()));
        match self.draws.below(9) {
            0 => format!("{}{}", &text[..at], &text[to..]),
            1 => format!("{}{}{}", &text[..to], &text[at..to], &text[to..]),
            2 => text[..at].to_owned(),
            3 => format!(
                "{}{}{}",
                &text[..at],
                self.pick(&["\"", "{", "]", ",", "\0", "9"]),
                &text[at..]
            ),
            4 => format!("[{text},{text}]"),
            5 => text.replacen("\"id\"", "\"no\"", 1),
            6 => text.replacen("\"params\":{", "\"params\":{\"object\":\"x\",", 1),
            7 => text.replacen("sink", "s\\u0069nk", 1).replace("_kurento", "\\u005fkurento"),
            _ => format!("{{\"deep\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000)),
        }
    }
}

/// What clients sent in the recordings of a real server.
pub(super) fn recorded() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms-wire");
    let mut files: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let lines = files.iter().flat_map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    });
    let is_frame = |line: &Value| {
        line["dir"] == "c2s" && line.get("op").is_none() && line.get("truncated").is_none()
    };
    lines.filter(is_frame).map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}
