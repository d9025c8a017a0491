//! Finds the end of a JSON string, many bytes a step.
//!
//! Most of a large message is one string, an SDP, with two escapes in every line. So the scan passes
//! over simple escapes itself, from a mask that has a bit for each byte that may need a look: quotes,
//! backslashes and control characters. Sixteen bytes at once with SSE2 or NEON, which their processors
//! always have, 32 with AVX2 where that is found at run time, eight with plain arithmetic elsewhere.

/// Where a scan has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// The quote that ends the string, or a byte that needs a closer look: an escape of a code unit,
    /// one that is none, a control character. The length of the text, if that comes first.
    pub(super) at: usize,
    /// Whether an escape was passed over.
    pub(super) has_escapes: bool,
}

/// Scans the inside of a string from `at` on.
#[inline]
pub(super) fn string_end(bytes: &[u8], at: usize) -> Stop {
    // Keys and most values end soon.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = specials_16(chunk).trailing_zeros() as usize;
        if found < 16 && chunk[found] == b'"' {
            return Stop { at: at + found, has_escapes: false };
        }
    }
    long_string_end(bytes, at)
}

fn long_string_end(bytes: &[u8], at: usize) -> Stop {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "whether the processor has it is known at run time only")]
        // SAFETY: it has AVX2, as was just asked.
        return unsafe { string_end_32(bytes, at) };
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return string_end_16(bytes, at);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    string_end_8(bytes, at)
}

/// The scan of `$specials`, which gives a mask of `$width` bytes, the first one lowest. A macro, since
/// each must be compiled for the instructions that its mask takes.
macro_rules! scan {
    ($(#[$attribute:meta])* $name:ident, $specials:ident, $width:literal) => {
        $(#[$attribute])*
        fn $name(bytes: &[u8], mut at: usize) -> Stop {
            let mut has_escapes = false;
            'chunks: while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<$width>) {
                let mut specials = $specials(chunk);
                while specials != 0 {
                    let found = specials.trailing_zeros() as usize;
                    if chunk[found] != b'\\' || !is_simple_escape(bytes, at + found) {
                        return Stop { at: at + found, has_escapes };
                    }
                    has_escapes = true;
                    if found + 1 == $width {
                        at += $width + 1;
                        continue 'chunks;
                    }
                    specials &= !(0b11 << found);
                }
                at += $width;
            }
            tail_end(bytes, at, has_escapes)
        }
    };
}

scan!(
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    string_end_32,
    specials_32,
    32
);
scan!(
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    string_end_16,
    specials_16,
    16
);
scan!(
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    string_end_8,
    specials_8,
    8
);

/// Goes on where less than a chunk is left, byte by byte.
fn tail_end(bytes: &[u8], mut at: usize, mut has_escapes: bool) -> Stop {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if is_simple_escape(bytes, at) => {
                has_escapes = true;
                at += 2;
            }
            b'"' | b'\\' | 0..=0x1f => break,
            _ => at += 1,
        }
    }
    Stop { at, has_escapes }
}

/// Whether the backslash at `at` begins an escape of two bytes.
fn is_simple_escape(bytes: &[u8], at: usize) -> bool {
    let escaped = bytes.get(at + 1);
    matches!(escaped, Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'))
}

/// The `N`th eight bytes of `chunk`, the first one lowest.
#[inline]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn word<const N: usize, const LEN: usize>(chunk: &[u8; LEN]) -> u64 {
    u64::from_le_bytes(chunk[8 * N..8 * N + 8].try_into().expect("eight bytes"))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn specials_32(chunk: &[u8; 32]) -> u32 {
    use std::arch::x86_64::{
        _mm256_cmpeq_epi8, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set_epi64x, _mm256_set1_epi8,
    };
    let [a, b, c, d] =
        [word::<0, 32>(chunk), word::<1, 32>(chunk), word::<2, 32>(chunk), word::<3, 32>(chunk)];
    let bytes =
        _mm256_set_epi64x(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed());
    let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"'.cast_signed()));
    let backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\'.cast_signed()));
    let bound = _mm256_set1_epi8(0x1f);
    let control = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, bound), bound);
    let found = _mm256_or_si256(_mm256_or_si256(quote, backslash), control);
    _mm256_movemask_epi8(found).cast_unsigned()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
