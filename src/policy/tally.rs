//! What a pipeline carries: its elements by kind, and the legs that are connected.
//!
//! Counted from calls that a backend has answered with success, by whichever session. A *publishing*
//! leg is a WebRTC endpoint that feeds something, a *receiving* leg one that something feeds: each
//! once, whatever number of media and of others is connected. So n people who all publish and all
//! watch make n x n legs, however they are wired.
//!
//! Not seen, and so counted until the pipeline ends: an element that an `unref` destroys, or the end of
//! the only session that used it, while others keep the pipeline. Not counted: one of which neither the
//! answer to its `create` nor a `connect` was seen here. Which media description of an element is
//! connected makes no difference.

use std::collections::BTreeMap;

use crate::model::PipelineId;
use crate::protocol::media::{Element, ElementId, ElementKind, Media};

/// Elements of one pipeline that are remembered by their ids. More are counted by kind alone: a
/// `release` of an id that is not remembered takes one of its kind back, and their legs are not seen.
pub const ELEMENTS_MAX: usize = 4_096;

/// One thing that has happened to the elements of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This one was made. Nothing happens if it is known.
    Created(Element),
    /// This one is gone, a hub with its ports. Nothing happens if it is not known.
    Released(Element),
    /// The first feeds the second, in place of what did before. Either counts as made if it is not
    /// known: it was made through another edge, or before this process.
    Connected(Element, Element, Media),
    /// The first feeds the second no longer, if it did.
    Disconnected(Element, Element, Media),
}

/// How much there is: of a pipeline, a meeting, or a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Elements, in the order of [`ElementKind::ALL`].
    pub elements: [u32; ElementKind::COUNT],
    /// WebRTC endpoints that feed something.
    pub publishing: u32,
    /// WebRTC endpoints that something feeds.
    pub receiving: u32,
}

/// The elements of one pipeline.
#[derive(Debug, Default)]
pub struct Tally {
    elements: BTreeMap<ElementId, Known>,
    /// Elements that found no room there, by kind.
    beyond: [u32; ElementKind::COUNT],
    counts: Counts,
}

/// An element that is remembered.
#[derive(Debug)]
struct Known {
    kind: ElementKind,
    hub: Option<ElementId>,
    /// What feeds it, for each kind of media.
    sources: [Option<ElementId>; Media::COUNT],
    /// How many media of others it feeds.
    feeds: u32,
}

impl Change {
    /// The pipeline of two ends that are connected; `None` if they are not of one, or no elements.
    #[must_use]
    pub fn between(source: &str, sink: &str) -> Option<(PipelineId, Element, Element)> {
        let (pipeline, source) = Element::parse(source)?;
        let (other, sink) = Element::parse(sink)?;
        // A hub has an operation of the same name, which connects two of its ports inside.
        let is_hub = source.kind == ElementKind::Hub || sink.kind == ElementKind::Hub;
        (pipeline == other && !is_hub).then_some((pipeline, source, sink))
    }
}

impl Counts {
    /// How many elements of that kind there are.
    #[must_use]
    pub const fn of(&self, kind: ElementKind) -> u32 {
        self.elements[kind as usize]
    }

    /// Puts `after` in the place of `before`, which was added once.
    pub fn replace(&mut self, before: &Self, after: &Self) {
        for (count, (before, after)) in
            self.elements.iter_mut().zip(before.elements.iter().zip(&after.elements))
        {
            *count = *count - before + after;
        }
        self.publishing = self.publishing - before.publishing + after.publishing;
        self.receiving = self.receiving - before.receiving + after.receiving;
    }
}

