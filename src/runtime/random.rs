//! Random numbers from the operating system: the only source of secrets and of seeds.

/// 128 bits that nobody can guess.
///
/// # Panics
/// If the system has no random numbers; nothing safe could be done without.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
pub fn secret() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    u128::from_ne_bytes(bytes)
}

/// A seed for draws.
#[must_use]
pub fn seed() -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
    let seed = secret() as u64;
    seed
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_differ() {
        assert_ne!(super::secret(), super::secret());
    }
}
