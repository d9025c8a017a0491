//! Session descriptions as a KMS endpoint would write them, without any media behind them.

use std::fmt::Write;

use crate::model::Draws;

use super::random;

/// Codecs that are accepted from an offer; anything else in it is left out of the answer.
const CODECS: [&str; 9] =
    ["opus", "pcmu", "pcma", "vp8", "vp9", "h264", "av1", "h265", "telephone-event"];

const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

const OFFERED_AUDIO: [&str; 1] = ["a=rtpmap:96 opus/48000/2"];

const OFFERED_VIDEO: [&str; 7] = [
    "a=rtpmap:102 AV1/90000",
    "a=fmtp:102 level-idx=5;profile=0;tier=0",
    "a=rtpmap:103 VP9/90000",
    "a=fmtp:103 profile-id=0",
    "a=rtpmap:104 VP8/90000",
    "a=rtpmap:105 H264/90000",
    "a=fmtp:105 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
];

/// One endpoint's own half of a session: what its descriptions always say.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) is_web_rtc: bool,
    pub(super) seconds: u64,
    ufrag: String,
    password: String,
    fingerprint: String,
    cname: String,
    ssrcs: [u32; 2],
    port: u16,
    address: String,
}

impl Local {
    /// Draws the secrets of a new endpoint; `seconds` is the time since 1970.
    pub(super) fn draw(
        draws: &mut Draws,
        is_web_rtc: bool,
        seconds: u64,
        (fingerprint, address): (&str, &str),
    ) -> Self {
        let mut number = || u32::try_from(draws.next() >> 32).expect("32 bits are left");
        let ssrcs = [number(), number()];
        let cname = format!("user{}@host-{:x}", number(), number());
        Self {
            is_web_rtc,
            seconds,
            ufrag: random::ice_text(draws, 4),
            password: random::ice_text(draws, 22),
            fingerprint: fingerprint.to_owned(),
            cname,
            ssrcs,
            port: random::port(draws),
            address: address.to_owned(),
        }
    }

    /// An offer for the media in `wanted`, of `audio`, `video` and `application`.
    pub(super) fn offer(&self, wanted: &[&str], direction: &str) -> String {
        let mids: Vec<String> = wanted.iter().map(|media| format!("{media}0")).collect();
        let mut sdp = self.head(self.is_web_rtc.then_some(&mids[..]));
        for (media, mid) in wanted.iter().zip(&mids) {
            self.offer_media(&mut sdp, media, mid, direction);
        }
        sdp
    }

    fn offer_media(&self, sdp: &mut String, media: &str, mid: &str, direction: &str) {
        let port = if self.is_web_rtc { 1 } else { self.port };
        let profile = if self.is_web_rtc { "RTP/SAVPF" } else { "RTP/AVPF" };
        if media == "application" {
            line(sdp, &format!("m=application {port} DTLS/SCTP 5000"));
            line(sdp, "a=setup:actpass");
            line(sdp, &format!("a=mid:{mid}"));
            line(sdp, "a=sctpmap:5000 webrtc-datachannel 65535");
            return self.end_media(sdp, None);
        }
        let (formats, lines): (_, &[&str]) = match media {
            "audio" => ("96 0 8", &OFFERED_AUDIO),
            _ => ("102 103 104 105", &OFFERED_VIDEO),
        };
        line(sdp, &format!("m={media} {port} {profile} {formats}"));
        if self.is_web_rtc {
            line(sdp, "a=setup:actpass");
        }
        line(sdp, &format!("a=extmap:3 {ABS_SEND_TIME}"));
        lines.iter().for_each(|text| line(sdp, text));
        line(sdp, "a=rtcp:9 IN IP4 0.0.0.0");
        line(sdp, "a=rtcp-mux");
        line(sdp, &format!("a={direction}"));
        line(sdp, &format!("a=mid:{mid}"));
        if media == "video" {
            for format in 102..=105 {
                line(sdp, &format!("a=rtcp-fb:{format} nack"));
                line(sdp, &format!("a=rtcp-fb:{format} nack pli"));
                if format != 105 {
                    line(sdp, &format!("a=rtcp-fb:{format} goog-remb"));
                }
                line(sdp, &format!("a=rtcp-fb:{format} ccm fir"));
            }
        }
        self.end_media(sdp, Some(usize::from(media == "video")));
    }

    /// The answer to `offer`: the same media in the same order, directions turned round.
    pub(super) fn answer(&self, offer: &Sdp<'_>) -> String {
        let mids: Vec<String> =
            offer.media.iter().filter_map(|m| m.value("mid")).map(str::to_owned).collect();
        let is_bundle = offer.head.iter().any(|text| text.starts_with("a=group:BUNDLE"));
        let mut sdp = self.head(is_bundle.then_some(&mids[..]));
        for media in &offer.media {
            self.answer_media(&mut sdp, media);
        }
        sdp
    }