impl Tally {
    /// How much there is.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes in what has happened.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Created(element) => self.add(element),
            Change::Released(element) => self.release(element),
            Change::Connected(source, sink, media) => {
                if self.meet(source) && self.meet(sink) {
                    media.kinds().for_each(|kind| self.feed(sink.id, kind, Some(source.id)));
                }
            }
            Change::Disconnected(source, sink, media) => {
                let of = self.elements.get(&sink.id).map(|known| known.sources);
                let is_fed = |kind: &usize| of.is_some_and(|of| of[*kind] == Some(source.id));
                media.kinds().filter(is_fed).for_each(|kind| self.feed(sink.id, kind, None));
            }
        }
    }

    fn add(&mut self, element: &Element) {
        if self.elements.contains_key(&element.id) {
            return;
        }
        self.counts.elements[element.kind as usize] += 1;
        if self.elements.len() < ELEMENTS_MAX {
            let Element { id, hub, kind } = *element;
            let known = Known { kind, hub, sources: [None; Media::COUNT], feeds: 0 };
            self.elements.insert(id, known);
        } else {
            self.beyond[element.kind as usize] += 1;
        }
    }

    /// Whether an element is remembered, from now on if not before. Where some are not remembered it
    /// may be one of them, and counted already.
    fn meet(&mut self, element: &Element) -> bool {
        let may_be_new = self.elements.len() < ELEMENTS_MAX && self.beyond.iter().all(|n| *n == 0);
        if may_be_new {
            self.add(element);
        }
        self.elements.contains_key(&element.id)
    }

    /// Lets `source` feed that kind of media of `sink`, or nobody.
    fn feed(&mut self, sink: ElementId, kind: usize, source: Option<ElementId>) {
        let before = self.update(sink, |known| std::mem::replace(&mut known.sources[kind], source));
        if let Some(before) = before.flatten() {
            self.update(before, |known| known.feeds -= 1);
        }
        if let Some(source) = source {
            self.update(source, |known| known.feeds += 1);
        }
    }

    fn release(&mut self, element: &Element) {
        if element.kind == ElementKind::Hub {
            let is_port = |known: &Known| known.hub == Some(element.id);
            let ports = self.elements.iter().filter(|(_, known)| is_port(known));
            let ports: Vec<ElementId> = ports.map(|(id, _)| *id).collect();
            ports.into_iter().for_each(|port| self.forget(port));
        }
        let kind = element.kind as usize;
        if self.elements.contains_key(&element.id) {
            self.forget(element.id);
        } else if self.beyond[kind] > 0 {
            self.beyond[kind] -= 1;
            self.counts.elements[kind] -= 1;
        }
    }

    fn forget(&mut self, id: ElementId) {
        // Its own legs first, so that they are counted back with it.
        for kind in Media::All.kinds() {
            self.feed(id, kind, None);
        }
        let feeds = self.elements.get(&id).map_or(0, |known| known.feeds);
        if feeds > 0 {
            let fed = |known: &Known| known.sources.contains(&Some(id));
            let sinks = self.elements.iter().filter(|(_, known)| fed(known));
            let sinks: Vec<_> = sinks.map(|(sink, known)| (*sink, known.sources)).collect();
            for (sink, sources) in sinks {
                let kinds = Media::All.kinds().filter(|kind| sources[*kind] == Some(id));
                kinds.for_each(|kind| self.feed(sink, kind, None));
            }
        }
        if let Some(known) = self.elements.remove(&id) {
            self.counts.elements[known.kind as usize] -= 1;
        }
    }

    /// Changes an element, and counts its legs anew.
    fn update<T>(&mut self, id: ElementId, change: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let known = self.elements.get_mut(&id)?;
        let before = known.legs();
        let changed = change(known);
        let after = known.legs();
        self.counts.publishing = self.counts.publishing - before.0 + after.0;
        self.counts.receiving = self.counts.receiving - before.1 + after.1;
        Some(changed)
    }
}

impl Known {
    /// Its legs, publishing and receiving.
    fn legs(&self) -> (u32, u32) {
        if self.kind != ElementKind::WebRtc {
            return (0, 0);
        }
        (u32::from(self.feeds > 0), u32::from(self.sources.iter().any(Option::is_some)))
    }
}

#[cfg(test)]
mod tests;
