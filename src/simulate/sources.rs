//! Where the backends of an edge come from: a config that is edited, operators, and sources that err.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Bug;
use super::shape::Shape;
use super::world::{Happening, World};
use crate::discovery::{Book, Config, Found, Heard, Origin};
use crate::fleet::FleetSnapshot;
use crate::model::{BackendId, Draws, Legs, Time};
use crate::policy::roster::{Offer, Source};
use crate::runtime::Timer;
use crate::settings::{self, BackendSettings, BackendUrl};

/// Milliseconds between two words of the sources of an edge, at most.
const WORD_PAUSE_MAX_MILLIS: usize = 4_000;

const FILE: &str = "/kms.json";
const NAME: &str = "kms.example";

/// Who names a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namer {
    Config,
    Operator,
    File,
    Dns,
    Registrar,
}

impl Namer {
    /// Most are in the config.
    pub(super) fn draw(draws: &mut Draws) -> Self {
        match draws.below(8) {
            0 => Self::Operator,
            1 => Self::File,
            2 => Self::Dns,
            3 => Self::Registrar,
            _ => Self::Config,
        }
    }

    /// Whether what it says counts at once.
    const fn is_certain(self) -> bool {
        match self {
            Self::Config | Self::Operator => true,
            Self::File | Self::Dns | Self::Registrar => false,
        }
    }
}

/// The sources of an edge, and what it has made of them.
pub(super) struct SourcesSim {
    book: Book,
    /// Backends that the config file names, whether or not the edge runs.
    config: BTreeSet<usize>,
    /// When each was last named by a source that may err.
    named: BTreeMap<usize, Time>,
}

impl SourcesSim {
    /// Those of an edge that has never run: everybody is named.
    pub(super) fn new(shape: &Shape, now: Time) -> Self {
        let of = |namer| numbers(shape, move |one| one == namer);
        let config: BTreeSet<_> = of(Namer::Config).collect();
        let mut book = Book::new(config_of(shape, &config), Vec::new(), now);
        for number in of(Namer::Operator) {
            book.add(backend(&shape.backends[number])).expect("no other is like it");
        }
        for number in of(Namer::Registrar) {
            book.register(number as u64, found(shape, number), now);
        }
        let mut sources = Self { book, config, named: BTreeMap::new() };
        for namer in [Namer::File, Namer::Dns] {
            sources.hear(shape, namer, (of(namer).collect(), true), now);
        }
        sources.named.extend(of(Namer::Registrar).map(|number| (number, now)));
        sources.begin();
        sources
    }

    /// What the next process makes of the config and of what this one has noted.
    pub(super) fn restart(&self, shape: &Shape, now: Time) -> Self {
        let config = config_of(shape, &self.config);
        let book = Book::new(config, self.book.kept(), now);
        let may_err = |number: &usize| !shape.namers[*number].is_certain();
        let named = (0..shape.backends.len()).filter(may_err).map(|number| (number, now)).collect();
        let mut sources = Self { book, config: self.config.clone(), named };
        sources.begin();
        sources
    }

    /// The config file is edited, if that is what names backend `number`.
    pub(super) fn edit(&mut self, shape: &Shape, number: usize, is_named: bool) {
        if shape.namers[number] != Namer::Config {
            return;
        }
        if is_named {
            self.config.insert(number);
        } else {
            self.config.remove(&number);
        }
    }

    /// Whom the fleet is to have.
    pub(super) fn wanted(&self) -> Vec<BackendSettings> {
        self.book.wanted()
    }

    /// Of each backend, its number in a fleet that begins so; none if it is not there.
    pub(super) fn numbers(&self, shape: &Shape) -> Vec<Option<usize>> {
        let wanted = self.wanted();
        let number = |id: &BackendId| wanted.iter().position(|one| one.id == *id);
        shape.backends.iter().map(number).collect()
    }

    fn hear(&mut self, shape: &Shape, namer: Namer, said: (Vec<usize>, bool), now: Time) {
        let (said, is_whole) = said;
        let (source, found): (_, fn(&Shape, usize) -> Origin) = match namer {
            Namer::File => (Source::File(FILE.into()), |shape, number| {
                Origin::Told(Box::new(backend(&shape.backends[number])))
            }),
            Namer::Dns => (Source::Dns(format!("address {NAME}").into()), |shape, number| {
                Origin::Found(found(shape, number))
            }),
            Namer::Config | Namer::Operator | Namer::Registrar => return,
        };
        self.named.extend(said.iter().map(|number| (*number, now)));
        let found = said.iter().map(|number| found(shape, *number)).collect();
        self.book.hear(Heard { source, found, is_whole }, now);
    }

    /// Whom the fleet begins with.
    fn begin(&mut self) {
        self.book.begin(describe);
    }

    fn choose(&mut self, answers: impl Fn(&BackendId) -> bool, now: Time) -> bool {
        self.book.choose(now, answers, (false, describe))
    }
}

