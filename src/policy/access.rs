//! Which pipelines a connection may touch.
//!
//! KMS lets every session use every object by its id. A listener that strangers reach needs less: an
//! object that may not be touched is answered as one that does not exist, so that nobody learns
//! which ids are in use. Decided once for a pipeline and a session, when they first meet.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use crate::model::{MeetingId, MeetingName, PipelineId};

/// How far the connections of a listener are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Not at all, as by KMS: any object by its id. For trusted application servers.
    #[default]
    Open,
    /// A connection touches what it made, and the pipelines of meetings it takes part in.
    Meeting,
    /// A connection touches what it made.
    Session,
}

impl Isolation {
    /// What holds for a listener that says nothing: meetings are kept apart where other machines can
    /// connect.
    #[must_use]
    pub const fn by_default(is_public: bool) -> Self {
        if is_public { Self::Meeting } else { Self::Open }
    }
}

/// Pipelines that a session is known to have made before this process.
pub type Own = BTreeSet<PipelineId>;

/// What one session may touch of what it does not use yet.
#[derive(Clone, Debug)]
pub enum Access<'a> {
    /// Everything.
    All,
    /// What belongs to these meetings, and its own.
    Meetings(Cow<'a, Meetings>, Cow<'a, Own>),
    /// Its own.
    Own(Cow<'a, Own>),
}

impl Access<'_> {
    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Access<'static> {
        match self {
            Self::All => Access::All,
            Self::Meetings(meetings, own) => {
                Access::Meetings(Cow::Owned(meetings.into_owned()), Cow::Owned(own.into_owned()))
            }
            Self::Own(own) => Access::Own(Cow::Owned(own.into_owned())),
        }
    }

    /// Whether `pipeline`, which is of `meeting`, may be touched.
    #[must_use]
    pub fn allows(&self, pipeline: PipelineId, meeting: &MeetingId) -> bool {
        match (self, meeting) {
            (Self::All, _) => true,
            (Self::Meetings(meetings, _), MeetingId::Named(name)) if meetings.contains(name) => {
                true
            }
            (Self::Meetings(_, own) | Self::Own(own), _) => own.contains(&pipeline),
        }
    }
}

/// Meetings that a connection takes part in: it named them in its URL or in a `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meetings {
    names: BTreeSet<MeetingName>,
    /// The same, first named first.
    order: VecDeque<MeetingName>,
}

impl Meetings {
    /// Adds `meeting`. Of more than `meetings_max` the one named first is forgotten; pipelines of it
    /// that the connection already uses stay in use.
    pub fn add(&mut self, meeting: &MeetingName, meetings_max: usize) {
        if !self.names.insert(meeting.clone()) {
            return;
        }
        self.order.push_back(meeting.clone());
        if self.order.len() > meetings_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// Adds all of `more`, as [`Self::add`] does, the one named first first.
    pub fn add_all(&mut self, more: &Self, meetings_max: usize) {
        more.order.iter().for_each(|meeting| self.add(meeting, meetings_max));
    }

    /// Whether the connection takes part in `meeting`.
    #[must_use]
    pub fn contains(&self, meeting: &MeetingName) -> bool {
        self.names.contains(meeting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MeetingName {
        MeetingName::parse(text).unwrap()
    }

    #[test]
    fn a_participant_touches_its_meetings_and_no_unnamed_pipeline_of_others() {
        let mut meetings = Meetings::default();
        meetings.add(&name("standup"), 2);
        let [pipeline, made] = [1, 2].map(PipelineId::from_u128);
        let own = || Cow::Owned(Own::from([made]));
        let access = Access::Meetings(Cow::Borrowed(&meetings), own());
        let unnamed = MeetingId::Pipeline(pipeline);
        assert!(access.allows(pipeline, &MeetingId::Named(name("standup"))));
        assert!(!access.allows(pipeline, &MeetingId::Named(name("other"))));
        assert!(!access.allows(pipeline, &unnamed) && Access::All.allows(pipeline, &unnamed));
        for access in [access, Access::Own(own())] {
            assert!(access.allows(made, &MeetingId::Named(name("other"))));
        }
        assert!(!Access::Own(own()).allows(pipeline, &unnamed));
    }

    #[test]
    fn the_meeting_named_first_is_forgotten_first() {
        let mut meetings = Meetings::default();
        for meeting in ["a", "b", "a", "c"] {
            meetings.add(&name(meeting), 2);
        }
        assert!(!meetings.contains(&name("a")));
        assert!(meetings.contains(&name("b")) && meetings.contains(&name("c")));
    }
}
