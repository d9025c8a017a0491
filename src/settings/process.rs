//! `[admin]`, `[shutdown]` and `[log]`: what operators see of the process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::declare::{Keys, Kind, Mismatch, Section};
use super::field::{ADDR_FORM, Parsed, parse_addr};

const FILTER_FORM: &str = "a filter like \"info\" or \"warn,pinfold::fleet=debug\"";

/// Where the admin API listens: `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address to bind; loopback unless `allow_public`.
    pub addr: SocketAddr,
    /// Whether `addr` may be reachable from other machines.
    pub allow_public: bool,
}

impl Section for AdminSettings {
    fn example() -> Self {
        Self { addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)), allow_public: false }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.value(
            "addr",
            &mut Parsed::new(&mut self.addr, parse_addr),
            Kind::Text(ADDR_FORM),
            "Address of the admin API and the metrics. It asks for no password, so it must be a \
             loopback address unless allow_public is true.",
        );
        keys.value(
            "allow_public",
            &mut self.allow_public,
            Kind::Flag,
            "Let addr be an address that other machines reach.",
        );
    }
}

/// How the process ends: `[shutdown]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// Time for which connections are accepted although `/readyz` says no.
    pub accept: Duration,
    /// Time over which the closing of client sockets is spread.
    pub close_window: Duration,
    /// Time after which whatever is left is cut.
    pub deadline: Duration,
}

impl Section for ShutdownSettings {
    fn example() -> Self {
        let [accept, close_window, deadline] = [0, 5, 15].map(Duration::from_secs);
        Self { accept, close_window, deadline }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "accept_ms",
            &mut self.accept,
            ("ms", 0..=600_000),
            "Time for which new connections are still accepted after SIGTERM, while /readyz tells load \
             balancers already to send none. As long as yours takes to notice; 0 if there is none.",
        );
        keys.integer(
            "close_window_ms",
            &mut self.close_window,
            ("ms", 0..=600_000),
            "Time over which client sockets are closed with code 1001, so that clients do not all \
             come back at once.",
        );
        keys.integer(
            "deadline_ms",
            &mut self.deadline,
            ("ms", 0..=3_600_000),
            "Time from SIGTERM to the end, whatever is still open. Not below accept_ms and \
             close_window_ms together.",
        );
    }
}

/// What is logged and how: `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// Which lines, in the syntax of tracing's `EnvFilter`; checked.
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

impl Section for LogSettings {
    fn example() -> Self {
        Self { format: LogFormat::Pretty, filter: "info".to_owned() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.choice(
            "format",
            &mut self.format,
            &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)],
            "Form of a log line on standard error: for people, or one JSON object each.",
        );
        keys.value(
            "filter",
            &mut Parsed::new(&mut self.filter, parse_filter),
            Kind::Text(FILTER_FORM),
            "Which lines are logged: a level (error, warn, info, debug, trace), and levels of \
             modules after commas.",
        );
    }
}

fn parse_filter(text: &str) -> Result<String, Mismatch> {
    match EnvFilter::builder().parse(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        Ok(_) => Err(Mismatch::Kind),
        Err(error) => Err(Mismatch::Because(error.to_string())),
    }
}
