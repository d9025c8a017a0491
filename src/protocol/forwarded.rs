//! Who a connection is from, by the headers of HTTP in which proxies tell it.
//!
//! Each proxy adds what it sees to the right; what stands further left was there before and may be
//! made up. So the list is read from the right, as long as it was a trusted proxy that wrote.
//!
//! Source: RFC 7239, sections 4 to 7; `X-Forwarded-For` has no standard, its form is custom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most proxies on the way that are looked at; a client behind more is not known.
const PROXIES_MAX: usize = 32;

/// What the headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: there is none.
    Nothing,
    /// That there is a client, but not where: its address is hidden, or cannot be read.
    Hidden,
    /// The client's address.
    Addr(IpAddr),
}

/// The client that `X-Forwarded-For` tells of. `lines` are the values of all headers of that name, in
/// their order; `trusts` says whether the proxy at an address is believed.
#[must_use]
pub fn client_of_list<'a>(
    lines: impl DoubleEndedIterator<Item = &'a str>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Told {
    let hops = lines.rev().flat_map(|line| line.rsplit(',').map(|hop| parse_node(hop.trim())));
    client(hops, trusts)
}

/// The client that `Forwarded` tells of, like [`client_of_list`].
///
/// A line that is not in the form of RFC 7239 from its begin to its end hides the client: a quote that
/// its sender left open could swallow what a proxy has added.
#[must_use]
pub fn client_of_forwarded<'a>(
    lines: impl DoubleEndedIterator<Item = &'a str>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Told {
    let hops = lines.rev().flat_map(|line| {
        let mut hops = parse_line(line).unwrap_or_else(|| vec![None]);
        hops.reverse();
        hops
    });
    client(hops, trusts)
}

/// Reads `hops` from the last to the first.
fn client(hops: impl Iterator<Item = Option<IpAddr>>, trusts: impl Fn(IpAddr) -> bool) -> Told {
    let mut told = Told::Nothing;
    for (count, hop) in hops.enumerate() {
        match hop {
            None => return Told::Hidden,
            Some(_) if count == PROXIES_MAX => return Told::Hidden,
            Some(addr) if trusts(addr) => told = Told::Addr(addr),
            Some(addr) => return Told::Addr(addr),
        }
    }
    told
}

/// The addresses in one line of `Forwarded`; `None` for one that is hidden. `None` at all if the line is
/// malformed.
fn parse_line(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut rest = line;
    let mut hops = Vec::new();
    loop {
        let (hop, behind) = parse_element(rest)?;
        // Lists may have empty elements. Source: RFC 9110, section 5.6.1.
        hops.extend(hop);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return behind.is_empty().then_some(hops),
        }
    }
}

/// Reads one element: its hop, if it is not empty, and what stands behind it, which begins with a `,`.
fn parse_element(text: &str) -> Option<(Option<Option<IpAddr>>, &str)> {
    let mut rest = text.trim_start_matches([' ', '\t']);
    let mut node = None;
    if rest.is_empty() || rest.starts_with(',') {
        return Some((None, rest));
    }
    loop {
        // A pair may be left out.
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            let (name, behind) = split_token(rest)?;
            let (value, behind) = parse_value(behind.strip_prefix('=')?)?;
            if name.eq_ignore_ascii_case("for") {
                // Told twice: one of them is a lie.
                let is_first = node.replace(parse_node(&value)).is_none();
                is_first.then_some(())?;
            }
            rest = behind.trim_start_matches([' ', '\t']);
        }
        match rest.strip_prefix(';') {
            Some(next) => rest = next.trim_start_matches([' ', '\t']),
            // Without "for": a proxy that tells nothing of whom it speaks for.
            None => return Some((Some(node.flatten()), rest)),
        }
    }
}

/// Reads a token or a quoted string, and what stands behind it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return split_token(text).map(|(token, behind)| (token.to_owned(), behind));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

/// Splits a token off `text`; `None` if there is none. Source: RFC 9110, section 5.6.2.
fn split_token(text: &str) -> Option<(&str, &str)> {
    let is_of_token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    let len = text.find(|char| !is_of_token(char)).unwrap_or(text.len());
    (len > 0).then(|| text.split_at(len))
}

/// Reads an address, with a port or without; one of IPv6 with brackets or, in `X-Forwarded-For`,
/// without. `None` for `unknown`, a name that stands for an address, and anything else.
fn parse_node(text: &str) -> Option<IpAddr> {
    let addr = if let Some(inner) = text.strip_prefix('[') {
        let (addr, port) = inner.split_once(']')?;
        let is_end = port.is_empty() || port.starts_with(':');
        IpAddr::V6(addr.parse::<Ipv6Addr>().ok().filter(|_| is_end)?)
    } else if let Some((addr, _port)) = text.split_once(':')
        && let Ok(addr) = addr.parse::<Ipv4Addr>()
    {
        IpAddr::V4(addr)
    } else {
        text.parse().ok()?
    };
    Some(addr.to_canonical())
}

#[cfg(test)]
mod tests;
