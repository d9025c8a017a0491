//! What an edge asks its backends on lines of their own, and what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Bug;
use super::world::{Happening, Prober, World};
use crate::fleet::{ANSWER_TIMEOUT, Answered, Asked, answer_to, request};
use crate::model::Time;
use crate::runtime::Timer;
use crate::sim::kms::ConnId;

/// How long a line stays open when nothing is asked. As the asker has it.
const LINE_IDLE_MAX: Duration = Duration::from_secs(5);

/// The line of one edge to one backend.
pub(super) struct LineSim {
    asked: mpsc::Receiver<Asked>,
    /// The question under way; the second text of one is a question of its own, without an asker.
    current: Option<Asked>,
    /// Its number, of all there were.
    number: u64,
    /// Its connection, and the process at the other end.
    far: Option<(u32, ConnId)>,
    /// When a question failed last.
    failed: Option<Time>,
}

impl LineSim {
    pub(super) const fn new(asked: mpsc::Receiver<Asked>) -> Self {
        Self { asked, current: None, number: 0, far: None, failed: None }
    }

    /// That to the backend of `number`; one that leads nowhere if the edge does not have it.
    pub(super) fn of(
        number: Option<usize>,
        asked: &mut BTreeMap<usize, mpsc::Receiver<Asked>>,
    ) -> Self {
        let asked = number.and_then(|number| asked.remove(&number));
        asked.map_or_else(Self::nowhere, Self::new)
    }

    /// That to no backend: whoever has asked is told nothing.
    pub(super) fn nowhere() -> Self {
        Self::new(mpsc::channel(1).1)
    }

    /// Whether every question of the last `span` was answered.
    pub(super) fn has_answered(&self, now: Time, span: Duration) -> bool {
        self.failed.is_none_or(|failed| now.since(failed) > span)
    }
}

impl World {
    /// Sends the next question, if the line is free.
    pub(super) fn heed_question(&mut self, prober: Prober) {
        if !self.is_present(prober) {
            return;
        }
        let line = self.line(prober);
        if line.current.is_some() {
            return;
        }
        while let Ok(asked) = line.asked.try_recv() {
            if asked.answer.is_closed() {
                continue;
            }
            line.current = Some(asked);
            return self.ask(prober);
        }
    }

    fn ask(&mut self, prober: Prober) {
        let line = self.line(prober);
        line.number += 1;
        let (number, is_open) = (line.number, line.far.is_some());
        let mut delay = self.delay();
        if !is_open {
            delay += self.delay();
        }
        self.after(delay, Happening::LineArrives(prober, number));
        self.after(ANSWER_TIMEOUT, Happening::LineTimesOut(prober, number));
    }

    pub(super) fn line_arrives(&mut self, prober: Prober, number: u64) {
        if !self.is_asking(prober, number) || self.backends[prober.backend].is_frozen {
            return; // it takes too long
        }
        let text = self.line(prober).current.as_ref().map(|asked| asked.text.clone());
        let (Some(text), far) = (text, self.line(prober).far) else { return };
        let now = self.clock.now();
        let known = self.backends[prober.backend].process.as_mut();
        let Some(process) = known.filter(|p| far.is_none_or(|(number, _)| number == p.number))
        else {
            return self.line_fails(prober, number);
        };
        let conn = far.map_or_else(|| process.kms.open(), |(_, conn)| conn);
        process.lines.insert(conn, prober);
        let (mut outputs, text) = (Vec::new(), request(&id_of(prober, number), &text));
        process.kms.on_text(now, conn, &text, &mut outputs);
        let far = (process.number, conn);
        self.line(prober).far = Some(far);
        self.note(|| format!("   {prober:?} asks {text}"));
        if text.contains(r#""method":"release""#) {
            self.on_destroyed(&text);
        }
        self.carry_out(prober.backend, outputs);
    }

    /// What a backend says over a line.
    pub(super) fn send_down_line(&mut self, prober: Prober, text: Result<String, String>) {
        // An event is for whoever had the session a moment ago; a line is not interested.
        let Ok(text) = text else { return };
        if self.is_present(prober) {
            let number = self.line(prober).number;
            let delay = self.delay();
            self.after(delay, Happening::LineAnswers(prober, number, text));
        }
    }

    pub(super) fn line_answers(&mut self, prober: Prober, number: u64, text: &str) {
        if !self.is_asking(prober, number) {
            return;
        }
        let said = answer_to(&id_of(prober, number), text).ok().flatten();
        let Some(mut said) = said else { return };
        self.note(|| format!("   {prober:?} is told {said:?}"));
        if self.bug == Some(Bug::ForgottenBackend) && prober.backend == 0 {
            said = Answered::Error(40007);
        }
        let line = self.line(prober);
        if let Some(Asked { after, answer, .. }) = line.current.take() {
            let _ = answer.send(said); // who asked may have left
            if let Some(text) = after {
                let (answer, _) = tokio::sync::oneshot::channel();
                line.current = Some(Asked { text, after: None, answer });
                return self.ask(prober);
            }
        }
        self.after(LINE_IDLE_MAX, Happening::LineIsIdle(prober, number));
    }

    /// A question has no answer.
    pub(super) fn line_fails(&mut self, prober: Prober, number: u64) {
        if !self.is_asking(prober, number) {
            return;
        }
        let now = self.now();
        let line = self.line(prober);
        (line.current, line.failed) = (None, Some(now)); // who asked is told by that
        self.close_line(prober);
    }

    pub(super) fn line_is_idle(&mut self, prober: Prober, number: u64) {
        let is_idle = self.is_present(prober) && {
            let line = self.line(prober);
            line.current.is_none() && line.number == number
        };
        if is_idle {
            self.close_line(prober);
        }
    }

    pub(super) fn close_line(&mut self, prober: Prober) {
        let Some((number, conn)) = self.line(prober).far.take() else { return };
        let known = self.backends[prober.backend].process.as_mut();
        if let Some(process) = known.filter(|process| process.number == number) {
            process.kms.close(conn);
            process.lines.remove(&conn);
        }
    }

    fn is_asking(&mut self, prober: Prober, number: u64) -> bool {
        self.is_present(prober) && {
            let line = self.line(prober);
            line.number == number && line.current.is_some()
        }
    }

    fn line(&mut self, prober: Prober) -> &mut LineSim {
        &mut self.edges[prober.edge].lines[prober.backend]
    }
}

/// The id of a question, which no other has: one that comes back into a fleet has another row.
fn id_of(prober: Prober, number: u64) -> String {
    let Prober { edge, run, backend, number: row } = prober;
    let row = row.unwrap_or(usize::MAX); // a backend that was added again has another line
    format!("pinfold-ask-{edge}-{run}-{backend}-{row}-{number}")
}
