//! Random-looking texts, made from draws.

use crate::model::Draws;

/// What ICE user fragments and passwords are made of (RFC 8445, section 5.3: `ice-char`).
const ICE_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A version 4 UUID in lower case.
pub(super) fn uuid(draws: &mut Draws) -> String {
    let (high, low) = (draws.next(), draws.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    )
}

/// `len` letters that ICE allows.
pub(super) fn ice_text(draws: &mut Draws, len: usize) -> String {
    (0..len).map(|_| char::from(ICE_LETTERS[draws.below(ICE_LETTERS.len())])).collect()
}

/// A SHA-256 certificate fingerprint as SDP writes it.
pub(super) fn fingerprint(draws: &mut Draws) -> String {
    let bytes: Vec<String> = (0..32).map(|_| format!("{:02X}", draws.below(256))).collect();
    bytes.join(":")
}

/// A port that is not reserved.
pub(super) fn port(draws: &mut Draws) -> u16 {
    u16::try_from(1_024 + draws.below(64_512)).expect("below 65,536")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_form() {
        let mut draws = Draws::seeded(3);
        for _ in 0..100 {
            let uuid = uuid(&mut draws);
            assert_eq!(uuid.len(), 36);
            assert_eq!(&uuid[14..15], "4");
            assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        }
    }
}
