//! What every source has said, and whom the fleet is to have by that: everything of discovery that is
//! neither asked nor written.

use std::collections::BTreeMap;

use super::{ChangeError, Config, Found, Heard, Origin, Sources, sources};
use crate::fleet::FleetSnapshot;
use crate::model::{BackendId, Time};
use crate::policy::roster::{Member, Offer, Refusal, Roster, Source, Wanted};
use crate::settings::{BACKENDS_MAX, BackendSettings, KeptBackend};

/// What sources have said, and what the fleet was told.
pub(crate) struct Book {
    config: Config,
    /// What operators added, in that order.
    added: Vec<BackendSettings>,
    roster: Roster<Origin>,
    /// The URL that was claimed over each connection to the registrar.
    registered: BTreeMap<u64, String>,
    /// Whom the fleet was told to have, and as what.
    members: Vec<(Member<Origin>, BackendSettings)>,
    /// Who was left out then.
    refusals: Vec<Refusal>,
    /// Who is no longer wanted and still has meetings.
    leaving: BTreeMap<BackendId, (Source, BackendSettings)>,
}

impl Book {
    /// What the config says, and what a process before has kept.
    pub(crate) fn new(config: Config, kept: Vec<KeptBackend>, now: Time) -> Self {
        let mut book = Self {
            added: Vec::new(),
            roster: Roster::new(config.discovery.hold, BACKENDS_MAX),
            registered: BTreeMap::new(),
            members: Vec::new(),
            refusals: Vec::new(),
            leaving: BTreeMap::new(),
            config,
        };
        for one in kept {
            book.restore(one, now);
        }
        book.roster.set(&Source::Config, told(&book.config.backends));
        book.roster.set(&Source::Api, told(&book.added));
        book
    }

    /// Takes in what a process before has noted. Who is named no more by whoever named it then, was
    /// leaving, or would be: what is left on it may find back to it.
    fn restore(&mut self, kept: KeptBackend, now: Time) {
        let KeptBackend { source, found_as, mut backend } = kept;
        let is_there = sources::has(&self.config.discovery, &source);
        let is_configured = |one: &BackendSettings| one.id == backend.id || one.url == backend.url;
        let is_configured = self.config.backends.iter().any(is_configured);
        let (source, origin) = match source {
            Source::Api => return self.added.push(backend),
            Source::File(_) if is_there => (source, Origin::Told(Box::new(backend))),
            Source::Dns(_) | Source::Registrar if is_there => {
                (source, Origin::Found(Found::new(backend.url, found_as)))
            }
            Source::Config if is_configured => return,
            Source::Config
            | Source::Past
            | Source::File(_)
            | Source::Dns(_)
            | Source::Registrar => {
                backend.drain = true;
                (Source::Past, Origin::Told(Box::new(backend)))
            }
        };
        if let Some(offer) = origin.into_offer() {
            self.roster.restore(&source, offer, now);
        }
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// The config says this from now on.
    pub(crate) fn configure(&mut self, config: Config) {
        self.config = config;
        let Config { backends, discovery } = &self.config;
        self.roster.set_hold(discovery.hold);
        self.roster.set(&Source::Config, told(backends));
        self.roster.retain_sources(|source| sources::has(discovery, source));
        if discovery.registrar.is_none() {
            self.registered.clear();
        }
    }

    /// A source has answered.
    pub(crate) fn hear(&mut self, heard: Heard, now: Time) {
        let Heard { source, found, is_whole } = heard;
        // It may have been on its way when the source was removed.
        if !sources::has(&self.config.discovery, &source) {
            return;
        }
        let named = found.len();
        let offers: Vec<_> = found.into_iter().filter_map(Origin::into_offer).collect();
        if offers.len() < named {
            tracing::warn!(%source, "names of backends that are too long to make ids of are left out");
        }
        self.roster.hear(&source, offers, is_whole, now);
    }

    /// A server has registered over the connection of that number.
    pub(crate) fn register(&mut self, connection: u64, found: Found, now: Time) {
        let Some(offer) = Origin::Found(found).into_offer() else { return };
        if self.config.discovery.registrar.is_none() {
            return;
        }
        if self.registered.get(&connection).is_some_and(|url| *url != offer.url) {
            self.unregister(connection, now);
        }
        self.registered.insert(connection, offer.url.clone());
        self.roster.name(&Source::Registrar, offer);
    }

    /// That connection has ended. A server that dials again may be in before its last connection is
    /// known to be gone.
    pub(crate) fn unregister(&mut self, connection: u64, now: Time) {
        let Some(url) = self.registered.remove(&connection) else { return };
        if !self.registered.values().any(|other| *other == url) {
            self.roster.fall_silent(&Source::Registrar, &url, now);
        }
    }

    /// An operator adds a backend, or says something else of one added before.
    ///
    /// # Errors
    /// Another has its id or URL, or there are too many.
    pub(crate) fn add(&mut self, backend: BackendSettings) -> Result<(), ChangeError> {
        let url = backend.url.to_string();
        for (Member { source, offer }, _) in &self.members {
            let (has_id, has_url) = (offer.id == backend.id, offer.url == url);
            let is_taken = match source {
                Source::Config => has_id || has_url,
                Source::Api => has_url && !has_id,
                // What an operator says counts more.
                Source::File(_) | Source::Dns(_) | Source::Registrar | Source::Past => false,
            };
            if is_taken {
                return Err(ChangeError::Taken(offer.id.clone(), source.clone()));
            }
        }
        match self.added.iter_mut().find(|one| one.id == backend.id) {
            Some(before) => *before = backend,
            None if self.members.len() >= BACKENDS_MAX => {
                return Err(ChangeError::TooMany(BACKENDS_MAX));
            }
            None => self.added.push(backend),
        }
        self.roster.set(&Source::Api, told(&self.added));
        Ok(())
    }

    /// An operator removes a backend that was added.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn remove(&mut self, id: &BackendId) -> Result<(), ChangeError> {
        let Some(at) = self.added.iter().position(|one| one.id == *id) else {
            let named = self.members.iter().find(|(member, _)| member.offer.id == *id);
            return Err(named.map_or(ChangeError::Unknown, |(member, _)| {
                ChangeError::NamedBy(member.source.clone())
            }));
        };
        self.added.remove(at);
        self.roster.set(&Source::Api, told(&self.added));
        Ok(())
    }

