//! Bytes as decisions.

/// What is left of a script. Where it is over, each decision is the first of its choices.
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One of `count` choices, 256 at most.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count
    }

    /// Yes or no; no where the script is over.
    pub(super) fn flag(&mut self) -> bool {
        self.pick(2) == 1
    }

    /// One of `choices`; `None` if there are none.
    pub(super) fn choose<T>(&mut self, choices: impl IntoIterator<Item = T>) -> Option<T> {
        let mut choices: Vec<T> = choices.into_iter().collect();
        if choices.is_empty() {
            return None;
        }
        let picked = self.pick(choices.len());
        Some(choices.swap_remove(picked))
    }
}
