//! Over `io_uring`: one system call a turn hands over all that is to be sent and waits for what has come.

use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::Context;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Builder;

use super::Streams;
use super::buffers::{Buffers, GROUP};
use super::outgoing::Outgoing;
use super::pair::{Pair, Side};

/// Operations that can be handed over at once; a full queue is handed over early.
const SUBMISSIONS_MAX: u32 = 512;

/// Completions that wait at a time; the kernel keeps further ones.
const COMPLETIONS_MAX: u32 = 1_024;

/// Forwards until every pair has lost an end.
pub(super) fn forward(pairs: Vec<Streams>) -> anyhow::Result<()> {
    // After a failure it is leaked: the kernel may still use what the operations under way name.
    let mut forwarder = ManuallyDrop::new(Forwarder::new(pairs, When::Entered)?);
    forwarder.run()?;
    drop(ManuallyDrop::into_inner(forwarder));
    Ok(())
}

/// The same as a task of a tokio runtime, which waits for the ring as for a socket.
pub(super) fn forward_in_tokio(pairs: Vec<Streams>) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut forwarder = ManuallyDrop::new(Forwarder::new(pairs, When::Any)?);
        forwarder.run_in_tokio().await?;
        drop(ManuallyDrop::into_inner(forwarder));
        Ok(())
    })
}

/// When the kernel finishes what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// When the ring is entered: the cheapest, but nobody who waits for the ring with epoll is woken.
    Entered,
    /// In any system call.
    Any,
}

/// What an operation is, as the number that goes to the kernel and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    index: usize,
    side: Side,
    is_send: bool,
}

impl Operation {
    const fn receive(index: usize, side: Side) -> Self {
        Self { index, side, is_send: false }
    }

    const fn send(index: usize, side: Side) -> Self {
        Self { index, side, is_send: true }
    }

    const fn number(self) -> u64 {
        (self.index as u64) << 2 | (self.side as u64) << 1 | self.is_send as u64
    }

    fn of(number: u64) -> Self {
        let index = usize::try_from(number >> 2).expect("it was made of an index");
        let side = if number & 2 == 0 { Side::Client } else { Side::Backend };
        Self { index, side, is_send: number & 1 == 1 }
    }

    /// The registered file that it works on.
    fn file(self) -> types::Fixed {
        let number = 2 * self.index + self.side as usize;
        types::Fixed(u32::try_from(number).expect("files are counted in 32 bits"))
    }
}

struct Connection {
    pair: Pair,
    streams: Streams,
    /// What the kernel is sending, to each side.
    outgoing: [Outgoing; 2],
}

struct Forwarder {
    ring: IoUring,
    buffers: Buffers,
    connections: Vec<Connection>,
    /// Completions that are being looked at.
    done: Vec<cqueue::Entry>,
    /// Operations that the kernel has not finished with.
    under_way: usize,
}

