//! `[[listeners]]`: where clients connect.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::backend::parse_labels;
use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{ADDR_FORM, Parsed, Texts, parse_addr};
use crate::model::Labels;

use super::origin::OriginSettings;
use crate::policy::access::Isolation;
use crate::policy::guard::{Policy, Rules};
use crate::protocol::loss::OnLoss;

/// Longest listener path, in bytes.
const PATH_MAX_LEN: usize = 256;

/// What [`parse_path`] expects.
pub(super) const PATH_FORM: &str =
    "a path that begins with / and does not end with it, like \"/kurento\"";

/// One address that clients connect to: an entry of `[[listeners]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    /// The address to bind.
    pub addr: SocketAddr,
    /// The path of the WebSocket URL, without a trailing `/`; a meeting may follow it.
    pub path: String,
    /// The protocol clients speak here.
    pub dialect: Dialect,
    /// Certificate and key; `None` for plain `ws://`.
    pub tls: Option<TlsFiles>,
    /// How far its connections are kept apart, if not as its address asks for.
    isolation: Option<Isolation>,
    /// What clients may ask.
    pub policy: Policy,
    /// How the address and the place of its clients are found.
    pub origin: OriginSettings,
    /// Labels that the backends of their meetings must have.
    pub require: Labels,
    /// What its clients see when they have lost all that they had.
    pub on_loss: OnLoss,
}

impl ListenerSettings {
    /// What holds for its clients.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            isolation: self.isolation(),
            policy: self.policy.clone(),
            trusts_client_place: self.origin.trusts_client_place,
            require: self.require.clone(),
            on_loss: self.on_loss,
        }
    }

    fn isolation(&self) -> Isolation {
        self.isolation.unwrap_or_else(|| self.default_isolation())
    }

    fn default_isolation(&self) -> Isolation {
        Isolation::by_default(!self.addr.ip().is_loopback())
    }
}

/// The protocol that clients of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Kurento protocol itself.
    Kurento,
}

/// The files a listener speaks TLS with; absolute paths if the settings were read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain in PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl Section for ListenerSettings {
    fn example() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8888)),
            path: "/kurento".to_owned(),
            dialect: Dialect::Kurento,
            tls: None,
            isolation: None,
            policy: Policy::default(),
            origin: OriginSettings::example(),
            require: Labels::default(),
            on_loss: OnLoss::default(),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "addr",
            &mut Parsed::new(&mut self.addr, parse_addr),
            Kind::Text(ADDR_FORM),
            "Address to bind; 0.0.0.0 or [::] for every interface.",
        );
        keys.value(
            "path",
            &mut Parsed::new(&mut self.path, parse_path),
            Kind::Text(PATH_FORM),
            "Path of the WebSocket URL. Clients may add the name of a meeting: /kurento/standup. \
             Any other path is answered with HTTP 404.",
        );
        keys.choice(
            "dialect",
            &mut self.dialect,
            &[("kurento", Dialect::Kurento)],
            "The protocol that clients speak here.",
        );
        keys.optional(
            "tls",
            "Speak wss:// with this certificate; ws:// without. Relative paths start at the \
             directory of this file.",
            &mut self.tls,
        );
        self.rules_keys(keys);
        self.origin.keys(keys);
    }
}

impl ListenerSettings {
    fn rules_keys(&mut self, keys: &mut impl Keys) {
        let mut isolation = self.isolation();
        keys.choice(
            "isolation",
            &mut isolation,
            &[
                ("open", Isolation::Open),
                ("meeting", Isolation::Meeting),
                ("session", Isolation::Session),
            ],
            "What a connection may touch: \"open\" every object by its id, as a bare server; \
             \"meeting\" what it made, and the pipelines of meetings that it named; \"session\" what it \
             made. If left out, \"open\" on a loopback address and \"meeting\" on any other.",
        );
        self.isolation = (isolation != self.default_isolation()).then_some(isolation);
        let rows = |policy: &Policy| policy.rows().collect();
        keys.value(
            "policy",
            &mut Texts::new(&mut self.policy, parse_policy, rows),
            Kind::Texts("rows like \"deny create PlayerEndpoint uri=file:///\""),
            "What clients may ask, a table: ACTION METHOD [TYPE [OPERATION or EVENT]] [uri=PATTERN], * \
             for any. The first row that fits decides; what none fits is allowed. The rows shown here \
             stand below yours in any case; to lift one, allow before it what it denies.",
        );
        keys.value(
            "require",
            &mut Texts::new(&mut self.require, parse_labels, |labels| labels.rows().collect()),
            Kind::Texts("labels like \"region=eu\""),
            "Labels that the backends of its clients' meetings must have, besides those that a client \
             requires. A client of a meeting that is on another backend is refused.",
        );
        keys.choice(
            "on_backend_loss",
            &mut self.on_loss,
            &[("errors", OnLoss::Errors), ("close", OnLoss::Close)],
            "What a client sees that has nothing left on any backend, as one was lost or a drain has \
             let its meeting go: \"errors\" for what it asks; \"close\" closes its connection too, \
             with code 1012, or 1013 while no backend takes meetings.",
        );
    }
}

