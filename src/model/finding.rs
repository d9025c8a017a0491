//! What came of looking for something in the fleet.

/// What came of looking for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding<T> {
    /// It is there.
    Known(T),
    /// Whoever could have it has said no.
    Unknown,
    /// Not everybody who could have it has told. It may be there; whoever looks again after so many
    /// milliseconds may be told.
    NotSure(u32),
}

impl<T> Finding<T> {
    /// The same of what `change` makes of it.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Finding<U> {
        match self {
            Self::Known(known) => Finding::Known(change(known)),
            Self::Unknown => Finding::Unknown,
            Self::NotSure(retry_after_ms) => Finding::NotSure(retry_after_ms),
        }
    }
}

impl<T> From<Option<T>> for Finding<T> {
    /// For whoever knows all there is.
    fn from(known: Option<T>) -> Self {
        known.map_or(Self::Unknown, Self::Known)
    }
}
