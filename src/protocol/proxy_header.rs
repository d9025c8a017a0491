//! The PROXY header, versions 1 and 2, that a proxy puts before what a client sends.
//!
//! Read here and not by a crate: all we want of it is one address. The one crate for both versions
//! (`ppp`) panicked on four bytes from the network until 2025 and had no release since.
//!
//! Source: HAProxy, "The PROXY protocol", versions 1 & 2, sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest header of version 1, in bytes, with its CRLF.
const TEXT_MAX_LEN: usize = 107;

/// Longest header of version 2 that is taken, in bytes, with all that it tells besides the addresses.
pub const HEADER_MAX_LEN: usize = 4_096;

/// What a header of version 1 begins with.
const TEXT_START: &[u8] = b"PROXY ";

/// What a header of version 2 begins with.
const BINARY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a header of version 2 before its addresses.
const BINARY_FIXED_LEN: usize = 16;

/// Not a PROXY header, or one that is longer than is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header of version 1 or 2")]
pub struct NoProxyHeader;

/// The length in bytes of the header that `start` begins with; `None` if more of it must be seen. While
/// that is so, all of `start` belongs to the header.
///
/// # Errors
/// It is none, or longer than [`HEADER_MAX_LEN`], which shows at the latest when that much was seen.
pub fn header_len(start: &[u8]) -> Result<Option<usize>, NoProxyHeader> {
    if begins(start, TEXT_START) {
        let seen = &start[..start.len().min(TEXT_MAX_LEN)];
        return match seen.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(end + 1)),
            None if seen.len() == TEXT_MAX_LEN => Err(NoProxyHeader),
            None => Ok(None),
        };
    }
    if !begins(start, BINARY_START) {
        return Err(NoProxyHeader);
    }
    let Some(&[high, low]) = start.get(14..BINARY_FIXED_LEN) else { return Ok(None) };
    let len = BINARY_FIXED_LEN + usize::from(u16::from_be_bytes([high, low]));
    match len {
        0..=HEADER_MAX_LEN if start.len() >= len => Ok(Some(len)),
        0..=HEADER_MAX_LEN => Ok(None),
        _ => Err(NoProxyHeader),
    }
}

/// Whether `start` begins with `mark`, as far as it has come.
fn begins(start: &[u8], mark: &[u8]) -> bool {
    let len = start.len().min(mark.len());
    start[..len] == mark[..len]
}

/// The client's address in `header`, a whole one; `None` if it tells none: the proxy speaks for itself,
/// or of a client that has no IP address.
///
/// # Errors
/// It is broken.
pub fn parse_proxy_header(header: &[u8]) -> Result<Option<IpAddr>, NoProxyHeader> {
    let source = if header.starts_with(TEXT_START) {
        let line = header.strip_suffix(b"\r\n").and_then(|line| str::from_utf8(line).ok());
        parse_text(line.ok_or(NoProxyHeader)?)
    } else {
        header.strip_prefix(BINARY_START).ok_or(NoProxyHeader).and_then(parse_binary)
    };
    Ok(source?.map(|addr| addr.to_canonical()))
}

fn parse_text(line: &str) -> Result<Option<IpAddr>, NoProxyHeader> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // What follows is of no meaning.
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, target, from_port, to_port] => {
            let (source, _) = (parse_addr(family, source)?, parse_addr(family, target)?);
            let are_ports = [from_port, to_port].iter().all(|port| is_port(port));
            are_ports.then_some(Some(source)).ok_or(NoProxyHeader)
        }
        _ => Err(NoProxyHeader),
    }
}

fn parse_addr(family: &str, text: &str) -> Result<IpAddr, NoProxyHeader> {
    let addr: IpAddr = text.parse().map_err(|_| NoProxyHeader)?;
    if addr.is_ipv4() == (family == "TCP4") { Ok(addr) } else { Err(NoProxyHeader) }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Reads what follows the start of a header of version 2.
fn parse_binary(rest: &[u8]) -> Result<Option<IpAddr>, NoProxyHeader> {
    let (&[command, family, high, low], addrs) = rest.split_first_chunk().ok_or(NoProxyHeader)?;
    if addrs.len() != usize::from(u16::from_be_bytes([high, low])) {
        return Err(NoProxyHeader);
    }
    let speaks_for_itself = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoProxyHeader),
    };
    // The high half is the family, the low half how it is carried: not told, stream or datagram.
    if family & 0x0f > 2 {
        return Err(NoProxyHeader);
    }
    // Source and target, and a port of two bytes for each.
    let source = match family >> 4 {
        1 => source::<4>(addrs, 12).map(|octets| Some(Ipv4Addr::from(octets).into())),
        2 => source::<16>(addrs, 36).map(|octets| Some(Ipv6Addr::from(octets).into())),
        // Not told, or two paths of 108 bytes on one machine.
        0 => Some(None),
        3 if addrs.len() >= 216 => Some(None),
        _ => None,
    };
    let source = source.ok_or(NoProxyHeader)?;
    Ok(source.filter(|_| !speaks_for_itself))
}

