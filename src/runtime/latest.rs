//! A value that is replaced as a whole while others use it.

use std::sync::{Arc, PoisonError, RwLock};

/// The newest of a kind. Whoever has taken one keeps it whole, whatever comes after it.
///
/// Reading locks for the time of cloning an `Arc`: cheap enough for a connection, a placement or a
/// media object, and never done for a message that is only passed on.
#[derive(Debug)]
pub struct Latest<T>(RwLock<Arc<T>>);

impl<T> Latest<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The newest.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        // Nothing that can panic is done while it is held.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it is `value`.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        let value = value.into();
        let mut newest = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *newest, value);
        // What it takes to drop it is nobody's wait.
        drop(newest);
        drop(old);
    }

    /// From now on it is `value`, unless it has become another than `before`; says whether it is.
    pub fn replace(&self, before: &Arc<T>, value: Arc<T>) -> bool {
        let mut newest = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = Arc::ptr_eq(&newest, before);
        if is_same {
            *newest = value;
        }
        is_same
    }
}

impl<T: Default> Default for Latest<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_taken_one_keeps_it() {
        let latest = Latest::new(1);
        let first = latest.get();
        latest.set(2);
        assert_eq!((*first, *latest.get()), (1, 2));
    }

    #[test]
    fn a_replacement_of_what_is_no_longer_there_is_none() {
        let latest = Latest::new(1);
        let first = latest.get();
        assert!(latest.replace(&first, Arc::new(2)));
        assert!(!latest.replace(&first, Arc::new(3)));
        assert_eq!(*latest.get(), 2);
    }
}
