//! Texts that are nearly right.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Bytes that a failing test shows as text.
#[derive(Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of a text. Places are relative, so that they fit any text.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    /// This byte takes the place of another.
    Replace(Index, u8),
    /// This is put in.
    Insert(Index, Vec<u8>),
    /// What stands between is taken out.
    Delete(Index, Index),
    /// What stands between is put in at the third place too.
    Repeat(Index, Index, Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let end = bytes.len() + 1;
        let slice = |a: &Index, b: &Index| {
            let (a, b) = (a.index(end), b.index(end));
            a.min(b)..a.max(b)
        };
        match self {
            Self::Replace(_, _) if bytes.is_empty() => {}
            Self::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Insert(at, what) => {
                let at = at.index(end);
                bytes.splice(at..at, what.iter().copied());
            }
            Self::Delete(from, to) => drop(bytes.drain(slice(from, to))),
            Self::Repeat(from, to, at) => {
                let repeated = bytes[slice(from, to)].to_vec();
                let at = at.index(end);
                bytes.splice(at..at, repeated);
            }
        }
    }
}

/// One of `seeds` with up to three changes that put in words of `dictionary`.
pub(super) fn mutated(
    seeds: Vec<Bytes>,
    dictionary: &'static [&'static str],
) -> impl Strategy<Value = Bytes> {
    let word = prop::sample::select(dictionary).prop_map(|word| word.as_bytes().to_vec());
    let place = any::<Index>;
    let mutation = prop_oneof![
        1 => (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => (place(), word).prop_map(|(at, word)| Mutation::Insert(at, word)),
        1 => (place(), place()).prop_map(|(from, to)| Mutation::Delete(from, to)),
        1 => (place(), place(), place()).prop_map(|(from, to, at)| Mutation::Repeat(from, to, at)),
    ];
    (prop::sample::select(seeds), vec(mutation, 0..4)).prop_map(|(mut bytes, mutations)| {
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes.0));
        bytes
    })
}
