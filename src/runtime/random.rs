//! Random numbers from the operating system: the only source of secrets and of seeds.

use std::cell::RefCell;

/// Secrets that one call to the system gives: a storm of connections needs one each.
const DRAWN_AT_ONCE: usize = 32;

thread_local! {
    /// Secrets that nobody was given yet.
    static DRAWN: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
}

/// 128 bits that nobody can guess.
///
/// # Panics
/// If the system has no random numbers; nothing safe could be done without.
#[must_use]
pub fn secret() -> u128 {
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            let mut bytes = [0; 16 * DRAWN_AT_ONCE];
            fill(&mut bytes);
            drawn.extend(bytes.as_chunks().0.iter().map(|secret| u128::from_ne_bytes(*secret)));
        }
        drawn.pop().expect("some were just drawn")
    })
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has random numbers");
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
    use std::collections::BTreeSet;

    #[test]
    fn secrets_differ() {
        let count = 3 * super::DRAWN_AT_ONCE;
        let secrets: BTreeSet<u128> = (0..count).map(|_| super::secret()).collect();
        assert_eq!(secrets.len(), count);
    }
}
