//! Whose turn it is to ask. Anyone on the internet can make us ask, so each client connection has few
//! questions, all together have so many a second, and what is too much waits.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::model::Time;
use crate::policy::pacing::{Ask, Bucket, Pace, Turn};
use crate::runtime::{Latest, Timer};

/// Longest wait of a question for its turn, from when it came. Beyond that it is not asked.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Questions of one connection: 20 at once, then 2 a second. One that was answered with yes is free,
/// so only who asks for what is not there runs out of them.
const OF_CONNECTION: Pace = Pace {
    interval: Duration::from_millis(500),
    burst: 20,
    wait_max: WAIT_MAX,
    waiting_max: 1,
    held_max_bytes: 0,
};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Payer<'a> {
    /// A client connection, for what may be made up.
    Connection(&'a Quota),
    /// Whoever names what the pin store has a note of: such a thing is not made up.
    Noted,
}

/// What one client connection may ask.
#[derive(Debug)]
pub struct Quota {
    turns: Turns,
    /// Whoever waits for a turn. The others wait behind it, so that those who share the fleet's
    /// questions have one booked each.
    waiting: Semaphore,
}

impl Default for Quota {
    fn default() -> Self {
        Self { turns: Turns::new(OF_CONNECTION), waiting: Semaphore::new(1) }
    }
}

impl Quota {
    /// Waits for a turn of this connection, and then for one of `shared`.
    ///
    /// # Errors
    /// It would not come in time; it may be asked for again after so many milliseconds.
    pub(super) async fn turn(&self, shared: &Turns, timer: &dyn Timer) -> Result<(), u32> {
        let since = timer.now();
        let _alone = self.waiting.acquire().await.expect("it is never closed");
        self.turns.wait(timer, since).await?;
        shared.wait(timer, since).await
    }

    /// The question was worth asking.
    pub(super) fn refund(&self, now: Time) {
        self.turns.lock().refund(&self.turns.pace.get(), 1, now);
    }
}

/// Turns that some share.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Latest<Pace>,
    bucket: Mutex<Bucket>,
}

impl Turns {
    fn new(pace: Pace) -> Self {
        Self { pace: Latest::new(pace), bucket: Mutex::default() }
    }

    /// So many a second.
    pub(super) fn per_second(count: u32) -> Self {
        Self::new(pace_of(count))
    }

    /// So many a second from now on.
    pub(super) fn set_per_second(&self, count: u32) {
        self.pace.set(pace_of(count));
    }

    async fn wait(&self, timer: &dyn Timer, since: Time) -> Result<(), u32> {
        let now = timer.now();
        let turn = self.lock().ask(&self.pace.get(), Ask { cost: 1, since }, now);
        match turn {
            Turn::Now => Ok(()),
            Turn::At(at) => {
                let mut booked = Booked { turns: self, timer, has_come: false };
                timer.sleep(at.since(now)).await;
                booked.has_come = true;
                Ok(())
            }
            Turn::TooLarge => unreachable!("a full bucket has a turn for one question"),
            Turn::Refused(after) => {
                Err(u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().expect("nothing panics while holding it")
    }
}

fn pace_of(count: u32) -> Pace {
    let interval = Duration::from_secs(1) / count.max(1);
    // How many wait is bounded by the time they may.
    let waiting_max = usize::MAX;
    let (burst, wait_max) = (count.max(1), WAIT_MAX);
    Pace { interval, burst, wait_max, waiting_max, held_max_bytes: 0 }
}

/// A turn that is waited for. Dropped before it has come, it is given back.
struct Booked<'a> {
    turns: &'a Turns,
    timer: &'a dyn Timer,
    has_come: bool,
}

impl Drop for Booked<'_> {
    fn drop(&mut self) {
        let mut bucket = self.turns.lock();
        if self.has_come {
            bucket.on_turn();
        } else {
            bucket.give_back(&self.turns.pace.get(), 1, self.timer.now());
        }
    }
}
