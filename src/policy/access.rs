//! Which pipelines a connection may touch.
//!
//! KMS lets every session use every object by its id. A listener that strangers reach needs less: an
//! object that may not be touched is answered as one that does not exist, so that nobody learns
//! which ids are in use. Decided once for a pipeline and a session, when they first meet.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use crate::model::{MeetingId, MeetingName};

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

/// What one session may touch that others made.
#[derive(Clone, Debug)]
pub enum Access<'a> {
    /// Everything.
    All,
    /// What belongs to these meetings.
    Meetings(Cow<'a, Meetings>),
    /// Nothing.
    Nothing,
}

impl Access<'_> {
    /// The same, on its own.
    #[must_use]
    pub fn into_owned(self) -> Access<'static> {
        match self {
            Self::All => Access::All,
            Self::Meetings(meetings) => Access::Meetings(Cow::Owned(meetings.into_owned())),
            Self::Nothing => Access::Nothing,
        }
    }

    /// Whether a pipeline of `meeting` may be touched.
    #[must_use]
    pub fn allows(&self, meeting: &MeetingId) -> bool {
        match (self, meeting) {
            (Self::All, _) => true,
            (Self::Meetings(meetings), MeetingId::Named(name)) => meetings.contains(name),
            (Self::Meetings(_), MeetingId::Pipeline(_)) | (Self::Nothing, _) => false,
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
    use crate::model::PipelineId;

    fn name(text: &str) -> MeetingName {
        MeetingName::parse(text).unwrap()
    }

    #[test]
    fn a_participant_touches_its_meetings_and_no_unnamed_pipeline_of_others() {
        let mut meetings = Meetings::default();
        meetings.add(&name("standup"), 2);
        let access = Access::Meetings(Cow::Borrowed(&meetings));
        let unnamed = MeetingId::Pipeline(PipelineId::from_u128(1));
        assert!(access.allows(&MeetingId::Named(name("standup"))));
        assert!(!access.allows(&MeetingId::Named(name("other"))));
        assert!(!access.allows(&unnamed));
        assert!(Access::All.allows(&unnamed) && !Access::Nothing.allows(&unnamed));
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