fn source<const N: usize>(addrs: &[u8], len_min: usize) -> Option<[u8; N]> {
    if addrs.len() < len_min { None } else { addrs.first_chunk().copied() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2 with this command, family and content.
    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [BINARY_START, &[command, family], &len, content].concat()
    }

    fn parsed(header: &[u8]) -> Result<Option<String>, NoProxyHeader> {
        assert_eq!(header_len(header), Ok(Some(header.len())));
        parse_proxy_header(header).map(|addr| addr.map(|addr| addr.to_string()))
    }

    #[test]
    fn the_text_form_tells_the_source() {
        for (line, told) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443", Some("203.0.113.7")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443", Some("2001:db8::7")),
            ("PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535", Some("203.0.113.7")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2", None),
        ] {
            let header = format!("{line}\r\n");
            assert_eq!(parsed(header.as_bytes()), Ok(told.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn a_broken_text_form_is_refused() {
        for line in [
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 ",
            "PROXY TCP4  203.0.113.7 10.0.0.1 56324 443",
            "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443",
            "PROXY TCP6 203.0.113.7 10.0.0.1 56324 443",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +1 443",
            "PROXY TCP4 203.0.113.7 10.0.0.1  443",
            "PROXY UDP4 203.0.113.7 10.0.0.1 1 2",
            "PROXY ",
            "PROXY \u{e9}",
        ] {
            assert_eq!(parsed(format!("{line}\r\n").as_bytes()), Err(NoProxyHeader), "{line}");
        }
        assert_eq!(parsed(b"PROXY UNKNOWN\n"), Err(NoProxyHeader));
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(TEXT_MAX_LEN));
        assert_eq!(header_len(long.as_bytes()), Err(NoProxyHeader));
    }

    #[test]
    fn the_binary_form_tells_the_source() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 7;
        // Something told besides: type 4, three bytes.
        let more = [&v4[..], &[4, 0, 3, 0, 0, 0]].concat();
        for (header, told) in [
            (binary(0x21, 0x11, &v4), Some("203.0.113.7")),
            (binary(0x21, 0x11, &more), Some("203.0.113.7")),
            (binary(0x21, 0x21, &v6), Some("2001:db8::7")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[1, 2, 3]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(parsed(&header), Ok(told.map(str::to_owned)), "{header:?}");
        }
    }

    #[test]
    fn a_broken_binary_form_is_refused() {
        for header in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x13, &[0; 12]),
            binary(0x21, 0x41, &[0; 255]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x31, &[0; 215]),
        ] {
            assert_eq!(parsed(&header), Err(NoProxyHeader), "{header:?}");
        }
        let longest = HEADER_MAX_LEN - BINARY_FIXED_LEN;
        assert_eq!(parsed(&binary(0x21, 0x00, &vec![0; longest])), Ok(None));
        let longer = binary(0x21, 0x00, &vec![0; longest + 1]);
        assert_eq!(header_len(&longer[..BINARY_FIXED_LEN]), Err(NoProxyHeader));
    }

    #[test]
    fn other_bytes_are_told_at_the_first() {
        for start in [&b"GET /kurento"[..], b"\x16\x03\x01", b"\r\n\r\n\0\r\nQUIX", b"proxy "] {
            assert_eq!(header_len(start), Err(NoProxyHeader), "{start:?}");
        }
    }

    proptest! {
        /// Whatever comes, and however it is cut: no panic, an end within the bound, and as long as it
        /// is not whole, nothing behind it has been touched.
        #[test]
        fn any_bytes_are_measured_alike_however_they_come(
            start in 0..4,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let start = [&b""[..], TEXT_START, BINARY_START, b"PROXY TCP4 1.2.3.4 "][start as usize];
            let all = [start, &bytes].concat();
            let whole = header_len(&all);
            for seen in 0..all.len() {
                match header_len(&all[..seen]) {
                    Ok(None) => {}
                    told => prop_assert_eq!(told, whole, "{} bytes", seen),
                }
            }
            if let Ok(Some(len)) = whole {
                prop_assert!(len <= all.len() && len <= HEADER_MAX_LEN);
                let _ = parse_proxy_header(&all[..len]);
            }
            let _ = parse_proxy_header(&all);
            prop_assert!(header_len(&[&all[..], &[b'x'; HEADER_MAX_LEN]].concat()) != Ok(None));
        }
    }
}