fn parse_policy(rows: &[String]) -> Result<Policy, Mismatch> {
    Policy::parse(rows).map_err(|error| Mismatch::Because(error.to_string()))
}

impl Section for TlsFiles {
    fn example() -> Self {
        Self { cert: "cert.pem".into(), key: "key.pem".into() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        let form = || Kind::Text("the path of a PEM file");
        let cert = &mut Parsed::path(&mut self.cert);
        keys.required("cert", cert, form(), "Certificate chain in PEM, the server's own first.");
        let key = &mut Parsed::path(&mut self.key);
        keys.required("key", key, form(), "Private key of the first certificate, in PEM.");
    }
}

/// Reads a URL path that can be compared with a request's, byte by byte.
pub(super) fn parse_path(text: &str) -> Result<String, Mismatch> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%');
    let is_path = text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text.len() <= PATH_MAX_LEN
        && text.bytes().all(is_plain);
    if is_path { Ok(text.to_owned()) } else { Err(Mismatch::Kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, dump, parse};

    /// The only listener of a config, with these keys.
    fn listener(keys: &str) -> Result<ListenerSettings, Vec<String>> {
        let backends = "[[backends]]\nid = \"a\"\nurl = \"ws://10.0.0.5\"\n";
        let read = parse(&format!("[[listeners]]\n{keys}\n{backends}"));
        let read = read.map(|mut settings| settings.listeners.remove(0));
        read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn meetings_are_kept_apart_where_other_machines_connect_unless_the_file_says_else() {
        for (addr, more, expected) in [
            ("127.0.0.1:1", "", Isolation::Open),
            ("[::1]:1", "", Isolation::Open),
            ("0.0.0.0:1", "", Isolation::Meeting),
            ("[::]:1", "", Isolation::Meeting),
            ("10.0.0.5:1", "", Isolation::Meeting),
            ("10.0.0.5:1", "isolation = \"open\"", Isolation::Open),
            ("127.0.0.1:1", "isolation = \"session\"", Isolation::Session),
        ] {
            let listener = listener(&format!("addr = \"{addr}\"\n{more}")).unwrap();
            assert_eq!(listener.rules().isolation, expected, "{addr} {more}");
        }
    }

    #[test]
    fn a_policy_is_dumped_as_it_is_in_force() {
        let keys = "addr = \"127.0.0.1:1\"\npolicy = [\"allow  create GStreamerFilter\"]";
        let rows: Vec<String> = listener(keys).unwrap().policy.rows().collect();
        assert_eq!(rows[..2], ["allow create GStreamerFilter", "deny  create GStreamerFilter"]);
        let mut settings = Settings::example();
        settings.listeners[0] = listener(keys).unwrap();
        let dumped = dump(&settings);
        let rows = "policy = [\n  \"allow create GStreamerFilter\",\n  \"deny  create GStr";
        assert!(dumped.contains(rows), "{dumped}");
        assert_eq!(parse(&dumped), Ok(settings));
    }

    #[test]
    fn a_row_that_is_none_is_told_with_its_number() {
        let mistakes = listener("addr = \"127.0.0.1:1\"\npolicy = [\"allow *\", \"drop create\"]");
        assert_eq!(
            mistakes.unwrap_err(),
            [
                "<config>:3:10: listeners[0].policy: found an array, expected rows like \"deny create \
              PlayerEndpoint uri=file:///\" (row 2: expected allow or deny, found \"drop\")"
            ]
        );
        let mistakes = listener("addr = \"127.0.0.1:1\"\npolicy = [5]").unwrap_err();
        assert!(mistakes[0].contains("expected rows like"), "{mistakes:?}");
    }

    #[test]
    fn a_path_is_one_that_requests_can_equal() {
        assert_eq!(parse_path("/kurento"), Ok("/kurento".to_owned()));
        assert_eq!(parse_path("/a/b"), Ok("/a/b".to_owned()));
        for text in ["", "/", "kurento", "/k/", "/a//b", "/a?b", "/a#b", "/a%20", "/a b", "/é"] {
            assert!(parse_path(text).is_err(), "{text}");
        }
        assert!(parse_path(&format!("/{}", "a".repeat(PATH_MAX_LEN))).is_err());
    }
}