    fn answer_media(&self, sdp: &mut String, offered: &MediaLine<'_>) {
        let formats = offered.accepted();
        let is_refused = offered.port == "0" || formats.is_empty();
        let port = match (is_refused, self.is_web_rtc) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => self.port,
        };
        let listed = if is_refused { offered.formats.clone() } else { formats.clone() };
        line(sdp, &format!("m={} {port} {} {}", offered.kind, offered.profile, listed.join(" ")));
        if is_refused {
            let mid = offered.value("mid");
            mid.into_iter().for_each(|mid| line(sdp, &format!("a=mid:{mid}")));
            return line(sdp, "a=inactive");
        }
        let of_format = |name: &str| {
            let matching = offered.lines.iter().filter(|text| {
                let value = text.strip_prefix("a=").and_then(|t| t.strip_prefix(name));
                let format = value.and_then(|v| v.strip_prefix(':')).and_then(first_word);
                format.is_some_and(|format| formats.contains(&format))
            });
            matching.copied().collect::<Vec<&str>>()
        };
        let extensions = offered.lines.iter().filter(|text| text.ends_with(ABS_SEND_TIME));
        extensions.for_each(|text| line(sdp, text));
        let direction = turned(offered.direction());
        line(sdp, &format!("a={direction}"));
        offered.value("mid").into_iter().for_each(|mid| line(sdp, &format!("a=mid:{mid}")));
        line(sdp, "a=rtcp:9 IN IP4 0.0.0.0");
        of_format("rtpmap").iter().for_each(|text| line(sdp, text));
        of_format("rtcp-fb").iter().for_each(|text| line(sdp, text));
        if let Some(setup) = offered.value("setup") {
            let ours = if setup == "active" { "passive" } else { "active" };
            line(sdp, &format!("a=setup:{ours}"));
        }
        of_format("fmtp").iter().for_each(|text| line(sdp, text));
        let copied = ["a=rtcp-mux", "a=sctpmap:", "a=sctp-port:", "a=max-message-size:"];
        let copies = offered.lines.iter().filter(|t| copied.iter().any(|c| t.starts_with(c)));
        copies.for_each(|text| line(sdp, text));
        let sends = matches!(direction, "sendrecv" | "sendonly") && offered.kind != "application";
        self.end_media(sdp, sends.then_some(usize::from(offered.kind == "video")));
    }

    fn head(&self, bundled: Option<&[String]>) -> String {
        // SDP counts seconds from 1900 here, as NTP does. Source: RFC 8866, section 5.2.
        let time = self.seconds + 2_208_988_800;
        let address = if self.is_web_rtc { "0.0.0.0" } else { &self.address };
        let mut sdp = String::with_capacity(2_048);
        line(&mut sdp, "v=0");
        line(&mut sdp, &format!("o=- {time} {time} IN IP4 {address}"));
        line(&mut sdp, "s=Kurento Media Server");
        line(&mut sdp, &format!("c=IN IP4 {address}"));
        line(&mut sdp, "t=0 0");
        if let Some(mids) = bundled {
            line(&mut sdp, &format!("a=group:BUNDLE {}", mids.join(" ")));
        }
        sdp
    }

    fn end_media(&self, sdp: &mut String, source: Option<usize>) {
        if let Some(ssrc) = source.map(|at| self.ssrcs[at]) {
            line(sdp, &format!("a=ssrc:{ssrc} cname:{}", self.cname));
        }
        if self.is_web_rtc {
            line(sdp, &format!("a=ice-ufrag:{}", self.ufrag));
            line(sdp, &format!("a=ice-pwd:{}", self.password));
            line(sdp, &format!("a=fingerprint:sha-256 {}", self.fingerprint));
        }
    }
}

/// A description that was read.
#[derive(Debug)]
pub(super) struct Sdp<'a> {
    head: Vec<&'a str>,
    pub(super) media: Vec<MediaLine<'a>>,
}

