//! The one owner of what sources have said.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::describe::describe;
use super::notes::Notes;
use super::registrar::Door;
use super::sources::{self, Crew};
use super::{ChangeError, Config, DiscoveryError, Found, Heard, Message, Origin, Sources};
use crate::fleet::{FleetChange, FleetHandle, FleetSnapshot};
use crate::geo::Atlas;
use crate::model::BackendId;
use crate::policy::roster::{Member, Offer, Refusal, Roster, Source};
use crate::runtime::Clock;
use crate::settings::{BACKENDS_MAX, BackendSettings, KeptBackend};
use crate::telemetry::{Metrics, SourceLabel};

/// What backends are counted by.
const LABELS: [SourceLabel; 6] = [
    SourceLabel::Config,
    SourceLabel::Api,
    SourceLabel::File,
    SourceLabel::Dns,
    SourceLabel::Registrar,
    SourceLabel::Past,
];

/// What sources have said, and what the fleet was told.
pub(super) struct Owner {
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
    notes: Option<Notes>,
    atlas: Atlas,
    metrics: Metrics,
    clock: Clock,
}

/// Who waits to be told that the fleet was told.
enum Waiting {
    Nobody,
    Configured(oneshot::Sender<Result<(), DiscoveryError>>, Result<(), DiscoveryError>),
    Changed(oneshot::Sender<Result<(), ChangeError>>, Result<(), ChangeError>),
}

impl Owner {
    pub(super) fn new(
        config: Config,
        notes: Option<PathBuf>,
        (atlas, metrics, clock): (Atlas, Metrics, Clock),
    ) -> Self {
        let roster = Roster::new(config.discovery.hold, BACKENDS_MAX);
        let notes = notes.map(Notes::new);
        let kept = notes.as_ref().map(Notes::read).unwrap_or_default();
        let mut owner = Self {
            config,
            added: Vec::new(),
            roster,
            registered: BTreeMap::new(),
            members: Vec::new(),
            refusals: Vec::new(),
            leaving: BTreeMap::new(),
            notes,
            atlas,
            metrics,
            clock,
        };
        for one in kept {
            owner.restore(one);
        }
        owner.roster.set(&Source::Config, told(&owner.config.backends));
        owner.roster.set(&Source::Api, told(&owner.added));
        owner
    }

    /// Takes in what a process before has noted.
    fn restore(&mut self, kept: KeptBackend) {
        let KeptBackend { source, found_as, mut backend } = kept;
        let is_there = sources::has(&self.config.discovery, &source);
        let (source, origin) = match source {
            Source::Api => return self.added.push(backend),
            Source::File(_) if is_there => (source, Origin::Told(Box::new(backend))),
            Source::Dns(_) | Source::Registrar if is_there => {
                (source, Origin::Found(Found::new(backend.url, found_as)))
            }
            Source::Config
            | Source::Past
            | Source::File(_)
            | Source::Dns(_)
            | Source::Registrar => {
                // It was leaving, or would be: what is left on it may find back to it.
                backend.drain = true;
                (Source::Past, Origin::Told(Box::new(backend)))
            }
        };
        if let Some(offer) = origin.into_offer() {
            self.roster.restore(&source, offer, self.clock.now());
        }
    }

    /// Whom the fleet is to begin with.
    pub(super) fn first_wanted(&mut self) -> Vec<BackendSettings> {
        self.choose(|_| false, false);
        self.members.iter().map(|(_, backend)| backend.clone()).collect()
    }

    /// What its sources count and tell the time by.
    pub(super) fn instruments(&self) -> (Metrics, Clock) {
        (self.metrics.clone(), self.clock)
    }

    /// Who named whom.
    pub(super) fn sources(&self) -> Sources {
        let members = self.members.iter().map(|(member, one)| (one.id.clone(), &member.source));
        let leaving = self.leaving.iter().map(|(id, (source, _))| (id.clone(), source));
        Arc::new(leaving.chain(members).map(|(id, source)| (id, source.clone())).collect())
    }

