//! Session descriptions that look like those of a media server.

use crate::model::Draws;

use super::wire::Fault;

/// The secrets that an endpoint puts in its descriptions.
#[derive(Clone, Debug)]
pub(super) struct IceLogin {
    ufrag: String,
    password: String,
    fingerprint: String,
}

impl IceLogin {
    /// Makes them up.
    pub(super) fn draw(draws: &mut Draws) -> Self {
        let letters = |draws: &mut Draws, len: usize| -> String {
            const LETTERS: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            (0..len).map(|_| char::from(LETTERS[draws.below(LETTERS.len())])).collect()
        };
        let (ufrag, password) = (letters(draws, 4), letters(draws, 22));
        let bytes: Vec<String> = (0..32).map(|_| format!("{:02X}", draws.below(256))).collect();
        Self { ufrag, password, fingerprint: bytes.join(":") }
    }

    fn lines(&self, setup: &str) -> Vec<String> {
        vec![
            format!("a=setup:{setup}"),
            "a=rtcp-mux".to_owned(),
            format!("a=ice-ufrag:{}", self.ufrag),
            format!("a=ice-pwd:{}", self.password),
            format!("a=fingerprint:sha-256 {}", self.fingerprint),
        ]
    }
}

/// One `m=` section of an offer.
struct Section<'a> {
    line: &'a str,
    mid: Option<&'a str>,
    direction: &'static str,
    codecs: Vec<&'a str>,
}

/// An offer of audio and video.
pub(super) fn offer(login: &IceLogin) -> String {
    let mut lines = header(&["audio0", "video0"]);
    let kinds = [
        ("audio0", "m=audio 1 RTP/SAVPF 96 0 8", "a=rtpmap:96 opus/48000/2"),
        (
            "video0",
            "m=video 1 RTP/SAVPF 102 103",
            "a=rtpmap:102 VP8/90000\r\na=rtpmap:103 H264/90000",
        ),
    ];
    for (mid, line, codecs) in kinds {
        lines.extend([line.to_owned(), "a=sendrecv".to_owned(), format!("a=mid:{mid}")]);
        lines.extend(["a=rtcp:9 IN IP4 0.0.0.0".to_owned(), codecs.to_owned()]);
        lines.extend(login.lines("actpass"));
    }
    finish(&lines)
}

/// The answer to an offer: its sections and mids, directions turned round, all codecs taken.
///
/// # Errors
/// 40201 if the offer is empty, has no `v=0` first or no media.
pub(super) fn answer(offer: &str, login: &IceLogin) -> Result<String, Fault> {
    if offer.is_empty() {
        return Err(parse_error("Empty offer not valid"));
    }
    let sections = sections(offer);
    if !offer.starts_with("v=0") || sections.is_empty() {
        return Err(parse_error("Invalid SDP"));
    }
    let mids: Vec<&str> = sections.iter().filter_map(|section| section.mid).collect();
    let mut lines = header(&mids);
    for section in &sections {
        lines.extend([section.line.to_owned(), format!("a={}", turned(section.direction))]);
        lines.extend(section.mid.map(|mid| format!("a=mid:{mid}")));
        lines.push("a=rtcp:9 IN IP4 0.0.0.0".to_owned());
        lines.extend(section.codecs.iter().map(|codec| (*codec).to_owned()));
        lines.extend(login.lines("active"));
    }
    Ok(finish(&lines))
}

/// The mids of a description in order; a section without one is named by its place.
pub(super) fn mids(description: &str) -> Vec<String> {
    let sections = sections(description);
    let named = sections.iter().enumerate();
    named.map(|(at, section)| section.mid.map_or_else(|| at.to_string(), str::to_owned)).collect()
}

fn sections(description: &str) -> Vec<Section<'_>> {
    let mut found: Vec<Section<'_>> = Vec::new();
    for line in description.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            found.push(Section { line, mid: None, direction: "sendrecv", codecs: Vec::new() });
            continue;
        }
        let Some(section) = found.last_mut() else { continue };
        match line {
            "a=sendonly" => section.direction = "sendonly",
            "a=recvonly" => section.direction = "recvonly",
            "a=inactive" => section.direction = "inactive",
            _ if line.starts_with("a=mid:") => section.mid = line.strip_prefix("a=mid:"),
            _ if is_codec(line) => section.codecs.push(line),
            _ => {}
        }
    }
    found
}

fn is_codec(line: &str) -> bool {
    ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=sctp"].iter().any(|start| line.starts_with(start))
}

fn turned(direction: &'static str) -> &'static str {
    match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        same => same,
    }
}

fn header(mids: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = [
        "v=0",
        "o=- 4004223793 4004223793 IN IP4 0.0.0.0",
        "s=Kurento Media Server",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
    ]
    .map(str::to_owned)
    .to_vec();
    if !mids.is_empty() {
        lines.push(format!("a=group:BUNDLE {}", mids.join(" ")));
    }
    lines
}

fn finish(lines: &[String]) -> String {
    lines.join("\r\n") + "\r\n"
}

fn parse_error(message: &str) -> Fault {
    Fault::kurento(40201, "SDP_PARSE_ERROR", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_mirrors_the_sections_of_the_offer() {
        let login = IceLogin::draw(&mut Draws::seeded(1));
        let offer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
                     a=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
        let answer = answer(offer, &login).expect("valid");
        assert_eq!(mids(&answer), ["0", "1"]);
        assert!(answer.contains("a=group:BUNDLE 0 1\r\n") && answer.contains("a=recvonly\r\n"));
        assert!(
            answer.contains("a=rtpmap:111 opus") && answer.matches("a=setup:active").count() == 2
        );
        assert_eq!(answer.matches("a=ice-ufrag:").count(), 2);
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        let login = IceLogin::draw(&mut Draws::seeded(1));
        for bad in ["", "hello", "v=0\r\ns=no media\r\n"] {
            assert_eq!(answer(bad, &login).map_err(|fault| fault.code), Err(40201));
        }
        assert!(answer(&offer(&login), &login).is_ok());
    }
}