impl<'a> Sdp<'a> {
    /// Reads `text`; `None` if it is no description.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim_end).filter(|text| !text.is_empty());
        let mut sdp =
            Self { head: vec![lines.next().filter(|first| *first == "v=0")?], media: vec![] };
        for text in lines {
            if let Some(media) = text.strip_prefix("m=") {
                sdp.media.push(MediaLine::parse(media)?);
            } else if let Some(media) = sdp.media.last_mut() {
                media.lines.push(text);
            } else {
                sdp.head.push(text);
            }
        }
        Some(sdp)
    }

    /// The `mid` of each media line, or its kind and place if it has none.
    pub(super) fn mids(&self) -> Vec<String> {
        let named = |(at, media): (usize, &MediaLine<'_>)| {
            media.value("mid").map_or_else(|| format!("{}{at}", media.kind), str::to_owned)
        };
        self.media.iter().enumerate().map(named).collect()
    }

    /// The first codec of the picture, in lower case; `None` if there is no picture.
    pub(super) fn video_codec(&self) -> Option<String> {
        let video = self.media.iter().find(|media| media.kind == "video" && media.port != "0")?;
        video.codec(video.formats.first()?).map(str::to_ascii_lowercase)
    }

    /// Whether any media line already holds a candidate.
    pub(super) fn has_candidate(&self) -> bool {
        self.media.iter().any(|media| media.value("candidate").is_some())
    }
}

/// One `m=` line with the lines below it.
#[derive(Debug)]
pub(super) struct MediaLine<'a> {
    kind: &'a str,
    port: &'a str,
    profile: &'a str,
    formats: Vec<&'a str>,
    lines: Vec<&'a str>,
}

impl<'a> MediaLine<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (kind, port, profile) = (words.next()?, words.next()?, words.next()?);
        Some(Self { kind, port, profile, formats: words.collect(), lines: Vec::new() })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let value = |text: &&'a str| text.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':');
        self.lines.iter().find_map(value)
    }

    fn direction(&self) -> &'a str {
        let known = |text: &&'a str| match text.strip_prefix("a=")? {
            known @ ("sendrecv" | "sendonly" | "recvonly" | "inactive") => Some(known),
            _ => None,
        };
        self.lines.iter().find_map(known).unwrap_or("sendrecv")
    }

    /// The name of the codec that `format` stands for, if the line says so.
    fn codec(&self, format: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|text| {
            let (of, codec) = text.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            (of == format).then(|| codec.split('/').next().unwrap_or(codec))
        })
    }

    /// The offered formats that we know: static ones, and those mapped to one of `CODECS`.
    fn accepted(&self) -> Vec<&'a str> {
        let is_known = |format: &&&'a str| {
            let codec = self.codec(format);
            let is_static = format.parse::<u8>().is_ok_and(|number| number < 35);
            codec.map_or(is_static, |c| CODECS.iter().any(|known| known.eq_ignore_ascii_case(c)))
        };
        match self.kind {
            "application" => self.formats.clone(),
            _ => self.formats.iter().filter(is_known).copied().collect(),
        }
    }
}

fn first_word(text: &str) -> Option<&str> {
    text.split_whitespace().next()
}

fn turned(direction: &str) -> &str {
    match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        same => same,
    }
}

fn line(sdp: &mut String, text: &str) {
    write!(sdp, "{text}\r\n").expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local::draw(&mut Draws::seeded(1), true, 1_795_234_993, ("F0:CF", "127.0.0.1"))
    }

    #[test]
    fn an_answer_mirrors_the_media_of_a_browser() {
        let offer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=sendonly\r\na=setup:actpass\r\n\
            a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n\
            a=fmtp:111 minptime=10\r\nm=video 9 UDP/TLS/RTP/SAVPF 99\r\na=mid:1\r\n\
            a=rtpmap:99 strange/90000\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
            a=mid:2\r\na=sctp-port:5000\r\n";
        let answer = local().answer(&Sdp::parse(offer).unwrap());
        let parsed = Sdp::parse(&answer).unwrap();
        assert!(answer.contains("a=group:BUNDLE 0 1 2\r\n"));
        let [audio, video, data] = &parsed.media[..] else { panic!("{answer}") };
        assert_eq!((audio.formats.as_slice(), audio.direction()), (&["111"][..], "recvonly"));
        assert_eq!(
            (audio.value("setup"), audio.value("fmtp")),
            (Some("active"), Some("111 minptime=10"))
        );
        assert_eq!((video.port, video.direction()), ("0", "inactive"));
        assert_eq!((data.port, data.value("sctp-port")), ("1", Some("5000")));
        assert_eq!(parsed.mids(), ["0", "1", "2"]);
        assert!(audio.value("ice-pwd").is_some_and(|password| password.len() == 22));
    }

    #[test]
    fn an_offer_can_be_answered_and_what_is_no_description_cannot() {
        let offer = local().offer(&["audio", "video"], "sendrecv");
        let answer = local().answer(&Sdp::parse(&offer).unwrap());
        assert!(answer.contains("m=video 1 RTP/SAVPF 102 103 104 105\r\n"), "{answer}");
        for text in ["", "not sdp", "v=0\r\nm=audio\r\n"] {
            assert!(Sdp::parse(text).is_none(), "{text}");
        }
    }
}
