//! How long the system may put an acknowledgement off.

use tokio::net::TcpStream;

/// Has what comes in on `stream` acknowledged within 2 to 20 ms, as soon as the system's timers allow,
/// in place of 40. Says whether the system can; Linux can since 6.15.
///
/// Source: `TCP_DELACK_MAX_US` in `net/ipv4/tcp.c`, which takes two ticks of the system's timer or more:
/// 2, 8 or 20 ms at 1,000, 250 or 100 Hz.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate has this option yet")]
pub(super) fn bound_ack_delay(stream: &TcpStream) -> bool {
    use std::os::fd::AsRawFd;
    use std::sync::OnceLock;

    const TCP_DELACK_MAX_US: libc::c_int = 46;

    /// What the system has taken first; `None` if nothing.
    static DELAY_US: OnceLock<Option<libc::c_int>> = OnceLock::new();

    let set = |delay_us: libc::c_int| {
        let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
        // SAFETY: the value is an initialised c_int of that length, which is only read, and the
        // descriptor is open for as long as `stream` is borrowed.
        let failed = unsafe {
            let value = (&raw const delay_us).cast();
            let fd = stream.as_raw_fd();
            libc::setsockopt(fd, libc::IPPROTO_TCP, TCP_DELACK_MAX_US, value, len)
        };
        failed == 0
    };
    let delay_us = DELAY_US.get_or_init(|| [2_000, 8_000, 20_000].into_iter().find(|us| set(*us)));
    delay_us.is_some_and(set)
}

/// No other system can.
#[cfg(not(target_os = "linux"))]
pub(super) const fn bound_ack_delay(_stream: &TcpStream) -> bool {
    false
}
