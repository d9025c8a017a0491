use proptest::prelude::*;

use super::*;

/// Proxies are those of `10.0.0.0/8` and `fd00::/8`.
fn trusts(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.octets()[0] == 10,
        IpAddr::V6(addr) => addr.octets()[0] == 0xfd,
    }
}

fn list(lines: &[&str]) -> Told {
    client_of_list(lines.iter().copied(), trusts)
}

fn forwarded(lines: &[&str]) -> Told {
    client_of_forwarded(lines.iter().copied(), trusts)
}

fn addr(text: &str) -> Told {
    Told::Addr(text.parse().unwrap())
}

#[test]
fn the_last_that_is_not_trusted_is_the_client() {
    for (lines, told) in [
        (&["203.0.113.7"][..], addr("203.0.113.7")),
        (&["198.51.100.1, 203.0.113.7"], addr("203.0.113.7")),
        (&["198.51.100.1,203.0.113.7 , 10.0.0.2,10.0.0.1"], addr("203.0.113.7")),
        (&["198.51.100.1", "203.0.113.7", "10.0.0.2"], addr("203.0.113.7")),
        (&["10.0.0.3, 10.0.0.2"], addr("10.0.0.3")),
        (&["2001:db8::7, fd00::1"], addr("2001:db8::7")),
        (&["::ffff:203.0.113.7"], addr("203.0.113.7")),
        (&["203.0.113.7:5678, [fd00::1]:443"], addr("203.0.113.7")),
    ] {
        assert_eq!(list(lines), told, "{lines:?}");
    }
}

#[test]
fn a_list_that_tells_no_address_where_it_counts_hides_the_client() {
    assert_eq!(list(&[]), Told::Nothing);
    for lines in [&["unknown"][..], &["203.0.113.7, unknown, 10.0.0.1"], &["203.0.113.7,"], &[""]] {
        assert_eq!(list(lines), Told::Hidden, "{lines:?}");
    }
    assert_eq!(list(&["gibberish, 203.0.113.7"]), addr("203.0.113.7"), "not looked at");
    let far = vec!["10.0.0.1"; PROXIES_MAX].join(",");
    assert_eq!(list(&[&far]), addr("10.0.0.1"));
    assert_eq!(list(&[&format!("203.0.113.7,{far}")]), Told::Hidden);
}

/// The examples of RFC 7239, sections 4, 6 and 7, among others.
#[test]
fn the_standard_header_is_read() {
    for (lines, told) in [
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], addr("192.0.2.60")),
        (&["For=\"[2001:db8:cafe::17]:4711\""], addr("2001:db8:cafe::17")),
        (&["for=192.0.2.43, for=198.51.100.17"], addr("198.51.100.17")),
        (&["for=192.0.2.43,for=\"[fd00::17]\";by=10.0.0.1,for=10.0.0.9"], addr("192.0.2.43")),
        (&["for=192.0.2.43", "for=10.0.0.9"], addr("192.0.2.43")),
        (&["for=\"192.0.2.43:47011\""], addr("192.0.2.43")),
        (&["for=\"[::ffff:192.0.2.43]\""], addr("192.0.2.43")),
        (&["for=\"192\\.0.2.43\" ; proto=https"], addr("192.0.2.43")),
        (&["for=192.0.2.43;"], addr("192.0.2.43")),
        (&[";;for=192.0.2.43; ;by=_a"], addr("192.0.2.43")),
        (&[", for=192.0.2.43,"], addr("192.0.2.43")),
        (&["host=\"a, b; for=1.1.1.1\";for=192.0.2.43"], addr("192.0.2.43")),
    ] {
        assert_eq!(forwarded(lines), told, "{lines:?}");
    }
    assert_eq!(forwarded(&[]), Told::Nothing);
}

#[test]
fn who_is_hidden_or_malformed_ends_the_search() {
    for line in [
        "for=unknown",
        "for=_gazonk",
        "for=\"_gazonk:800\"",
        "for=192.0.2.43, for=_mdn, for=10.0.0.1",
        "for=192.0.2.43, by=10.0.0.1",
        "for=192.0.2.43;for=192.0.2.44",
        "for=2001:db8::7",
        "for=\"[2001:db8::7\"",
        "for=\"[2001:db8::7]x\"",
        "for= 192.0.2.43",
        "for",
        "192.0.2.43",
        "for=192.0.2.43 for=10.0.0.1",
        "by=10.0.0.1;",
        "for=192.0.2.43;=",
    ] {
        assert_eq!(forwarded(&[line]), Told::Hidden, "{line}");
    }
}

/// A client leaves a quote open so that what the proxy adds to the line becomes part of its own.
#[test]
fn a_client_cannot_swallow_what_a_proxy_adds() {
    for sent in
        ["for=8.8.8.8;by=\"", "for=8.8.8.8, for=\"", "for=\"x\\", "\"", "for=8.8.8.8;by=\"\\"]
    {
        for added in ["for=192.0.2.43", "for=\"[2001:db8::7]\"", "for=\"192.0.2.43:1\";by=10.0.0.1"]
        {
            let line = format!("{sent}, {added}");
            assert_ne!(forwarded(&[&line]), addr("8.8.8.8"), "{line}");
            assert_ne!(forwarded(&[sent, added]), addr("8.8.8.8"), "{line}");
        }
    }
}

proptest! {
    /// Whatever a client sends, on lines of its own: the address that a trusted proxy adds stands.
    #[test]
    fn nothing_to_the_left_changes_what_a_proxy_has_told(sent in proptest::collection::vec("\\PC{0,40}|[for=,;\" \\\\0-9.:\\[\\]]{0,40}", 0..4)) {
        let lines = |added| -> Vec<&str> {
            sent.iter().map(String::as_str).chain([added]).collect()
        };
        prop_assert_eq!(list(&lines("192.0.2.43, 10.0.0.1")), addr("192.0.2.43"));
        prop_assert_eq!(forwarded(&lines("for=192.0.2.43, for=10.0.0.1")), addr("192.0.2.43"));
        let _ = (list(&lines("10.0.0.1")), forwarded(&lines("for=10.0.0.1")));
    }
}
