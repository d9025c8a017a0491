//! The task that hears the sources: their words go into its [`Book`], what follows to the fleet and
//! into the notes for the next process.

use std::future::pending;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::book::Book;
use super::describe::describe;
use super::notes::Notes;
use super::registrar::Door;
use super::sources::Crew;
use super::{ChangeError, Config, DiscoveryError, Message, Origin, Sources};
use crate::fleet::{FleetChange, FleetHandle};
use crate::geo::Atlas;
use crate::model::{BackendId, Time};
use crate::policy::roster::{Offer, Source};
use crate::runtime::{Clock, Gate};
use crate::settings::BackendSettings;
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

pub(super) struct Owner {
    book: Book,
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
        let notes = notes.map(Notes::new);
        let kept = notes.as_ref().map(Notes::read).unwrap_or_default();
        let book = Book::new(config, kept, clock.now());
        Self { book, notes, atlas, metrics, clock }
    }

    /// Whom the fleet is to begin with.
    pub(super) fn first_wanted(&mut self) -> Vec<BackendSettings> {
        let atlas = &self.atlas;
        self.book.begin(|offer, config| describe(offer, &config.discovery.rules, atlas));
        self.book.wanted()
    }

    /// What its sources count and tell the time by.
    pub(super) fn instruments(&self) -> (Metrics, Clock) {
        (self.metrics.clone(), self.clock)
    }

    /// Who named whom.
    pub(super) fn sources(&self) -> Sources {
        self.book.sources()
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    /// Hears the sources and tells the fleet, until nobody can say anything any more.
    pub(super) async fn run(
        mut self,
        (mut messages, published): (mpsc::Receiver<Message>, watch::Sender<Sources>),
        (fleet, gate): (FleetHandle, Gate),
        (mut crew, door): (Crew, Option<Door>),
    ) {
        crew.start(&self.book.config().discovery, door);
        let mut snapshots = fleet.watch();
        let entered = gate.enter().await;
        self.note().await;
        drop(entered);
        loop {
            let deadline = self.book.deadline(self.now());
            let until = deadline.map(|deadline| deadline.since(self.now()));
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
            let _entered = gate.enter().await;
            let is_anew = matches!(waiting, Waiting::Configured(..));
            self.settle(&fleet, is_anew, &published).await;
            waiting.tell();
        }
    }

    /// Takes a message in; returns who waits for what follows from it.
    async fn take(&mut self, message: Message, crew: &mut Crew) -> Waiting {
        let now = self.now();
        match message {
            Message::Heard(heard) => self.book.hear(heard, now),
            Message::Registered { connection, found } => self.book.register(connection, found, now),
            Message::Unregistered { connection } => self.book.unregister(connection, now),
            Message::Configure(config, answer) => {
                let done = self.configure(*config, crew).await;
                return Waiting::Configured(answer, done);
            }
            Message::Add(backend, answer) => {
                let done = self.book.add(*backend);
                return Waiting::Changed(answer, done);
            }
            Message::Remove(backend, answer) => {
                let done = self.book.remove(&backend);
                return Waiting::Changed(answer, done);
            }
        }
        Waiting::Nobody
    }

    async fn configure(&mut self, config: Config, crew: &mut Crew) -> Result<(), DiscoveryError> {
        crew.configure(&config.discovery).await?;
        self.book.configure(config);
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
        let is_news = self.choose(|id| snapshot.answers(id), is_anew);
        if is_news {
            // First, for the pins on a backend that no process knows would not be kept.
            self.note().await;
        }
        if is_news || is_anew {
            let change = fleet.set_backends(self.book.wanted()).await;
            self.tell(&change);
        }
        let has_left = self.book.forget_who_left(&fleet.snapshot());
        if is_news || has_left {
            published.send_replace(self.sources());
            self.count();
            self.note().await;
        }
    }

    fn choose(&mut self, answers: impl Fn(&BackendId) -> bool, anew: bool) -> bool {
        let atlas = &self.atlas;
        let describe = |offer: &Offer<Origin>, config: &Config| -> BackendSettings {
            describe(offer, &config.discovery.rules, atlas)
        };
        self.book.choose(self.clock.now(), answers, (anew, describe))
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
            self.metrics
                .set_backends_of(label, self.book.count(|source| label_of(source) == label));
        }
    }

    /// Notes for the next process what it is to know.
    async fn note(&mut self) {
        let Some(mut notes) = self.notes.take() else { return };
        let kept = self.book.kept();
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