impl World {
    /// Some source of an edge says something, and again some time later.
    pub(super) fn source_speaks(&mut self, edge: usize, run: u32) {
        if self.edges[edge].run != run || !self.edges[edge].is_up() || self.is_leaving {
            return;
        }
        let pause = self.draws.below(WORD_PAUSE_MAX_MILLIS) as u64;
        self.after(Duration::from_millis(pause), Happening::SourceSpeaks(edge, run));
        let namer = [Namer::File, Namer::Dns, Namer::Registrar][self.draws.below(3)];
        let all: Vec<usize> = numbers(&self.shape, |one| one == namer).collect();
        if all.is_empty() {
            return;
        }
        let one = all[self.draws.below(all.len())];
        let now = self.now();
        if namer == Namer::Registrar {
            let is_there = self.draws.below(2) == 0;
            self.note(|| format!("   backend {one} registers at edge {edge}: {is_there}"));
            let sources = &mut self.edges[edge].sources;
            if is_there {
                sources.book.register(one as u64, found(&self.shape, one), now);
                sources.named.insert(one, now);
            } else {
                sources.book.unregister(one as u64, now);
            }
            return self.heed_sources(edge);
        }
        let said = match self.draws.below(4) {
            0 => Vec::new(),
            1 => all.into_iter().filter(|other| *other != one).collect(),
            _ => all,
        };
        let is_whole = self.draws.below(3) > 0;
        self.note(|| format!("   {namer:?} tells edge {edge} of {said:?}, whole: {is_whole}"));
        self.edges[edge].sources.hear(&self.shape, namer, (said, is_whole), now);
        self.heed_sources(edge);
    }

    /// A backend is named, or not any more, by whoever may say so for certain.
    pub(super) fn name(&mut self, edge: usize, number: usize, is_named: bool) {
        let (shape, now) = (&self.shape, self.clock.now());
        let sources = &mut self.edges[edge].sources;
        match (shape.namers[number], is_named) {
            (Namer::Config, _) => sources.book.configure(config_of(shape, &sources.config)),
            // It may be there, or not there, already.
            (Namer::Operator, true) => {
                let _ = sources.book.add(backend(&shape.backends[number]));
            }
            (Namer::Operator, false) => {
                let _ = sources.book.remove(&shape.backends[number]);
            }
            (Namer::Registrar, true) => {
                sources.book.register(number as u64, found(shape, number), now);
                sources.named.insert(number, now);
            }
            (Namer::Registrar, false) => sources.book.unregister(number as u64, now),
            (namer @ (Namer::File | Namer::Dns), is_named) => {
                let of_it = numbers(shape, |one| one == namer);
                let said = of_it.filter(|one| is_named || *one != number).collect();
                sources.hear(shape, namer, (said, true), now);
            }
        }
        self.heed_sources(edge);
    }

    /// Every backend is named.
    pub(super) fn name_all(&mut self, edge: usize) {
        for number in 0..self.backends.len() {
            self.edges[edge].sources.edit(&self.shape, number, true);
            self.name(edge, number, true);
        }
    }

    /// Has the fleet of an edge follow what its sources have said, and the passing of time.
    pub(super) fn heed_sources(&mut self, edge: usize) {
        let now = self.now();
        let known = &mut self.edges[edge];
        if !known.is_open() {
            return;
        }
        let fleet = known.edge.fleet.snapshot();
        let before = known.sources.wanted();
        if known.sources.choose(|id| fleet.answers(id), now) {
            let wanted = known.sources.wanted();
            let turnover = known.owner.want(wanted, now);
            self.turn_over(edge, turnover);
            self.check_dropped(edge, &before);
        }
        let known = &mut self.edges[edge];
        let fleet: &FleetSnapshot = &known.edge.fleet.snapshot();
        known.sources.book.forget_who_left(fleet);
    }

    /// A backend stays for a while that a source does not name any more: the source may err.
    fn check_dropped(&mut self, edge: usize, before: &[BackendSettings]) {
        let sources = &self.edges[edge].sources;
        let (wanted, now) = (sources.wanted(), self.clock.now());
        let is_dropped = |id: &BackendId| {
            let has = |all: &[BackendSettings]| all.iter().any(|one| one.id == *id);
            has(before) && !has(&wanted)
        };
        let too_soon = self.shape.backends.iter().enumerate().position(|(number, id)| {
            let named = sources.named.get(&number).filter(|_| is_dropped(id));
            named.is_some_and(|named| now.since(*named) < self.shape.name_hold)
        });
        if let Some(backend) = too_soon {
            self.complain(|| format!("edge {edge} drops backend {backend} at once"));
        }
    }
}

/// Backends whose namer fits.
fn numbers(shape: &Shape, fits: impl Fn(Namer) -> bool) -> impl Iterator<Item = usize> {
    (0..shape.backends.len()).filter(move |number| fits(shape.namers[*number]))
}

/// The config as it is when its file names those backends.
fn config_of(shape: &Shape, names: &BTreeSet<usize>) -> Config {
    let hold = match shape.bug {
        Some(Bug::HastySources) => 0,
        _ => shape.name_hold.as_millis(),
    };
    let text = format!(
        r#"
        [[listeners]]
        addr = "127.0.0.1:1"
        [discovery]
        hold_ms = {hold}
        dns = [{{ name = "{NAME}" }}]
        files = [{{ path = "{FILE}" }}]
        [discovery.registrar]
        addr = "127.0.0.1:2"
        allow = ["127.0.0.0/8"]
        "#
    );
    let settings = settings::parse(&text).expect("good settings");
    let backends = names.iter().map(|number| backend(&shape.backends[*number])).collect();
    Config { backends, discovery: settings.discovery }
}

/// What backend `number` is to who only knows where it is.
fn found(shape: &Shape, number: usize) -> Found {
    Found::new(backend(&shape.backends[number]).url, None)
}

fn describe(offer: &Offer<Origin>, _: &Config) -> BackendSettings {
    match &offer.backend {
        Origin::Told(backend) => (**backend).clone(),
        Origin::Found(_) => backend(&offer.id),
    }
}

/// What everybody says of the backend with that id.
fn backend(id: &BackendId) -> BackendSettings {
    let host = id.as_str().trim_end_matches("-8888").to_owned();
    let url = BackendUrl { host, port: 8888, path: "/kurento".to_owned() };
    BackendSettings::new(id.clone(), url, Legs(400))
}