impl Forwarder {
    #[expect(unsafe_code, reason = "the kernel is told of memory")]
    fn new(pairs: Vec<Streams>, when: When) -> anyhow::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_taskrun_flag();
        match when {
            When::Entered => builder.setup_defer_taskrun(),
            When::Any => builder.setup_coop_taskrun(),
        };
        let ring = builder.setup_cqsize(COMPLETIONS_MAX).build(SUBMISSIONS_MAX);
        let ring = ring.context("io_uring is forbidden, or older than Linux 6.1")?;
        let files: Vec<_> = pairs.iter().flatten().map(TcpStream::as_raw_fd).collect();
        ring.submitter().register_files(&files)?;
        ring.submitter().register_ring_fd()?;
        // SAFETY: both are dropped together, and only when no operation is under way.
        let buffers = unsafe { Buffers::register(&ring)? };
        let connection = |(seed, streams)| Connection {
            pair: Pair::new(seed),
            streams,
            outgoing: Default::default(),
        };
        let connections = (0..).zip(pairs).map(connection).collect();
        Ok(Self { ring, buffers, connections, done: Vec::new(), under_way: 0 })
    }

    fn run(&mut self) -> anyhow::Result<()> {
        self.receive_all()?;
        while self.under_way > 0 {
            self.ring.submit_and_wait(1)?;
            self.take_completions()?;
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "tokio is told of a descriptor")]
    async fn run_in_tokio(&mut self) -> anyhow::Result<()> {
        self.receive_all()?;
        let ring: RawFd = self.ring.as_raw_fd();
        // SAFETY: the ring, which is this forwarder's, keeps it open beyond this function.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE)? };
        loop {
            while self.has_something_to_enter_for() {
                self.ring.submit()?;
                self.take_completions()?;
            }
            if self.under_way == 0 {
                return Ok(());
            }
            // What comes from here on makes it readable again.
            ring.readable().await?.clear_ready();
            self.take_completions()?;
        }
    }

    /// Whether anything is to be handed over, or has happened that the kernel tells only when entered.
    fn has_something_to_enter_for(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun()
    }

    fn take_completions(&mut self) -> anyhow::Result<()> {
        let mut done = std::mem::take(&mut self.done);
        done.extend(self.ring.completion());
        for completion in done.drain(..) {
            self.on_completion(&completion)?;
        }
        self.done = done;
        Ok(())
    }

    fn receive_all(&mut self) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            for side in Side::ALL {
                self.receive(Operation::receive(index, side))?;
            }
        }
        Ok(())
    }

    fn on_completion(&mut self, completion: &cqueue::Entry) -> anyhow::Result<()> {
        let operation = Operation::of(completion.user_data());
        let len = usize::try_from(completion.result());
        if operation.is_send {
            self.under_way -= 1;
            return match len {
                Ok(len) => {
                    let outgoing = &mut self.connections[operation.index].outgoing;
                    outgoing[operation.side as usize].advance(len);
                    self.send_rest(operation)
                }
                Err(_) => {
                    self.hang_up(operation.index);
                    Ok(())
                }
            };
        }
        let goes_on = cqueue::more(completion.flags());
        self.under_way -= usize::from(!goes_on);
        let is_starved = completion.result() == -libc::ENOBUFS;
        match len {
            Ok(len @ 1..) => {
                let id =
                    cqueue::buffer_select(completion.flags()).context("a buffer was filled")?;
                self.on_received(operation, id, len)?;
            }
            Err(_) if is_starved => {} // by now there are buffers again
            Ok(0) | Err(_) => {
                self.hang_up(operation.index);
                return Ok(());
            }
        }
        if goes_on { Ok(()) } else { self.receive(operation) }
    }

    fn on_received(&mut self, from: Operation, id: u16, len: usize) -> anyhow::Result<()> {
        let pair = &mut self.connections[from.index].pair;
        pair.buffer(from.side).extend_from_slice(self.buffers.filled(id, len));
        self.buffers.give_back(id);
        pair.pass_on(from.side)?;
        self.send(Operation::send(from.index, from.side.other()))
    }

    /// Begins to receive, until nothing more comes.
    fn receive(&mut self, operation: Operation) -> anyhow::Result<()> {
        let entry = opcode::RecvMulti::new(operation.file(), GROUP).build();
        self.submit(&entry.user_data(operation.number()))
    }

    /// Sends what waits, unless something is being sent already.
    fn send(&mut self, operation: Operation) -> anyhow::Result<()> {
        let outgoing = &self.connections[operation.index].outgoing[operation.side as usize];
        if outgoing.rest().is_empty() { self.send_rest(operation) } else { Ok(()) }
    }

    /// Sends what is left, and what waits behind it; nothing is being sent.
    fn send_rest(&mut self, operation: Operation) -> anyhow::Result<()> {
        let Connection { pair, outgoing, .. } = &mut self.connections[operation.index];
        let outgoing = &mut outgoing[operation.side as usize];
        outgoing.refill(pair.out(operation.side));
        let rest = outgoing.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(rest.len())?;
        let entry = opcode::Send::new(operation.file(), rest.as_ptr(), len).build();
        self.submit(&entry.user_data(operation.number()))
    }

    #[expect(unsafe_code, reason = "the kernel uses the memory that the entry names")]
    fn submit(&mut self, entry: &squeue::Entry) -> anyhow::Result<()> {
        // SAFETY: a receive names registered buffers; a send names bytes of an `Outgoing`, which stay
        // where they are until its completion. What is under way keeps this forwarder from its drop.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        self.under_way += 1;
        Ok(())
    }

    /// One end has gone: so must the other, which ends what is under way.
    fn hang_up(&self, index: usize) {
        for stream in &self.connections[index].streams {
            let _ = stream.shutdown(Shutdown::Both); // fails if it has gone already
        }
    }
}
