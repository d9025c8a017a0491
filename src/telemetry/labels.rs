//! The labels of metrics: enums, so that their number is bounded and a counter is one array index.

use std::fmt;

use crate::policy::health::Cause;

/// An enum whose variants are the values of one metric label.
pub(super) trait Label: Copy + fmt::Debug + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every variant with its value, in the order of declaration.
    const ALL: &'static [(Self, &'static str)];

    /// The position in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Declares label enums: the name of the label, then each variant with its doc and value.
macro_rules! labels {
    ($(
        $(#[$doc:meta])*
        $name:ident = $label:literal {
            $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)+
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $value),)+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// Between whom a frame passed, seen from the edge.
    Direction = "direction" {
        /// From a client.
        ClientIn = "client_in",
        /// To a client.
        ClientOut = "client_out",
        /// From a backend.
        BackendIn = "backend_in",
        /// To a backend.
        BackendOut = "backend_out",
    }

    /// What became of a reload of the config.
    ReloadOutcome = "outcome" {
        /// It has changed something.
        Applied = "applied",
        /// There was nothing to change.
        Unchanged = "unchanged",
        /// There was a mistake, and nothing was changed.
        Refused = "refused",
    }

    /// Why a connection did not become a session.
    HandshakeRejection = "reason" {
        /// No such path: HTTP 404.
        Path = "path",
        /// No request for a WebSocket, or for another version of it: 426.
        NotUpgrade = "not_upgrade",
        /// An upgrade that is malformed or of another version: 400.
        Malformed = "malformed",
        /// A meeting or hint in the URL that is none: 400.
        Meeting = "meeting",
        /// TLS failed.
        Tls = "tls",
        /// No PROXY header where each connection must begin with one, or from who is not trusted.
        Proxy = "proxy",
        /// Too slow.
        Timeout = "timeout",
        /// The socket broke.
        Io = "io",
    }

    /// Who knew the place of an address.
    GeoipOutcome = "outcome" {
        /// An override of the config file.
        Override = "override",
        /// A database.
        Database = "database",
        /// Nobody.
        Unknown = "unknown",
    }

    /// Who named a backend.
    SourceLabel = "source" {
        /// The config file.
        Config = "config",
        /// The admin API.
        Api = "api",
        /// A file that is watched.
        File = "file",
        /// A name that is looked up.
        Dns = "dns",
        /// The backend itself.
        Registrar = "registrar",
        /// A process before, for one that was leaving.
        Past = "past",
    }

    /// What failed to tell of backends.
    DiscoverySource = "source" {
        /// A file that is watched.
        File = "file",
        /// A name that is looked up.
        Dns = "dns",
        /// A server that may not register.
        Registrar = "registrar",
    }

    /// Why a link could not be opened, or ended other than by us.
    LinkFailure = "reason" {
        /// No connection: refused, unreachable, no such host.
        Dial = "dial",
        /// Connected, but no WebSocket handshake.
        Handshake = "handshake",
        /// Too slow.
        Timeout = "timeout",
        /// The backend closed it.
        Closed = "closed",
        /// The socket broke.
        Io = "io",
        /// The backend broke the WebSocket protocol.
        Protocol = "protocol",
        /// The backend sent a message over `limits.backend_message_max_bytes`.
        TooLong = "too_long",
    }

    /// Which requests the edge answered without a backend.
    LocalAnswer = "reason" {
        /// `ping`.
        Ping = "ping",
        /// `connect` without a session, or with that of the same client.
        Connect = "connect",
        /// `describe` of the manager.
        Describe = "describe",
        /// `getInfo` and other properties of the manager.
        Info = "info",
        /// `closeSession`.
        CloseSession = "close_session",
        /// Anything else.
        Other = "other",
    }

    /// The kind of an error that the edge itself sent to a client.
    ErrorClass = "class" {
        /// -32700: not JSON.
        Parse = "parse",
        /// -32600: no request that can be routed, or too long.
        Request = "request",
        /// -32601: no such method.
        Method = "method",
        /// -32602: parameters that do not make sense.
        Params = "params",
        /// 40007: no such session.
        Session = "session",
        /// 40009: no backend has a place.
        Resources = "resources",
        /// 40101: no such object.
        Object = "object",
        /// 40111: the listener's policy does not allow it.
        Policy = "policy",
        /// Any other code.
        Other = "other",
    }

    /// How a meeting got its backend, or why not.
    ChoiceReason = "reason" {
        /// A new meeting with a name was placed.
        New = "new",
        /// The meeting was there already.
        Joined = "joined",
        /// A pipeline without a meeting was placed.
        Unnamed = "unnamed",
        /// All were full, and one was placed on the least loaded.
        Overflow = "overflow",
        /// One was placed that had waited for room.
        Queued = "queued",
        /// Refused: too many wait for room.
        QueueFull = "queue_full",
        /// Refused: it waited too long for room.
        QueueTimeout = "queue_timeout",
        /// Refused: the meeting is on a backend without the labels that are required.
        Unlabelled = "unlabelled",
        /// Refused: no backend is healthy.
        NoneHealthy = "none_healthy",
        /// Refused: no healthy backend has the labels that are demanded.
        NoneLabelled = "none_labelled",
        /// Refused: every healthy backend is full.
        AllFull = "all_full",
        /// Refused: the pin store is full or away.
        Pins = "pins",
        /// Refused: the backend of the meeting did not answer for too long.
        Timeout = "timeout",
        /// Refused: a transaction touches another backend than that of its meeting.
        Elsewhere = "elsewhere",
    }

    /// How a probe ended.
    ProbeOutcome = "outcome" {
        /// The backend answered in time.
        Ok = "ok",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It refused the connection or the handshake.
        Refused = "refused",
        /// It answered with an error, or nonsense.
        Error = "error",
    }

    /// How a deep probe ended.
    DeepOutcome = "outcome" {
        /// A pipeline was made and released.
        Passed = "passed",
        /// The backend has no resources for one.
        Refused = "refused",
        /// It was not made, or not in time.
        Failed = "failed",
    }

    /// What probes add up to.
    HealthLabel = "health" {
        /// Not yet heard from.
        Unknown = "unknown",
        /// Takes new meetings.
        Healthy = "healthy",
        /// Failed some probes in a row.
        Suspect = "suspect",
        /// Takes no new meetings.
        Ejected = "ejected",
        /// Ejected, and passed some probes in a row.
        Trial = "trial",
    }

    /// How a message of a client was routed.
    RoutingKind = "kind" {
        /// Its pipeline was known, and its link open.
        TableHit = "table_hit",
        /// A place had to be found for it first, or a link opened.
        NewPin = "new_pin",
        /// It named a session to go on with, which had to be found first.
        Resume = "resume",
        /// The edge answered it.
        LocalAnswer = "local_answer",
    }
}

impl Label for Cause {
    const NAME: &'static str = "cause";
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Errors, Self::Errors.as_str()),
        (Self::Silent, Self::Silent.as_str()),
        (Self::Restarted, Self::Restarted.as_str()),
        (Self::Dial, Self::Dial.as_str()),
        (Self::Unanswered, Self::Unanswered.as_str()),
        (Self::Full, Self::Full.as_str()),
        (Self::Deep, Self::Deep.as_str()),
        (Self::Slow, Self::Slow.as_str()),
    ];

    fn index(self) -> usize {
        self as usize
    }
}

impl ErrorClass {
    /// The class of a JSON-RPC error code.
    #[must_use]
    pub const fn of_code(code: i32) -> Self {
        match code {
            -32700 => Self::Parse,
            -32600 => Self::Request,
            -32601 => Self::Method,
            -32602 => Self::Params,
            40007 => Self::Session,
            40009 => Self::Resources,
            40101 => Self::Object,
            40111 => Self::Policy,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_position_among_all() {
        for (position, (cause, _)) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause.index(), position);
        }
        for (position, (direction, _)) in Direction::ALL.iter().enumerate() {
            assert_eq!(direction.index(), position);
        }
        assert_eq!(Direction::ALL.len(), 4);
    }

    #[test]
    fn error_codes_fall_into_classes() {
        assert_eq!(ErrorClass::of_code(40009), ErrorClass::Resources);
        assert_eq!(ErrorClass::of_code(-32603), ErrorClass::Other);
    }
}
