//! Maps that are mostly empty, one or more in every connection.

use std::collections::BTreeMap;

/// Removes `key`. A map that is empty then owns no memory, where it would else keep its last node.
pub fn remove_lean<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K) -> Option<V> {
    let removed = map.remove(key);
    if map.is_empty() {
        *map = BTreeMap::new();
    }
    removed
}
