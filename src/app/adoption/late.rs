//! Pipelines that the process before has made after it let go of the pins.
//!
//! Their pins are among those that were found, for no claim is made after that; so they wait until their
//! meeting is adopted, like the others.

use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{MeetingName, Time};
use crate::pins::{Keeper, News, Origin, Pin};

/// Such pipelines that may wait. Of further ones the meeting is not known until somebody names it.
const WAITING_MAX: usize = 65_536;

/// How long one waits for its meeting, which may have moved on.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the process before still tells, and what has come of it.
pub(super) struct Late {
    news: Option<mpsc::Receiver<News>>,
    /// In the order of their epochs; none if nothing is told.
    pins: Vec<(MeetingName, Pin)>,
    waiting: Vec<(Time, Origin)>,
}

impl Late {
    /// `pins` are those that were found.
    pub(super) fn new(news: Option<mpsc::Receiver<News>>, pins: &[(MeetingName, Pin)]) -> Self {
        let mut pins = if news.is_some() { pins.to_vec() } else { Vec::new() };
        pins.sort_unstable_by_key(|(_, pin)| pin.epoch);
        Self { news, pins, waiting: Vec::new() }
    }

    /// Whether nothing is to come and nothing waits.
    pub(super) fn is_over(&self) -> bool {
        self.news.is_none() && self.waiting.is_empty()
    }

    /// Whether something waits for its meeting.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next that is told; `None`, once, when the process before has ended.
    pub(super) async fn next(&mut self) -> Option<News> {
        match &mut self.news {
            Some(news) => news.recv().await,
            None => pending().await,
        }
    }

    /// Takes in what was told.
    pub(super) fn on_news(&mut self, news: Option<News>, keeper: &Keeper, now: Time) {
        match news {
            Some(News::Created(origin)) => {
                if let Some((meeting, pin)) = self.pin_of(&origin) {
                    keeper.found_late((meeting, pin), origin);
                    if self.waiting.len() < WAITING_MAX {
                        self.waiting.push((now, origin));
                    }
                }
            }
            Some(News::Gone(pipeline)) => {
                self.waiting.retain(|(_, origin)| origin.pipeline != pipeline);
                keeper.released(pipeline, now);
            }
            None => {
                self.news = None;
                keeper.end_meetings(true);
            }
        }
    }

    /// Has `count` try each that waits, with its meeting and pin; one that counts waits no more.
    pub(super) fn try_all(
        &mut self,
        now: Time,
        mut count: impl FnMut((&MeetingName, &Pin), &Origin) -> bool,
    ) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|(since, origin)| {
            let pin = self.pin_of(origin);
            let counts = pin.is_none_or(|(meeting, pin)| count((meeting, pin), origin));
            !counts && now.since(*since) < WAIT_MAX
        });
        self.waiting = waiting;
        if self.is_over() {
            self.pins = Vec::new();
        }
    }

    fn pin_of(&self, origin: &Origin) -> Option<&(MeetingName, Pin)> {
        let index = self.pins.binary_search_by_key(&origin.epoch, |(_, pin)| pin.epoch).ok()?;
        Some(&self.pins[index])
    }
}
