//! What becomes of each call on its way: where it arrives, how often, and what is said to it.

use std::time::Duration;

use serde_json::Value;

use super::backend::Answered;
use super::network::{LinkId, RelayNo};
use super::world::World;

/// How long a backend gives the same answer to the same request. Source: Kurento protocol notes,
/// section 8.
const ANSWERS_KEPT: Duration = Duration::from_secs(20);

impl World {
    /// A message goes to a client: notes which call is refused by it.
    pub(super) fn note_refusal(&mut self, relay: RelayNo, text: &str) {
        if !text.contains("\"error\"") {
            return;
        }
        let Some(known) = self.relays.get(&relay) else { return };
        let calls = &mut self.clients[known.client].calls;
        if let Some(asked) = id_of(text).and_then(|id| calls.get_mut(&id)) {
            asked.is_refused = true;
        }
    }

    /// Whether the call that a backend answers was refused already.
    pub(super) fn is_refused(&mut self, relay: RelayNo, text: &str) -> bool {
        let Some(known) = self.relays.get(&relay) else { return false };
        let calls = &self.clients[known.client].calls;
        let asked = id_of(text).and_then(|id| calls.get(&id));
        let is_refused = asked.is_some_and(|asked| asked.is_refused);
        self.tally.late += u64::from(is_refused);
        is_refused
    }

    /// A message reaches a backend: it is the right one, and nothing was overtaken.
    pub(super) fn check_arrival(
        &mut self,
        relay: RelayNo,
        (link, backend): (LinkId, usize),
        text: &str,
    ) {
        let Some(known) = self.relays.get(&relay) else { return };
        let client = &mut self.clients[known.client];
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return self.complain(|| format!("backend {backend} gets no JSON: {text}"));
        };
        let id = request.get("id").and_then(Value::as_str).unwrap_or_default();
        let Some(asked) = client.calls.get_mut(id) else {
            if !id.starts_with("pinfold-") {
                self.complain(|| format!("backend {backend} gets what no client sent: {text}"));
            }
            return;
        };
        let is_again = std::mem::replace(&mut asked.has_arrived, true);
        asked.link = Some(link);
        client.ledger.is_followed |= asked.is_abandoned && client.conn.is_some();
        self.tally.resent += u64::from(is_again);
        let Some(pipeline) = asked.what.pipeline() else { return };
        // A connection that its client has left may have gone over to another session in between.
        let is_left = asked.is_abandoned;
        let (number, conn, ledger) = (asked.number, asked.conn, &mut client.ledger);
        let of_link = ledger.arrived_by.entry((link, pipeline.to_owned())).or_default();
        let mut last = std::mem::replace(of_link, number);
        if !is_again {
            last = last.max(
                ledger.arrived.insert((conn, pipeline.to_owned()), number).unwrap_or_default(),
            );
        }
        if last > number && !is_left {
            return self.complain(|| format!("{id} reaches its backend after number {last}"));
        }
        let fact = &self.pipelines[pipeline];
        let home = fact.backend;
        // Over a link of before, it was sent before.
        let is_new = self.links.get(&link).is_some_and(|link| !link.view.lost.is_cancelled());
        if home != backend {
            self.complain(|| format!("{id} reaches backend {backend}; {home} has its pipeline"));
        } else if is_new && fact.lost_by.contains(&known.edge) {
            let what = format!("{id} is about {pipeline}, which edge {} had given up", known.edge);
            self.complain(|| what);
        }
    }

    /// A message is about to be worked on: one that was answered already comes again only while the
    /// backend still has the answer. A freeze in between may take longer than anybody can know.
    pub(super) fn check_repeat(&mut self, backend: usize, text: &str) {
        let now = self.now();
        let known = &mut self.backends[backend];
        let Some(process) = known.process.as_mut() else { return };
        let Some(id) = id_of(text) else { return };
        let Some(answered) = process.answers.get_mut(&id) else { return };
        self.tally.repeated += 1;
        if now.since(answered.at) < ANSWERS_KEPT {
            answered.is_asked_again = true;
        } else if known.thawed <= answered.at {
            self.complain(|| format!("{id} comes again when its answer is forgotten"));
        }
    }

    /// Whether the client of a call has been at more than one edge with its session.
    fn has_moved(&self, id: &str) -> bool {
        let mut all = self.clients.iter();
        let client = all.find(|client| client.calls.contains_key(id));
        client.is_some_and(|client| client.ledger.edges.windows(2).any(|pair| pair[0] != pair[1]))
    }

    /// A backend answers: nothing that it had answered was run again.
    pub(super) fn check_answer(&mut self, backend: usize, text: &str) {
        let now = self.now();
        let Some(id) = id_of(text) else { return };
        let has_moved = self.has_moved(&id);
        let Some(process) = self.backends[backend].process.as_mut() else { return };
        let new = Answered { at: now, text: text.to_owned(), is_asked_again: false };
        let old = process.answers.insert(id.clone(), new);
        if let Some(old) = old.filter(|old| old.is_asked_again) {
            // Sent on by an edge that did not know that another had the session, it was done in another.
            let is_elsewhere = has_moved && session_of(&old.text) != session_of(text);
            if old.text != text && !is_elsewhere {
                return self.complain(|| format!("{id} was run twice: {} and {text}", old.text));
            }
            // The backend keeps the first answer, and not for longer because it was given again.
            process.answers.insert(id, Answered { is_asked_again: false, ..old });
        }
    }
}

/// The session that an answer tells.
fn session_of(text: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(text).ok()?;
    answer.pointer("/result/sessionId")?.as_str().map(str::to_owned)
}

/// The id of a message that a client sent, or that answers it. Those of the edges repeat.
fn id_of(text: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    let id = message.get("id")?.as_str()?;
    (!id.starts_with("pinfold-")).then(|| id.to_owned())
}