    /// Works out whom the fleet is to begin with.
    pub(crate) fn begin(&mut self, describe: impl Fn(&Offer<Origin>, &Config) -> BackendSettings) {
        let wanted = self.roster.known();
        self.take_up(wanted, false, describe);
    }

    /// Works out who is wanted, and as what; whether that is another than before. `answers` tells who
    /// answers probes. Who is known already is described only if that is to be done `anew`: it costs a
    /// look-up of its place.
    pub(crate) fn choose(
        &mut self,
        now: Time,
        answers: impl Fn(&BackendId) -> bool,
        (anew, describe): (bool, impl Fn(&Offer<Origin>, &Config) -> BackendSettings),
    ) -> bool {
        let wanted = self.roster.wanted(now, answers);
        self.take_up(wanted, anew, describe)
    }

    fn take_up(
        &mut self,
        wanted: Wanted<Origin>,
        anew: bool,
        describe: impl Fn(&Offer<Origin>, &Config) -> BackendSettings,
    ) -> bool {
        for refusal in wanted.refusals.iter().filter(|one| !self.refusals.contains(one)) {
            tracing::warn!("a backend is left out: {refusal}");
        }
        self.refusals = wanted.refusals;
        let describe = |member: Member<Origin>| {
            let known = self.members.iter().find(|(known, _)| !anew && *known == member);
            let backend = match known {
                Some((_, backend)) => backend.clone(),
                None => describe(&member.offer, &self.config),
            };
            (member, backend)
        };
        let members: Vec<_> = wanted.members.into_iter().map(describe).collect();
        if members == self.members {
            return false;
        }
        for (member, backend) in std::mem::replace(&mut self.members, members) {
            self.leaving.insert(backend.id.clone(), (member.source, backend));
        }
        for (_, backend) in &self.members {
            self.leaving.remove(&backend.id);
        }
        true
    }

    /// Whom the fleet is to have.
    pub(crate) fn wanted(&self) -> Vec<BackendSettings> {
        self.members.iter().map(|(_, backend)| backend.clone()).collect()
    }

    /// When who is wanted may be another by the passing of time alone.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        self.roster.deadline(now)
    }

    /// Whether somebody who was leaving has gone.
    pub(crate) fn forget_who_left(&mut self, snapshot: &FleetSnapshot) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|id, _| snapshot.backend(id).is_some());
        self.leaving.len() < before
    }

    /// How many are wanted of each source that fits.
    pub(super) fn count(&self, fits: impl Fn(&Source) -> bool) -> usize {
        self.members.iter().filter(|(member, _)| fits(&member.source)).count()
    }

    /// Who named whom.
    pub(super) fn sources(&self) -> Sources {
        let members = self.members.iter().map(|(member, one)| (one.id.clone(), &member.source));
        let leaving = self.leaving.iter().map(|(id, (source, _))| (id.clone(), source));
        leaving
            .chain(members)
            .map(|(id, source)| (id, source.clone()))
            .collect::<BTreeMap<_, _>>()
            .into()
    }

    /// What the next process is to know: what it cannot read in the config, and what may not be in
    /// that any more.
    pub(crate) fn kept(&self) -> Vec<KeptBackend> {
        let members = self.members.iter().map(|(Member { source, offer }, backend)| KeptBackend {
            source: source.clone(),
            found_as: match &offer.backend {
                Origin::Told(_) => None,
                Origin::Found(found) => found.name.clone(),
            },
            backend: backend.clone(),
        });
        let leaving = self.leaving.values().map(|(_, backend)| KeptBackend {
            source: Source::Past,
            found_as: None,
            backend: backend.clone(),
        });
        members.chain(leaving).collect()
    }
}

/// Backends that somebody has described, as offers.
fn told(backends: &[BackendSettings]) -> Vec<Offer<Origin>> {
    let origin = |one: &BackendSettings| Origin::Told(Box::new(one.clone())).into_offer();
    backends.iter().filter_map(origin).collect()
}
