//! Requests for decisions.

use hyper::StatusCode;

use crate::admin::http::{Answer, error, json};
use crate::admin::{Admin, DecisionRows, Views};
use crate::model::MeetingName;

use super::{DECISIONS_LEN, DECISIONS_MAX_LEN, query};

pub(super) fn list<V: Views>(admin: &Admin<V>, query: &str) -> Answer {
    match Wanted::parse(query) {
        Ok(Wanted { meeting, limit }) => {
            let decisions = admin.views.decisions(meeting.as_ref(), limit);
            json(StatusCode::OK, &DecisionRows { decisions })
        }
        Err(reason) => error(StatusCode::BAD_REQUEST, &reason),
    }
}

pub(super) fn row<V: Views>(admin: &Admin<V>, id: &str) -> Answer {
    one(id, |id| admin.views.decision(id).map(|row| json(StatusCode::OK, &row)))
}

pub(super) fn state<V: Views>(admin: &Admin<V>, id: &str) -> Answer {
    one(id, |id| admin.views.scene_of(id).map(|scene| json(StatusCode::OK, &scene)))
}

fn one(id: &str, answer: impl FnOnce(u64) -> Option<Answer>) -> Answer {
    let Ok(id) = id.parse() else {
        return error(StatusCode::BAD_REQUEST, "a decision is a number");
    };
    answer(id).unwrap_or_else(|| error(StatusCode::NOT_FOUND, "no such decision"))
}

/// Which decisions are asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    meeting: Option<MeetingName>,
    limit: usize,
}

impl Wanted {
    /// Reads `meeting=NAME&limit=NUMBER`, both optional, percent-encoded once.
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self { meeting: None, limit: DECISIONS_LEN };
        for (name, value) in query::pairs(query) {
            match name {
                "meeting" => {
                    let meeting = MeetingName::parse(&query::decode(name, value)?);
                    let meeting = meeting.map_err(|reason| format!("the meeting {reason}"))?;
                    wanted.meeting = Some(meeting);
                }
                "limit" => wanted.limit = query::limit(value, DECISIONS_MAX_LEN)?,
                _ => return Err(format!("unknown parameter {name:?}: expected meeting or limit")),
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_has_bounds() {
        let name = |text| Some(MeetingName::parse(text).unwrap());
        let wanted = |meeting, limit| Ok(Wanted { meeting, limit });
        assert_eq!(Wanted::parse(""), wanted(None, 20));
        assert_eq!(Wanted::parse("limit=200&meeting=a%26b"), wanted(name("a&b"), 200));
        for query in ["limit=0", "limit=201", "meeting=", "meeting=%ff", "after=1"] {
            assert!(Wanted::parse(query).is_err(), "{query}");
        }
    }
}
