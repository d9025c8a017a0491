//! What can be done to a server from outside while it runs, and what is then seen of it.

use std::io;

use serde::Serialize;

use crate::sim::kms::Faults;

/// Longest factor of `slow`: an answer of a millisecond then takes a quarter of an hour.
const SLOW_MAX: f64 = 1e6;

/// What is wrong with a server from its start; `Default` is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StartFaults {
    /// What the server itself suffers from.
    pub kms: Faults,
    /// Whether every handshake is refused.
    pub refuses_handshakes: bool,
}

/// One fault, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process is gone: all connections are cut without a close frame, new ones are refused.
    Crash,
    /// The process is stopped: TCP connects, nothing is answered, nothing times out.
    Freeze,
    /// A stopped process goes on and does all that waits, as after SIGCONT.
    Thaw,
    /// Every call takes this many times as long.
    Slow(f64),
    /// Whether `create` is refused with 40009.
    Full(bool),
    /// The process stops as by `Freeze` when it has answered this many further requests.
    HangAfter(u32),
    /// All connections are cut without a close frame; sessions and objects live on.
    CutLinks,
    /// Whether new connections get HTTP 503 instead of 101.
    RefuseHandshakes(bool),
    /// The process is gone, if it was there, and a new one serves the same address: another
    /// `serverId`, no sessions, no objects, faults as at the start.
    Restart,
}

/// Why a fault could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// There is no such fault. Carries the name.
    #[error("no such fault: {0:?}; there are {FAULT_NAMES}")]
    Unknown(String),
    /// An argument is missing, unknown or out of range. Carries what is expected.
    #[error("expected {0}")]
    Argument(&'static str),
    /// The server is not running: only `restart` helps.
    #[error("the server is down")]
    Down,
    /// The program is ending.
    #[error("the program is ending")]
    Ending,
    /// The address could not be had again.
    #[error("the address cannot be listened on again: {0}")]
    Address(io::Error),
}

/// For people who look for one.
const FAULT_NAMES: &str =
    "crash, freeze, thaw, slow, full, hang, cut-links, refuse-handshakes, restart";

impl Fault {
    /// Reads a fault from its name and the query behind it: `slow` and `factor=2.5`.
    ///
    /// # Errors
    /// An unknown name, or an argument that is missing, unknown or out of range.
    pub fn parse(name: &str, query: &str) -> Result<Self, FaultError> {
        let fault = match name {
            "slow" => return factor(query).map(Self::Slow),
            "full" => return is_on(query).map(Self::Full),
            "hang" => return calls(query).map(Self::HangAfter),
            "refuse-handshakes" => return is_on(query).map(Self::RefuseHandshakes),
            "crash" => Self::Crash,
            "freeze" => Self::Freeze,
            "thaw" => Self::Thaw,
            "cut-links" => Self::CutLinks,
            "restart" => Self::Restart,
            _ => return Err(FaultError::Unknown(name.to_owned())),
        };
        if query.is_empty() { Ok(fault) } else { Err(FaultError::Argument("no arguments")) }
    }
}

fn factor(query: &str) -> Result<f64, FaultError> {
    let factor = query.strip_prefix("factor=").and_then(|text| text.parse().ok());
    let is_valid = |factor: &f64| (0.0..=SLOW_MAX).contains(factor);
    factor.filter(is_valid).ok_or(FaultError::Argument("factor=F, from 0 to 1000000"))
}

fn calls(query: &str) -> Result<u32, FaultError> {
    let calls = query.strip_prefix("after=").and_then(|text| text.parse().ok());
    calls.ok_or(FaultError::Argument("after=N, the number of requests that are still answered"))
}

fn is_on(query: &str) -> Result<bool, FaultError> {
    match query {
        "" | "on=true" => Ok(true),
        "on=false" => Ok(false),
        _ => Err(FaultError::Argument("on=true or on=false")),
    }
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It serves.
    Runs,
    /// It is stopped: see [`Fault::Freeze`].
    Hangs,
    /// It was told to end and is about to.
    Ends,
    /// There is no process: its address refuses connections.
    Down,
}

/// A server as the control API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerRow {
    /// Its name.
    pub name: String,
    /// Where its clients connect to.
    pub url: String,
    /// What it is doing.
    pub state: State,
    /// Processes so far, this one included.
    pub starts: u32,
    /// What is seen of the process; `None` if there is none.
    pub process: Option<ProcessRow>,
}

/// A process as the control API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessRow {
    /// What its `connect` answers.
    pub server_id: String,
    /// Open connections.
    pub connections: usize,
    /// Factor of the time of every call.
    pub slow: f64,
    /// Whether `create` is refused.
    pub full: bool,
    /// Requests until it hangs, if it will; 0 if it does.
    pub hang_after: Option<u32>,
    /// Whether handshakes are refused.
    pub refuses_handshakes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_name_and_its_arguments() {
        for (name, query, fault) in [
            ("crash", "", Fault::Crash),
            ("freeze", "", Fault::Freeze),
            ("thaw", "", Fault::Thaw),
            ("slow", "factor=2.5", Fault::Slow(2.5)),
            ("full", "", Fault::Full(true)),
            ("full", "on=false", Fault::Full(false)),
            ("hang", "after=0", Fault::HangAfter(0)),
            ("cut-links", "", Fault::CutLinks),
            ("refuse-handshakes", "on=true", Fault::RefuseHandshakes(true)),
            ("restart", "", Fault::Restart),
        ] {
            assert_eq!(Fault::parse(name, query).unwrap(), fault);
            assert!(FAULT_NAMES.contains(name), "{name}");
        }
        for (name, query) in [
            ("explode", ""),
            ("crash", "on=true"),
            ("slow", ""),
            ("slow", "factor=-1"),
            ("slow", "factor=NaN"),
            ("hang", "after=-1"),
            ("full", "on=yes"),
        ] {
            assert!(Fault::parse(name, query).is_err(), "{name} {query}");
        }
    }
}
