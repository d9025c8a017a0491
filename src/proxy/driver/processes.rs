//! Which process of its backend each link was opened to last.
//!
//! A link that is open hears of the loss of its backend. One that broke may be opened again after that,
//! to a process that knows nothing of the session, or to the same one, which the edge has given up in
//! the meantime and which has all of it still: neither is where the session's objects are.

use crate::model::{BackendId, Incarnation};
use crate::session::LinkNo;

/// One entry for each link that was opened, and has not been told of a loss since.
#[derive(Debug, Default)]
pub(super) struct Processes(Vec<(LinkNo, BackendId, Incarnation)>);

impl Processes {
    /// `link` is to be opened to `backend`, which is known as the process `now`; `None`: it was given
    /// up, or was not heard from. Says whether it was open before to a process that is lost by now.
    pub(super) fn is_lost(
        &mut self,
        link: LinkNo,
        backend: &BackendId,
        now: Option<Incarnation>,
    ) -> bool {
        let before = self.0.iter().find(|(of, at, _)| (*of, at) == (link, backend));
        if let Some((.., before)) = before {
            return Some(*before) != now;
        }
        self.on_lost(link); // a link of that number to another backend, of a session before
        self.0.reserve_exact(1); // most sessions have one
        self.0.extend(now.map(|now| (link, backend.clone(), now)));
        false
    }

    /// The session is told that the backend of `link` is lost.
    pub(super) fn on_lost(&mut self, link: LinkNo) {
        self.0.retain(|(of, ..)| *of != link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_opened_again_to_a_process_that_counts_as_another() {
        let [a, b] = ["a", "b"].map(|id| BackendId::parse(id).unwrap());
        let [one, two] = [1, 2].map(|number| Some(Incarnation(number)));
        let mut processes = Processes::default();
        assert!(!processes.is_lost(LinkNo(0), &a, one));
        assert!(!processes.is_lost(LinkNo(0), &a, one), "it only broke");
        assert!(processes.is_lost(LinkNo(0), &a, None), "it is given up");
        assert!(processes.is_lost(LinkNo(0), &a, two), "nobody was told yet");
        processes.on_lost(LinkNo(0));
        assert!(!processes.is_lost(LinkNo(0), &a, two));
        assert!(!processes.is_lost(LinkNo(0), &b, one), "another session has taken the number");
        assert!(!processes.is_lost(LinkNo(1), &a, None), "nothing is there that could be lost");
        assert!(!processes.is_lost(LinkNo(1), &a, one));
    }
}
