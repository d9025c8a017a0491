//! Over epoll: one loop for all pairs; what an event brings is read and passed on at once.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Streams;
use super::outgoing::Outgoing;
use super::pair::{BUFFER_LEN, Pair, Side};

/// Events taken at a time.
const EVENTS_MAX: usize = 1_024;

/// Forwards until every pair has lost an end.
pub(super) fn forward(pairs: Vec<Streams>) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for (index, streams) in pairs.into_iter().enumerate() {
        let mut streams = streams.map(TcpStream::from_std);
        for side in Side::ALL {
            let token = Token(2 * index + side as usize);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut streams[side as usize], token, interest)?;
        }
        let pair = Pair::new(index as u64);
        connections.push(Some(Connection { pair, streams, outgoing: Default::default() }));
    }
    let (mut events, mut scratch) = (Events::with_capacity(EVENTS_MAX), vec![0; BUFFER_LEN]);
    let mut open_count = connections.len();
    while open_count > 0 {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            let Some(connection) = &mut connections[token / 2] else { continue };
            if !connection.on_event(Side::ALL[token % 2], &mut scratch)? {
                connections[token / 2] = None;
                open_count -= 1;
            }
        }
    }
    Ok(())
}

struct Connection {
    pair: Pair,
    streams: [TcpStream; 2],
    outgoing: [Outgoing; 2],
}

impl Connection {
    /// Reads from `side` and writes to both; says whether both ends are there.
    fn on_event(&mut self, side: Side, scratch: &mut [u8]) -> anyhow::Result<bool> {
        loop {
            let read_len = match self.streams[side as usize].read(scratch) {
                Ok(0) => return Ok(false),
                Ok(read_len) => read_len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Ok(false),
            };
            self.pair.buffer(side).extend_from_slice(&scratch[..read_len]);
            self.pair.pass_on(side)?;
            if read_len < scratch.len() {
                break; // the next event tells of more, as epoll(7) has it
            }
        }
        Ok(Side::ALL.into_iter().all(|side| self.write(side).is_ok()))
    }

    fn write(&mut self, side: Side) -> io::Result<()> {
        let outgoing = &mut self.outgoing[side as usize];
        loop {
            outgoing.refill(self.pair.out(side));
            if outgoing.rest().is_empty() {
                return Ok(());
            }
            match self.streams[side as usize].write(outgoing.rest()) {
                Ok(written) => outgoing.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
