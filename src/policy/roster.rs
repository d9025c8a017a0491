//! Which backends the fleet is to have, from what each source of backends last said.
//!
//! The rule: the config and the admin API are an operator's word and count at once. Any other source
//! may err, or be away, so what it does not name any more stays for a hold:
//! - It names others, and not this one: *withdrawn*. It goes when the hold is over.
//! - It says nothing, or names none at all: *silent*. It goes when the hold is over and it does not
//!   answer probes, because a source that is away is no reason to take servers out that work.
//!
//! Whoever goes keeps its meetings: that is the fleet's part. Not here: what a backend is like, which
//! is carried along as `B`.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::source::Source;
use crate::model::{BackendId, Time};

/// A backend as its source names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer<B> {
    /// Its id.
    pub id: BackendId,
    /// Where it listens, as a URL. Who has the same is the same.
    pub url: String,
    /// What it is like.
    pub backend: B,
}

/// A backend that the fleet is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<B> {
    /// Who named it: of several the first in their order.
    pub source: Source,
    /// What that source said last.
    pub offer: Offer<B>,
}

/// Why a backend that is named is not in the fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Another has its id.
    #[error("{id} at {url}, named by {source_name}: another backend has that id")]
    SameId {
        /// The id of both.
        id: BackendId,
        /// The URL of the one that is refused.
        url: String,
        /// Who named it.
        source_name: Source,
    },
    /// There are too many.
    #[error("{id} at {url}, named by {source_name}: the fleet has its {max} backends")]
    TooMany {
        /// The id of the one that is refused.
        id: BackendId,
        /// Its URL.
        url: String,
        /// Who named it.
        source_name: Source,
        /// The bound.
        max: usize,
    },
}

/// What the fleet is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<B> {
    /// Its backends, ids and URLs all different: by source, those that are named before those that
    /// only stay, then in the order in which they were first named.
    pub members: Vec<Member<B>>,
    /// Who was named and may not be in it.
    pub refusals: Vec<Refusal>,
}

/// What a source says of one backend now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Named,
    /// Since when it names others only.
    Withdrawn(Time),
    /// Since when it says nothing, or names none.
    Silent(Time),
}

#[derive(Clone, Debug)]
struct Entry<B> {
    /// Counts up, so that who came first stays when there are too many.
    number: u64,
    word: Word,
    offer: Offer<B>,
}

/// What all sources last said.
#[derive(Clone, Debug)]
pub struct Roster<B> {
    hold: Duration,
    members_max: usize,
    next_number: u64,
    /// By source and URL.
    entries: BTreeMap<(Source, String), Entry<B>>,
}

impl<B: Clone> Roster<B> {
    /// Nothing was said yet. At most `members_max` backends are ever wanted, and as many are known of
    /// each source; further ones are passed over.
    #[must_use]
    pub const fn new(hold: Duration, members_max: usize) -> Self {
        Self { hold, members_max, next_number: 0, entries: BTreeMap::new() }
    }

