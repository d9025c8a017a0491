//! Draws that everybody who knows the meeting makes alike: rendezvous hashing.
//!
//! Each backend has as many tickets as its weight; a ticket's number is a hash of it and the meeting,
//! and a backend is worth its highest ticket. Nobody has to agree on anything but names: a backend
//! that comes or goes changes the draw of those meetings alone which it wins or has won.
//!
//! Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998. The
//! highest of w uniform numbers is distributed as the w-th root of one, which is what weighted
//! rendezvous hashing wants, and needs no logarithm, whose last bit differs between machines.

use super::Profile;

/// The hash of a name: the same in every process and version.
///
/// Source: FNV-1a with 64 bits (Fowler, Noll, Vo), mixed, because FNV leaves the upper bits of short
/// texts alike.
#[must_use]
pub fn key_of(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// What `profile` draws for the meeting of that `key`.
pub(super) fn ticket(profile: &Profile, key: u64) -> u64 {
    let number = |nth: u8| mix(key ^ profile.key.wrapping_add(u64::from(nth) << 56));
    (0..profile.weight.max(1)).map(number).max().unwrap_or(0)
}

/// Every bit of the result depends on every bit of `z`. Source: `SplitMix64`, as in `model::Draws`.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackendId;

    fn profile(name: &str, weight: u8) -> Profile {
        Profile { weight, ..Profile::new(BackendId::parse(name).unwrap()) }
    }

    /// Pinned, because edges of different versions must agree.
    #[test]
    fn a_key_is_the_same_for_ever() {
        assert_eq!(key_of(""), 0xc3817c016ba4ff30);
        assert_eq!(key_of("standup"), key_of("standup"));
        assert_ne!(key_of("room-1"), key_of("room-2"));
    }

    #[test]
    fn wins_follow_the_weights() {
        let all = [profile("a", 1), profile("b", 1), profile("c", 2), profile("d", 4)];
        let mut wins = [0i32; 4];
        for meeting in 0..8_000 {
            let key = key_of(&format!("room-{meeting}"));
            let winner = (0..4).max_by_key(|&index| ticket(&all[index], key)).unwrap();
            wins[winner] += 1;
        }
        for (won, share) in wins.into_iter().zip([1_000, 1_000, 2_000, 4_000]) {
            assert!((won - share).abs() < 150, "{wins:?}");
        }
    }

    #[test]
    fn one_that_goes_moves_only_what_it_had() {
        let all = [profile("a", 1), profile("b", 3), profile("c", 1)];
        for meeting in 0..1_000 {
            let key = key_of(&format!("room-{meeting}"));
            let winner = |among: &[Profile]| {
                among.iter().max_by_key(|one| ticket(one, key)).unwrap().id.clone()
            };
            if winner(&all) != all[2].id {
                assert_eq!(winner(&all), winner(&all[..2]));
            }
        }
    }
}
