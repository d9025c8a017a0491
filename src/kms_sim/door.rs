//! What a server lets happen just now, told to all its connections.

use std::future::pending;
use std::pin::pin;

use tokio::sync::watch;

/// What a server lets happen. A change wakes every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doors {
    /// Whether anything is read or answered: it does not hang, and an I/O thread is free.
    pub(super) answers: bool,
    /// Whether a connection would be accepted. If not, the kernel accepts it all the same, and it
    /// waits in the backlog.
    pub(super) accepts: bool,
    /// Whether it was told to end, or has itself decided to.
    pub(super) is_ending: bool,
}

/// One connection's sight of the doors.
#[derive(Clone, Debug)]
pub(super) struct Sight(watch::Receiver<Doors>);

impl Sight {
    pub(super) const fn new(doors: watch::Receiver<Doors>) -> Self {
        Self(doors)
    }

    /// The doors now.
    pub(super) fn now(&mut self) -> Doors {
        *self.0.borrow_and_update()
    }

    /// Waits for another state than the last one seen.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The server is gone; whoever waits here is about to be cut.
            pending::<()>().await;
        }
    }

    /// Waits until `is_wanted` holds.
    pub(super) async fn until(&mut self, is_wanted: impl FnMut(&Doors) -> bool) {
        if self.0.wait_for(is_wanted).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Does `work`, but nothing of it while the server answers nothing: also its timers then run
    /// out only afterwards, as those of a stopped process do.
    pub(super) async fn while_answering<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.until(|doors| doors.answers).await;
            tokio::select! {
                biased;
                () = self.changed() => {}
                done = &mut work => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPEN: Doors = Doors { answers: true, accepts: true, is_ending: false };

    #[tokio::test(start_paused = true)]
    async fn no_timer_runs_out_behind_a_closed_door() {
        let (doors, receiver) = watch::channel(Doors { answers: false, ..OPEN });
        let mut sight = Sight::new(receiver);
        let work = async {
            let late = tokio::time::sleep(Duration::from_secs(8));
            let bounded = tokio::time::timeout(Duration::from_secs(5), std::future::ready(7));
            (bounded.await, late.await).0
        };
        let opening = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            doors.send_replace(OPEN);
        };
        let (done, ()) = tokio::join!(sight.while_answering(work), opening);
        assert_eq!(done, Ok(7));
    }
}