    /// From now on a backend that is not named any more stays for `hold`.
    pub const fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
    }

    /// `source`, an operator, names exactly these: all others it named are forgotten.
    pub fn set(&mut self, source: &Source, offers: Vec<Offer<B>>) {
        let urls: BTreeSet<String> = offers.iter().map(|offer| offer.url.clone()).collect();
        self.entries.retain(|(of, url), _| of != source || urls.contains(url));
        for offer in offers {
            self.name(source, offer);
        }
    }

    /// `source` names these. If that is a whole answer and not empty, others that it named before are
    /// withdrawn; else it says nothing of them.
    pub fn hear(&mut self, source: &Source, offers: Vec<Offer<B>>, is_whole: bool, now: Time) {
        let withdraws = is_whole && !offers.is_empty();
        let urls: BTreeSet<String> = offers.iter().map(|offer| offer.url.clone()).collect();
        let others = self.entries.iter_mut().filter(|((of, _), _)| of == source);
        for (_, entry) in others.filter(|((_, url), _)| !urls.contains(url)) {
            entry.word = match entry.word {
                Word::Withdrawn(since) => Word::Withdrawn(since),
                Word::Named | Word::Silent(_) if withdraws => Word::Withdrawn(now),
                Word::Named => Word::Silent(now),
                Word::Silent(since) => Word::Silent(since),
            };
        }
        for offer in offers {
            self.name(source, offer);
        }
    }

    /// `source` names this one, and says nothing of others.
    pub fn name(&mut self, source: &Source, offer: Offer<B>) {
        let key = (source.clone(), offer.url.clone());
        if let Some(entry) = self.entries.get_mut(&key) {
            (entry.word, entry.offer) = (Word::Named, offer);
            return;
        }
        if self.entries.keys().filter(|(of, _)| of == source).count() >= self.members_max {
            return;
        }
        let entry = Entry { number: self.next_number, word: Word::Named, offer };
        self.next_number += 1;
        self.entries.insert(key, entry);
    }

    /// `source` says nothing of the one at `url` any more.
    pub fn fall_silent(&mut self, source: &Source, url: &str, now: Time) {
        if let Some(entry) = self.entries.get_mut(&(source.clone(), url.to_owned()))
            && entry.word == Word::Named
        {
            entry.word = Word::Silent(now);
        }
    }

    /// A process before knew this one from `source`, which has said nothing yet. One of
    /// [`Source::Past`] was leaving: it is withdrawn.
    pub fn restore(&mut self, source: &Source, offer: Offer<B>, now: Time) {
        let key = (source.clone(), offer.url.clone());
        self.name(source, offer);
        if let Some(entry) = self.entries.get_mut(&key) {
            let is_past = *source == Source::Past;
            entry.word = if is_past { Word::Withdrawn(now) } else { Word::Silent(now) };
        }
    }

    /// Only sources for which `is_there` holds exist from now on; what others said is forgotten.
    pub fn retain_sources(&mut self, is_there: impl Fn(&Source) -> bool) {
        self.entries.retain(|(source, _), _| is_there(source));
    }

    /// What the fleet is to be at `now`. `answers` tells who answers probes. Who has been gone for long
    /// enough is forgotten.
    pub fn wanted(&mut self, now: Time, answers: impl Fn(&BackendId) -> bool) -> Wanted<B> {
        let hold = self.hold;
        self.entries.retain(|_, entry| match entry.word {
            Word::Named => true,
            Word::Withdrawn(since) => now.since(since) < hold,
            Word::Silent(since) => now.since(since) < hold || answers(&entry.offer.id),
        });
        self.known()
    }

    /// What the fleet is to begin with: whoever is known, for what is left of their meetings is not.
    #[must_use]
    pub fn known(&self) -> Wanted<B> {
        let mut ordered: Vec<(&Source, &Entry<B>)> =
            self.entries.iter().map(|((source, _), entry)| (source, entry)).collect();
        ordered.sort_by_key(|(source, entry)| (*source, entry.word != Word::Named, entry.number));
        self.choose(&ordered)
    }

    fn choose(&self, ordered: &[(&Source, &Entry<B>)]) -> Wanted<B> {
        let mut wanted = Wanted { members: Vec::new(), refusals: Vec::new() };
        let (mut ids, mut urls) = (BTreeSet::new(), BTreeSet::new());
        for (source, entry) in ordered {
            let Offer { id, url, .. } = &entry.offer;
            if urls.contains(url) {
                continue;
            }
            let (refused, at, source_name) = (id.clone(), url.clone(), (*source).clone());
            if ids.contains(id) {
                wanted.refusals.push(Refusal::SameId { id: refused, url: at, source_name });
            } else if wanted.members.len() >= self.members_max {
                let max = self.members_max;
                wanted.refusals.push(Refusal::TooMany { id: refused, url: at, source_name, max });
            } else {
                urls.insert(url);
                ids.insert(id);
                wanted.members.push(Member { source: source_name, offer: entry.offer.clone() });
            }
        }
        wanted
    }

    /// When [`Self::wanted`] may change by the passing of time alone, after `now`.
    #[must_use]
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let due = self.entries.values().filter_map(|entry| match entry.word {
            Word::Named => None,
            Word::Withdrawn(since) | Word::Silent(since) => Some(since + self.hold),
        });
        due.filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests;