#[expect(unsafe_code, reason = "what every processor of its kind has must be named all the same")]
fn specials_16(chunk: &[u8; 16]) -> u32 {
    // SAFETY: every x86-64 processor has SSE2, every AArch64 one that runs a system has NEON.
    unsafe { specials_of_16(word::<0, 16>(chunk), word::<1, 16>(chunk)) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn specials_of_16(low: u64, high: u64) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };
    let bytes = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
    let bound = _mm_set1_epi8(0x1f);
    let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, bound), bound);
    let found = _mm_or_si128(_mm_or_si128(quote, backslash), control);
    _mm_movemask_epi8(found).cast_unsigned()
}

/// NEON has no mask of bits: each byte keeps one bit of its own, and those of each half are added up.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
#[inline]
fn specials_of_16(low: u64, high: u64) -> u32 {
    use std::arch::aarch64::{
        vaddv_u8, vandq_u8, vceqq_u8, vcltq_u8, vcombine_u8, vcreate_u8, vdupq_n_u8, vget_high_u8,
        vget_low_u8, vorrq_u8,
    };
    let bytes = vcombine_u8(vcreate_u8(low), vcreate_u8(high));
    let quote = vceqq_u8(bytes, vdupq_n_u8(b'"'));
    let backslash = vceqq_u8(bytes, vdupq_n_u8(b'\\'));
    let control = vcltq_u8(bytes, vdupq_n_u8(0x20));
    let found = vorrq_u8(vorrq_u8(quote, backslash), control);
    let bit_of_each = vcreate_u8(0x8040_2010_0804_0201);
    let bits = vandq_u8(found, vcombine_u8(bit_of_each, bit_of_each));
    u32::from(vaddv_u8(vget_low_u8(bits))) | u32::from(vaddv_u8(vget_high_u8(bits))) << 8
}

/// Exact for each byte, unlike the shorter tests for a zero byte, which are so for the lowest only.
/// Source: Warren, "Hacker's Delight", 6-1.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn specials_8(chunk: &[u8; 8]) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOWS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const fn zeros(word: u64) -> u64 {
        !((word & LOWS).wrapping_add(LOWS) | word | LOWS)
    }
    let word = u64::from_le_bytes(*chunk);
    let quote = zeros(word ^ (ONES * b'"' as u64));
    let backslash = zeros(word ^ (ONES * b'\\' as u64));
    let found = quote | backslash | zeros(word & (ONES * 0xe0));
    // Gathers the highest bit of each byte in the highest byte, the lowest first.
    u32::from((found >> 7).wrapping_mul(0x0102_0408_1020_4080).to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Scan = fn(&[u8], usize) -> Stop;

    /// Every scan there is here, by name.
    fn scans() -> Vec<(&'static str, Scan)> {
        let mut scans: Vec<(_, Scan)> = vec![("any", string_end), ("8", string_end_8)];
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        scans.push(("16", string_end_16));
        scans
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            6 => any::<u8>(),
            6 => b' '..=b'z',
            4 => Just(b'\\'),
            2 => Just(b'"'),
            3 => prop::sample::select(b"nrt/u\"\\".to_vec()),
            1 => 0u8..0x20,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn all_scans_stop_where_a_look_at_every_byte_does(
            bytes in prop::collection::vec(byte(), 0..200), at in 0usize..40,
        ) {
            let at = at.min(bytes.len());
            let expected = tail_end(&bytes, at, false);
            for (name, scan) in scans() {
                prop_assert_eq!(scan(&bytes, at), expected, "{}", name);
            }
        }
    }

    #[test]
    fn an_escape_may_lie_across_chunks() {
        for len in 0..80 {
            let text = format!("{}\\\\\\n{}\"", "x".repeat(len), "y".repeat(80 - len));
            for (name, scan) in scans() {
                let stop = scan(text.as_bytes(), 0);
                assert_eq!(stop, Stop { at: 84, has_escapes: true }, "{name}, {len}");
            }
        }
    }
}
