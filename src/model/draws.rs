//! Random draws that can be repeated.

/// A stream of uniform random numbers that its seed decides entirely.
///
/// For choices, jitter and simulation; never for secrets. Source: Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014 (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The stream that starts from `seed`.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all of `u64`.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, and 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).expect("less than bound, which is a usize")
    }

    /// A fraction from `0.0` up to but without `1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_draws_within_their_bounds() {
        let (mut a, mut b) = (Draws::seeded(7), Draws::seeded(7));
        for _ in 0..1_000 {
            assert_eq!(a.next(), b.next());
            assert!(a.below(10) < 10);
            assert!((0.0..1.0).contains(&a.fraction()));
            b = a.clone();
        }
        assert_eq!(a.below(0), 0);
    }
}
