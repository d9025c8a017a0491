//! A name server with one zone, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Codes of an answer. Source: RFC 1035, section 4.1.1.
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// What every question is answered with.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// These addresses, as A records; nothing of other kinds.
    Addresses(Vec<Ipv4Addr>),
    /// These hosts and ports, as SRV records.
    Services(Vec<(&'static str, u16)>),
    /// There is no such name.
    NoName,
    /// The server cannot tell.
    Failure,
}

/// A name server; gone when this is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    pub(super) addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _serving: JoinSet<()>,
}

impl NameServer {
    pub(super) async fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(zone));
        let mut serving = JoinSet::new();
        serving.spawn(serve(socket, Arc::clone(&zone)));
        Self { addr, zone, _serving: serving }
    }

    /// From now on the answer is another.
    pub(super) fn set(&self, zone: Zone) {
        *self.zone.lock().unwrap() = zone;
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut bytes = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
        let zone = zone.lock().unwrap().clone();
        socket.send_to(&answer(&bytes[..len], &zone), from).await.unwrap();
    }
}

/// The answer to a query with one question. Source: RFC 1035, section 4; RFC 2782 for SRV.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let name_len = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..12 + name_len + 4];
    let kind = u16::from_be_bytes([question[name_len], question[name_len + 1]]);
    let (code, records): (u8, Vec<Vec<u8>>) = match zone {
        Zone::Addresses(addrs) if kind == 1 => {
            (0, addrs.iter().map(|addr| addr.octets().to_vec()).collect())
        }
        Zone::Services(services) if kind == 33 => {
            (0, services.iter().map(|(host, port)| service(host, *port)).collect())
        }
        Zone::Addresses(_) | Zone::Services(_) => (0, Vec::new()),
        Zone::NoName => (NO_SUCH_NAME, Vec::new()),
        Zone::Failure => (SERVER_FAILURE, Vec::new()),
    };
    let count = u8::try_from(records.len()).unwrap();
    let mut bytes = query[..2].to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    bytes.extend(question);
    for record in records {
        // The name is that of the question, the class IN, the time to live 0.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0]);
        bytes.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        bytes.extend(record);
    }
    bytes
}

fn service(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 1];
    bytes.extend(port.to_be_bytes());
    for label in host.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