    /// Hears the sources and tells the fleet, until nobody can say anything any more.
    pub(super) async fn run(
        mut self,
        (mut messages, published): (mpsc::Receiver<Message>, watch::Sender<Sources>),
        (fleet, mut crew, door): (FleetHandle, Crew, Option<Door>),
    ) {
        crew.start(&self.config.discovery, door);
        let mut snapshots = fleet.watch();
        self.note().await;
        loop {
            let deadline = self.roster.deadline(self.clock.now());
            let until = deadline.map(|deadline| deadline.since(self.clock.now()));
            let waiting = tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message, &mut crew).await,
                    None => return,
                },
                changed = snapshots.changed() => match changed {
                    Ok(()) => Waiting::Nobody,
                    Err(_) => return,
                },
                () = sleep(until) => Waiting::Nobody,
            };
            let is_anew = matches!(waiting, Waiting::Configured(..));
            self.settle(&fleet, is_anew, &published).await;
            waiting.tell();
        }
    }

    /// Takes a message in; returns who waits for what follows from it.
    async fn take(&mut self, message: Message, crew: &mut Crew) -> Waiting {
        match message {
            Message::Heard(heard) => self.hear(heard),
            Message::Registered { connection, found } => self.register(connection, found),
            Message::Unregistered { connection } => self.unregister(connection),
            Message::Configure(config, answer) => {
                let done = self.configure(*config, crew).await;
                return Waiting::Configured(answer, done);
            }
            Message::Add(backend, answer) => {
                let done = self.add(*backend);
                return Waiting::Changed(answer, done);
            }
            Message::Remove(backend, answer) => {
                let done = self.remove(&backend);
                return Waiting::Changed(answer, done);
            }
        }
        Waiting::Nobody
    }

    fn hear(&mut self, heard: Heard) {
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
        self.roster.hear(&source, offers, is_whole, self.clock.now());
    }

    fn register(&mut self, connection: u64, found: Found) {
        let Some(offer) = Origin::Found(found).into_offer() else { return };
        if self.config.discovery.registrar.is_none() {
            return;
        }
        if self.registered.get(&connection).is_some_and(|url| *url != offer.url) {
            self.unregister(connection);
        }
        self.registered.insert(connection, offer.url.clone());
        self.roster.name(&Source::Registrar, offer);
    }

    /// A server that dials again may be in before its last connection is known to be gone.
    fn unregister(&mut self, connection: u64) {
        let Some(url) = self.registered.remove(&connection) else { return };
        if !self.registered.values().any(|other| *other == url) {
            self.roster.fall_silent(&Source::Registrar, &url, self.clock.now());
        }
    }

    async fn configure(&mut self, config: Config, crew: &mut Crew) -> Result<(), DiscoveryError> {
        crew.configure(&config.discovery).await?;
        self.config = config;
        let Config { backends, discovery } = &self.config;
        self.roster.set_hold(discovery.hold);
        self.roster.set(&Source::Config, told(backends));
        self.roster.retain_sources(|source| sources::has(discovery, source));
        if discovery.registrar.is_none() {
            self.registered.clear();
        }
        Ok(())
    }

    fn add(&mut self, backend: BackendSettings) -> Result<(), ChangeError> {
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

    fn remove(&mut self, id: &BackendId) -> Result<(), ChangeError> {
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

    /// Tells the fleet whom it is to have if that is another than before, and everybody else. All are
    /// described anew if the config may be another.
    async fn settle(
        &mut self,
        fleet: &FleetHandle,
        is_anew: bool,
        published: &watch::Sender<Sources>,
    ) {
        let snapshot = fleet.snapshot();
        let answers = |id: &BackendId| {
            snapshot.backend(id).is_some_and(|backend| backend.incarnation.is_some())
        };
        let is_news = self.choose(answers, is_anew);
        if is_news || is_anew {
            let wanted = self.members.iter().map(|(_, backend)| backend.clone()).collect();
            let change = fleet.set_backends(wanted).await;
            self.tell(&change);
        }
        let has_left = self.forget_who_left(&fleet.snapshot());
        if is_news || has_left {
            published.send_replace(self.sources());
            self.count();
            self.note().await;
        }
    }

    /// Works out who is wanted, and as what; whether that is another than before. Who is known already
    /// is described only if that is to be done `anew`: it costs a look-up of its place.
    fn choose(&mut self, answers: impl Fn(&BackendId) -> bool, anew: bool) -> bool {
        let wanted = self.roster.wanted(self.clock.now(), answers);
        for refusal in wanted.refusals.iter().filter(|one| !self.refusals.contains(one)) {
            tracing::warn!("a backend is left out: {refusal}");
        }
        self.refusals = wanted.refusals;
        let describe = |member: Member<Origin>| {
            let known = self.members.iter().find(|(known, _)| !anew && *known == member);
            let backend = match known {
                Some((_, backend)) => backend.clone(),
                None => describe(&member.offer, &self.config.discovery.rules, &self.atlas),
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

    /// Whether somebody who was leaving has gone.
    fn forget_who_left(&mut self, snapshot: &FleetSnapshot) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|id, _| snapshot.backend(id).is_some());
        self.leaving.len() < before
    }

    fn tell(&self, change: &FleetChange) {
        let sources = self.sources();
        let tell = |ids: &[BackendId], what: &str| {
            for id in ids {
                let source = sources.get(id).map(tracing::field::display);
                tracing::info!(backend = %id, source, "backend {what}");
            }
        };
        tell(&change.added, "added");
        tell(&change.changed, "is described anew");
        tell(&change.leaving, "is leaving: it gets no new meetings");
        tell(&change.removed, "removed");
        tell(&change.waiting, "comes when another of its id or address has gone");
    }

    fn count(&self) {
        for label in LABELS {
            let of = |member: &Member<Origin>| label_of(&member.source) == label;
            let count = self.members.iter().filter(|(member, _)| of(member)).count();
            self.metrics.set_backends_of(label, count);
        }
    }

    /// Notes for the next process what it cannot read in the config.
    async fn note(&mut self) {
        let Some(mut notes) = self.notes.take() else { return };
        let members = self.members.iter().filter(|(member, _)| member.source != Source::Config);
        let members = members.map(|(Member { source, offer }, backend)| KeptBackend {
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
        let kept: Vec<_> = members.chain(leaving).collect();
        let written = spawn_blocking(move || {
            notes.write(&kept);
            notes
        });
        match written.await {
            Ok(notes) => self.notes = Some(notes),
            Err(error) => tracing::error!(%error, "what is found is not noted any more"),
        }
    }
}

impl Waiting {
    fn tell(self) {
        // Who has gone need not know.
        match self {
            Self::Nobody => {}
            Self::Configured(answer, done) => drop(answer.send(done)),
            Self::Changed(answer, done) => drop(answer.send(done)),
        }
    }
}

/// Backends that somebody has described, as offers.
fn told(backends: &[BackendSettings]) -> Vec<Offer<Origin>> {
    let origin = |one: &BackendSettings| Origin::Told(Box::new(one.clone())).into_offer();
    backends.iter().filter_map(origin).collect()
}

async fn sleep(until: Option<std::time::Duration>) {
    match until {
        Some(duration) => tokio::time::sleep(duration).await,
        None => pending().await,
    }
}

fn label_of(source: &Source) -> SourceLabel {
    match source {
        Source::Config => SourceLabel::Config,
        Source::Api => SourceLabel::Api,
        Source::File(_) => SourceLabel::File,
        Source::Dns(_) => SourceLabel::Dns,
        Source::Registrar => SourceLabel::Registrar,
        Source::Past => SourceLabel::Past,
    }
}
