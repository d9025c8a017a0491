//! Waits for a moment more exactly than the runtime's timers, which know milliseconds only.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// A timer of the system, waited for like a socket.
///
/// Spinning would be more exact still, and would take the processor that is measured.
///
/// To the runtime the timer is a pipe: both become readable and are read, and this type asks for
/// neither more of its descriptor nor for `unsafe`, as the one for any descriptor does.
pub(super) struct Pacer(Receiver);

impl Pacer {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Receiver::from_owned_fd_unchecked(timer).map(Self)
    }

    /// Waits for `pause`. To be cancelled only together with the pacer.
    pub(super) async fn wait(&self, pause: Duration) -> io::Result<()> {
        if pause.is_zero() {
            return Ok(()); // which would unset the timer
        }
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: pause.subsec_nanos().into(),
        };
        let timer = Itimerspec { it_interval: none, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &timer)?;
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Clock;

    #[tokio::test]
    async fn it_waits_no_less_than_it_is_told() {
        let (pacer, clock) = (Pacer::new().unwrap(), Clock::start());
        pacer.wait(Duration::ZERO).await.unwrap();
        pacer.wait(Duration::from_micros(200)).await.unwrap();
        pacer.wait(Duration::from_micros(300)).await.unwrap();
        assert!(clock.now_nanos() >= 500_000);
    }
}
