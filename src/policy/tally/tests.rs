use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const NO_HUB: u128 = 0;

fn element(id: u128, kind: ElementKind) -> Element {
    Element { id: ElementId::from_u128(id), hub: None, kind }
}

fn webrtc(id: u128) -> Element {
    element(id, ElementKind::WebRtc)
}

fn port(id: u128, hub: u128) -> Element {
    Element { hub: Some(ElementId::from_u128(hub)), ..element(id, ElementKind::MixerPort) }
}

fn after(changes: &[Change]) -> Counts {
    let mut tally = Tally::default();
    changes.iter().for_each(|change| tally.apply(change));
    *tally.counts()
}

/// WebRTC endpoints, publishing and receiving legs.
fn legs(changes: &[Change]) -> (u32, u32, u32) {
    let counts = after(changes);
    (counts.of(ElementKind::WebRtc), counts.publishing, counts.receiving)
}

fn connected(source: u128, sink: u128, media: Media) -> Change {
    Change::Connected(webrtc(source), webrtc(sink), media)
}

fn disconnected(source: u128, sink: u128, media: Media) -> Change {
    Change::Disconnected(webrtc(source), webrtc(sink), media)
}

#[test]
fn n_people_who_all_publish_and_watch_make_n_times_n_legs() {
    let people = 4;
    let mut changes = Vec::new();
    for publisher in 1..=people {
        // One endpoint to publish with, spread by a PassThrough, and one for each of the others.
        let spread = element(1_000 + publisher, ElementKind::Other);
        changes.push(Change::Connected(webrtc(publisher), spread, Media::All));
        for viewer in (1..=people).filter(|viewer| *viewer != publisher) {
            let sink = webrtc(100 * publisher + viewer);
            changes.push(Change::Connected(spread, sink, Media::All));
        }
    }
    let (_, publishing, receiving) = legs(&changes);
    assert_eq!((publishing, receiving), (4, 12));
}

#[test]
fn a_leg_counts_once_and_ends_with_its_last_media() {
    let audio = connected(1, 2, Media::Audio);
    let video = connected(1, 2, Media::Video);
    assert_eq!(legs(&[audio, video, video, audio]), (2, 1, 1));
    let changes = [audio, video, disconnected(1, 2, Media::Audio)];
    assert_eq!(legs(&changes), (2, 1, 1));
    assert_eq!(legs(&[&changes[..], &[disconnected(1, 2, Media::All)]].concat()), (2, 0, 0));
    assert_eq!(legs(&[audio, disconnected(3, 2, Media::All)]), (2, 1, 1), "it never fed it");
}

#[test]
fn another_source_takes_the_place_of_the_one_before() {
    assert_eq!(legs(&[connected(1, 3, Media::All), connected(2, 3, Media::All)]), (3, 1, 1));
    let both = [connected(1, 3, Media::Audio), connected(2, 3, Media::Video)];
    assert_eq!(legs(&both), (3, 2, 1));
}

#[test]
fn who_feeds_itself_has_both_legs() {
    let loopback = connected(1, 1, Media::All);
    assert_eq!(legs(&[loopback]), (1, 1, 1));
    assert_eq!(legs(&[loopback, Change::Released(webrtc(1))]), (0, 0, 0));
}

#[test]
fn a_release_takes_back_an_element_and_its_legs_once() {
    let changes = [connected(1, 2, Media::All), connected(1, 3, Media::All)];
    let gone = |id| Change::Released(webrtc(id));
    assert_eq!(legs(&[&changes[..], &[gone(2), gone(2)]].concat()), (2, 1, 1));
    assert_eq!(legs(&[&changes[..], &[gone(1)]].concat()), (2, 0, 0));
    assert_eq!(legs(&[&changes[..], &[gone(2), gone(3)]].concat()), (1, 0, 0));
}

#[test]
fn a_hub_takes_its_ports_with_it() {
    let hub = element(9, ElementKind::Hub);
    let changes = [
        Change::Created(hub),
        Change::Created(port(1, 9)),
        Change::Created(port(2, 8)),
        Change::Connected(webrtc(3), port(1, 9), Media::All),
        Change::Released(hub),
    ];
    let counts = after(&changes);
    assert_eq!((counts.of(ElementKind::Hub), counts.of(ElementKind::MixerPort)), (0, 1));
    assert_eq!(counts.publishing, 0);
}

#[test]
fn beyond_the_bound_elements_are_counted_by_kind_alone() {
    let mut tally = Tally::default();
    let many = ELEMENTS_MAX as u128 + 2;
    (1..=many).for_each(|id| tally.apply(&Change::Created(webrtc(id))));
    assert_eq!(tally.counts().of(ElementKind::WebRtc) as u128, many);
    assert_eq!(tally.elements.len(), ELEMENTS_MAX);
    tally.apply(&connected(1, many, Media::All));
    assert_eq!(tally.counts().publishing, 0, "the sink is not remembered");
    tally.apply(&Change::Released(element(many, ElementKind::Player)));
    (1..=many).rev().for_each(|id| tally.apply(&Change::Released(webrtc(id))));
    assert_eq!(*tally.counts(), Counts::default());
}

/// The same rules, told without any cleverness.
#[derive(Default)]
struct Plain {
    elements: BTreeMap<u128, (ElementKind, u128)>,
    /// What feeds a sink, by media.
    links: BTreeMap<(u128, usize), u128>,
}

/// An element of the model: its number tells its kind, and the hub of a port.
fn numbered(id: u128) -> (Element, u128) {
    match id {
        0..=5 => (webrtc(100 + id), NO_HUB),
        6 | 7 => (element(100 + id, ElementKind::Hub), NO_HUB),
        8..=11 => (port(100 + id, 106 + id % 2), 106 + id % 2),
        _ => (element(100 + id, ElementKind::Recorder), NO_HUB),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Created(u128),
    Released(u128),
    Connected(u128, u128, Media),
    Disconnected(u128, u128, Media),
}

impl Step {
    fn change(&self) -> Change {
        let of = |id: &u128| numbered(*id).0;
        match self {
            Self::Created(id) => Change::Created(of(id)),
            Self::Released(id) => Change::Released(of(id)),
            Self::Connected(from, to, media) => Change::Connected(of(from), of(to), *media),
            Self::Disconnected(from, to, media) => Change::Disconnected(of(from), of(to), *media),
        }
    }
}

impl Plain {
    fn add(&mut self, id: u128) {
        let (element, hub) = numbered(id);
        self.elements.insert(100 + id, (element.kind, hub));
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Created(id) => self.add(id),
            Step::Released(id) => {
                let id = 100 + id;
                self.elements.retain(|other, (_, hub)| *other != id && *hub != id);
                let alive: BTreeSet<u128> = self.elements.keys().copied().collect();
                self.links.retain(|(sink, _), from| alive.contains(sink) && alive.contains(from));
            }
            Step::Connected(from, to, media) => {
                self.add(from);
                self.add(to);
                for kind in media.kinds() {
                    self.links.insert((100 + to, kind), 100 + from);
                }
            }
            Step::Disconnected(from, to, media) => {
                for kind in media.kinds() {
                    if self.links.get(&(100 + to, kind)) == Some(&(100 + from)) {
                        self.links.remove(&(100 + to, kind));
                    }
                }
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (id, (kind, _)) in &self.elements {
            counts.elements[*kind as usize] += 1;
            if *kind == ElementKind::WebRtc {
                counts.publishing += u32::from(self.links.values().any(|from| from == id));
                counts.receiving += u32::from(self.links.keys().any(|(sink, _)| sink == id));
            }
        }
        counts
    }
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0u128..14;
    // Hubs are connected by nothing.
    let end = || (0u128..14).prop_filter("a hub", |id| !matches!(id, 6 | 7));
    let media =
        || prop_oneof![Just(Media::All), Just(Media::Audio), Just(Media::Video), Just(Media::Data)];
    prop_oneof![
        2 => id().prop_map(Step::Created),
        2 => id().prop_map(Step::Released),
        4 => (end(), end(), media()).prop_map(|(a, b, m)| Step::Connected(a, b, m)),
        2 => (end(), end(), media()).prop_map(|(a, b, m)| Step::Disconnected(a, b, m)),
    ]
}

proptest! {
    /// It counts as the plain model does, after each step; and nothing is left when all are released.
    #[test]
    fn it_counts_as_the_plain_model_does(steps in proptest::collection::vec(step(), 0..80)) {
        let (mut tally, mut plain) = (Tally::default(), Plain::default());
        for step in &steps {
            tally.apply(&step.change());
            plain.apply(step);
            prop_assert_eq!(tally.counts(), &plain.counts(), "after {:?}", step);
        }
        (0..14).for_each(|id| tally.apply(&Change::Released(numbered(id).0)));
        prop_assert_eq!(tally.counts(), &Counts::default());
        prop_assert!(tally.elements.is_empty());
    }
}
