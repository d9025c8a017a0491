//! Where a client's message goes.

use std::collections::VecDeque;

use super::admit::send;
use super::calls::{Call, CallId, Calls, Learn};
use super::held::Budget;
use super::resume::asks_for_session;
use super::{
    Closing, Held, Link, LinkNo, Output, Parked, Phase, Placing, Session, Ticket, Waiting, Wish,
    complete,
};
use crate::model::{BackendId, Finding, LabelError, PipelineId, SessionId, remove_lean};
use crate::policy::guard::Verdict;
use crate::protocol::answer;
use crate::protocol::error::Failure;
use crate::protocol::json::Text;
use crate::protocol::media::MediaCall;
use crate::protocol::request::{Hints, MANAGER, Method, Named, Request, parse_request};
use crate::protocol::transaction::parse_transaction;

/// Places that are tried for one message, when each turns out to be unreachable.
pub(super) const ATTEMPTS_MAX: u8 = 3;

/// A client's message on its way: the text, what was read of it, and what is already known.
pub(super) struct Going<'a> {
    text: &'a str,
    pub(super) request: Request<'a>,
    /// Whether it is the very message the driver has just handed in, which can be relayed.
    is_at_hand: bool,
    attempts: u8,
    avoid: Option<&'a BackendId>,
    pub(super) absent: &'a [PipelineId],
}

impl<'a> Going<'a> {
    const fn at_hand(text: &'a str, request: Request<'a>) -> Self {
        Self { text, request, is_at_hand: true, attempts: 0, avoid: None, absent: &[] }
    }

    fn waiting(&self) -> Waiting {
        Waiting {
            text: self.text.to_owned(),
            attempts: self.attempts,
            avoid: self.avoid.cloned(),
            absent: self.absent.to_vec(),
        }
    }

    fn call(&self, learn: Learn) -> Call {
        Call {
            id: CallId::new(self.request.id),
            method: self.request.method,
            goes_anywhere: false,
            learn,
        }
    }
}

impl Session {
    pub(super) fn on_client(&mut self, text: &str, out: &mut Vec<Output>) {
        if self.wait_behind(text, out) {
            return;
        }
        match parse_request(text, self.bounds.depth_max) {
            Ok(request) => {
                let going = Going::at_hand(text, request);
                self.route(&going, out);
            }
            Err(refused) => out.push(Output::Refuse(refused.id.to_owned(), refused.failure)),
        }
    }

    /// Routes a message that had to wait, from the start.
    pub(super) fn route_again(&mut self, waiting: &Waiting, out: &mut Vec<Output>) {
        let going = self.going_again(waiting);
        self.route(&going, out);
    }

    fn going_again<'a>(&self, waiting: &'a Waiting) -> Going<'a> {
        let request = parse_request(&waiting.text, self.bounds.depth_max)
            .expect("it was read before it had to wait");
        Going {
            text: &waiting.text,
            request,
            is_at_hand: false,
            attempts: waiting.attempts,
            avoid: waiting.avoid.as_ref(),
            absent: &waiting.absent,
        }
    }

    fn route(&mut self, going: &Going<'_>, out: &mut Vec<Output>) {
        if let Err(failure) = self.try_route(going, out) {
            out.push(Output::Refuse(going.request.id.to_owned(), failure));
        }
    }

    /// Routes a message, or says what its sender is to be told instead.
    fn try_route(&mut self, going: &Going<'_>, out: &mut Vec<Output>) -> Result<(), Failure> {
        let Request { id, method, params } = &going.request;
        let named = params.names(&self.id);
        if named == Named::Other {
            return self.route_foreign(going, out);
        }
        let verdict = self.rules.judge(&going.request)?;
        if !self.admit(going, &verdict, out)? {
            return Ok(());
        }
        match method {
            Method::Ping => {
                let session = self.is_told.then_some(&self.id);
                out.push(Output::Answer(*method, answer::pong(id, session)));
            }
            Method::Connect | Method::KeepAlive if self.is_unknown(named) => {
                return Err(Failure::invalid_session());
            }
            Method::Connect => {
                self.is_told = true;
                self.is_bereft = false;
                let text = answer::connected(id, &self.server_id, &self.id);
                out.push(Output::Answer(*method, text));
            }
            Method::KeepAlive | Method::CloseSession if named == Named::None && !self.is_told => {
                return Err(Failure::bad_parameter("'sessionId' parameter is required"));
            }
            // An open link keeps the session alive on its backend, so nobody need be asked.
            Method::KeepAlive => out.push(Output::Answer(*method, answer::done(id, &self.id))),
            Method::CloseSession => self.close_everywhere(going, out)?,
            Method::Transaction => self.route_transaction(going, &verdict, out)?,
            Method::Create => self.route_create(going, out)?,
            Method::Invoke
            | Method::Describe
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Release
            | Method::Ref
            | Method::Unref => self.route_to_object(going, &verdict, out)?,
        }
        Ok(())
    }

    /// Whether a server that restarted, or closed the session, would not know it.
    fn is_unknown(&self, named: Named) -> bool {
        self.is_closed || self.is_bereft && named == Named::This
    }

    /// A session that is not this connection's: one that it can go on with, or none for it.
    fn route_foreign(&mut self, going: &Going<'_>, out: &mut Vec<Output>) -> Result<(), Failure> {
        let Request { id, method, params } = going.request;
        let other = params.session_id.and_then(Text::of).map(Text::decode);
        let other = other.and_then(|other| SessionId::parse(&other));
        match other {
            Some(other) if self.is_bare() && asks_for_session(method) => {
                self.resume(other, going.text, out)
            }
            _ => Self::answer_foreign((id, method), out),
        }
    }

    /// Answers the message that named a session which nobody knows.
    pub(super) fn refuse_foreign(&self, text: &str, out: &mut Vec<Output>) {
        let request =
            parse_request(text, self.bounds.depth_max).expect("it was read before it had to wait");
        if let Err(failure) = Self::answer_foreign((request.id, request.method), out) {
            out.push(Output::Refuse(request.id.to_owned(), failure));
        }
    }

    /// Answers a message about something that may be there, though nobody has told of it.
    pub(super) fn refuse_for_now(&self, text: &str, retry_after_ms: u32, out: &mut Vec<Output>) {
        let request =
            parse_request(text, self.bounds.depth_max).expect("it was read before it had to wait");
        let failure = Failure::busy(
            "not every media server that may have this has told; try again",
            retry_after_ms,
        );
        out.push(Output::Refuse(request.id.to_owned(), failure));
    }

    fn answer_foreign((id, method): (&str, Method), out: &mut Vec<Output>) -> Result<(), Failure> {
        let text = match method {
            Method::Ping => answer::pong(id, None),
            Method::CloseSession => answer::closed(id),
            _ => return Err(Failure::invalid_session()),
        };
        out.push(Output::Answer(method, text));
        Ok(())
    }

    fn route_create(&mut self, going: &Going<'_>, out: &mut Vec<Output>) -> Result<(), Failure> {
        let params = &going.request.params;
        if params.creates_pipeline() {
            return self.place(
                going,
                vec![(0, params.hints(self.rules.trusts_client_place)?)],
                None,
                out,
            );
        }
        match params.constructor_object() {
            Some((pipeline, object)) => {
                let learn = Learn::Media(Box::new(MediaCall::Create));
                self.route_to_pipeline(going, (pipeline, &object), learn, out)
            }
            // No object to go by: an unknown type, or a parameter is missing. Any server says so.
            None => self.route_anywhere(going, out),
        }
    }

    fn route_to_object(
        &mut self,
        going: &Going<'_>,
        verdict: &Verdict<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let Some(object) = going.request.params.object_text() else {
            return Err(Failure::bad_parameter(match going.request.params.object {
                None => "'object' parameter is required",
                Some(_) => "'object' parameter should be a string",
            }));
        };
        if object == MANAGER {
            return match self.ask_manager(&going.request, out)? {
                true => Ok(()),
                false => self.route_anywhere(going, out),
            };
        }
        let Some(pipeline) = PipelineId::parse(&object) else {
            let failure = Failure::object_not_found(&object);
            self.answer_gone(&going.call(Learn::Nothing), &failure, out);
            return Ok(());
        };
        let learn = match going.request.method {
            Method::Release if !object.contains('/') => Learn::Released(pipeline),
            Method::Subscribe => Learn::Subscribed(object.as_ref().into()),
            _ if verdict.blocks => Learn::Blocking(self.next_ticket()),
            method => MediaCall::of(method, &going.request.params)
                .map_or(Learn::Nothing, |call| Learn::Media(Box::new(call))),
        };
        self.route_to_pipeline(going, (pipeline, &object), learn, out)
    }

    fn route_to_pipeline(
        &mut self,
        going: &Going<'_>,
        (pipeline, object): (PipelineId, &str),
        learn: Learn,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        if let Some(&link) = self.pipelines.get(&pipeline) {
            return self.forward(going, link, going.call(learn), out);
        }
        if going.absent.contains(&pipeline) {
            self.answer_gone(&going.call(learn), &Failure::object_not_found(object), out);
            return Ok(());
        }
        self.park(going, pipeline, out)
    }

    /// Keeps a message until it is known where `pipeline` lives.
    pub(super) fn park(
        &mut self,
        going: &Going<'_>,
        pipeline: PipelineId,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        self.check_pipelines(1)?;
        self.hold(going.text)?;
        if self.parked.iter().all(|parked| parked.pipeline != pipeline) {
            out.push(Output::Locate(pipeline));
        }
        self.parked.push(Parked { pipeline, waiting: going.waiting() });
        Ok(())
    }

    /// Whether there is room for so many more, those that are being made or looked for counted.
    fn check_pipelines(&self, more: usize) -> Result<(), Failure> {
        let used = self.pipelines.len() + self.making + self.parked.len();
        if used + more <= self.bounds.pipelines_max {
            return Ok(());
        }
        Err(Failure::not_enough_resources(
            "this connection uses too many pipelines; release some, or open another connection",
        ))
    }

    pub(super) fn on_located(
        &mut self,
        pipeline: PipelineId,
        finding: &Finding<BackendId>,
        out: &mut Vec<Output>,
    ) {
        if let Finding::Known(backend) = finding {
            let link = self.link_to(backend);
            if self.pipelines.contains_key(&pipeline) {
                out.push(Output::Unheld(pipeline)); // its use is noted already
            } else {
                self.know(pipeline, link, out);
            }
        }
        let (found, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| parked.pipeline == pipeline);
        self.parked = rest;
        for mut parked in found {
            self.unhold(&parked.waiting.text);
            match finding {
                Finding::Known(_) => {}
                Finding::Unknown => parked.waiting.absent.push(pipeline),
                Finding::NotSure(retry_after_ms) => {
                    self.refuse_for_now(&parked.waiting.text, *retry_after_ms, out);
                    continue;
                }
            }
            self.route_again(&parked.waiting, out);
        }
    }

    fn route_transaction(
        &mut self,
        going: &Going<'_>,
        verdict: &Verdict<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let transaction =
            parse_transaction(going.request.params.operations, self.rules.trusts_client_place)?;
        let mut links = Vec::new();
        for &pipeline in &transaction.touches {
            match self.pipelines.get(&pipeline) {
                Some(link) => links.push(*link),
                None if going.absent.contains(&pipeline) => {}
                None => return self.park(going, pipeline, out),
            }
        }
        let on = links.first().copied();
        if links.iter().any(|link| Some(*link) != on) {
            return Err(Failure::malformed_transaction(
                "its operations touch pipelines on different media servers; send one for each",
            ));
        }
        if !transaction.creates.is_empty() {
            let on = on.map(|link| self.links[link.0].backend.clone());
            return self.place(going, transaction.creates, on, out);
        }
        let Some(link) = on else { return self.route_anywhere(going, out) };
        let learn = self.transaction_learn(verdict, Vec::new(), transaction);
        self.forward(going, link, going.call(learn), out)
    }

    /// Sends a call to whichever backend the session has a link to, or to any.
    fn route_anywhere(&mut self, going: &Going<'_>, out: &mut Vec<Output>) -> Result<(), Failure> {
        let linked = self.links.iter().position(|link| !matches!(link.phase, Phase::Closed));
        match linked {
            Some(link) => {
                let call = Call { goes_anywhere: true, ..going.call(Learn::Nothing) };
                self.forward(going, LinkNo(link), call, out)
            }
            None => self.place(going, Vec::new(), None, out),
        }
    }

    /// Keeps a message until there is a place for every pipeline it creates.
    fn place(
        &mut self,
        going: &Going<'_>,
        creates: Vec<(usize, Hints)>,
        on: Option<BackendId>,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        if going.attempts >= ATTEMPTS_MAX {
            return Err(Failure::not_enough_resources(
                "no media server could be reached; operator: see the health of the backends",
            ));
        }
        if !creates.is_empty() {
            self.check_pipelines(creates.len())?;
        }
        let whole = |(index, hints): (usize, Hints)| {
            let mut hints = hints.or(&self.url)?;
            hints.require = hints.require.and(&self.rules.require)?;
            Ok((index, hints))
        };
        let creates: Vec<_> = creates.into_iter().map(whole).collect::<Result<_, LabelError>>()?;
        self.hold(going.text)?;
        self.making += creates.len();
        creates.iter().for_each(|(_, hints)| self.take_part(hints));
        let placing = Placing { waiting: going.waiting(), creates, tickets: Vec::new(), on };
        self.ask_for_place(placing, out);
        Ok(())
    }

    fn ask_for_place(&mut self, placing: Placing, out: &mut Vec<Output>) {
        let ticket = self.next_ticket();
        let avoid = placing.waiting.avoid.clone();
        let wish = match placing.creates.get(placing.tickets.len()) {
            None => Wish::Anywhere { avoid },
            Some((_, hints)) => {
                Wish::Pipeline { hints: hints.clone(), on: placing.on.clone(), avoid }
            }
        };
        self.placing.insert(ticket, placing);
        out.push(Output::Place(ticket, wish));
    }

    pub(super) fn on_placed(
        &mut self,
        ticket: Ticket,
        place: Result<BackendId, Failure>,
        out: &mut Vec<Output>,
    ) {
        let Some(mut placing) = remove_lean(&mut self.placing, &ticket) else { return };
        let backend = match place {
            Ok(backend) => backend,
            Err(failure) => {
                self.making -= placing.creates.len() - placing.tickets.len();
                out.extend(placing.tickets.into_iter().map(Output::NotCreated));
                self.unhold(&placing.waiting.text);
                let request = parse_request(&placing.waiting.text, self.bounds.depth_max)
                    .expect("it was read before it had to wait");
                out.push(Output::Refuse(request.id.to_owned(), failure));
                return;
            }
        };
        if !placing.creates.is_empty() {
            placing.tickets.push(ticket);
            placing.on = Some(backend.clone());
            if placing.tickets.len() < placing.creates.len() {
                return self.ask_for_place(placing, out);
            }
        }
        self.unhold(&placing.waiting.text);
        let link = self.link_to(&backend);
        self.forward_placed(&placing, link, out);
    }

    /// Sends on a message whose places are all found, to the one backend they are on.
    fn forward_placed(&mut self, placing: &Placing, link: LinkNo, out: &mut Vec<Output>) {
        let going = self.going_again(&placing.waiting);
        let request = going.request;
        let learn = if request.method == Method::Transaction && !placing.tickets.is_empty() {
            let operations = placing.creates.iter().map(|(index, _)| *index);
            let creates = operations.zip(placing.tickets.iter().copied()).collect();
            let transaction =
                parse_transaction(request.params.operations, false).unwrap_or_default();
            let verdict = self.rules.judge(&request).unwrap_or_default();
            self.transaction_learn(&verdict, creates, transaction)
        } else {
            placing.tickets.first().map_or(Learn::Nothing, |ticket| Learn::Created(*ticket))
        };
        let call = Call { goes_anywhere: placing.tickets.is_empty(), ..going.call(learn) };
        let abandoned = call.learn.clone();
        if let Err(failure) = self.forward(&going, link, call, out) {
            abandoned.abandon(out);
            out.push(Output::Refuse(request.id.to_owned(), failure));
        }
    }

    /// Sends a message over `link`, which is opened if it is closed.
    fn forward(
        &mut self,
        going: &Going<'_>,
        link: LinkNo,
        call: Call,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let opening = going.request.params.opening;
        let needs_session = going.request.params.session_id.is_none();
        self.check_room(link)?;
        let cost = self.cost_of(&going.request);
        let to = &mut self.links[link.0];
        if let Phase::Open { is_tied, calls, queue: None } = &mut to.phase
            && cost == 0
        {
            let lacks_session = needs_session && (to.had_earlier || !*is_tied);
            let completed = lacks_session.then(|| complete(going.text, opening, &self.id));
            let blocks = call.learn.blocks();
            let text = completed.as_deref().unwrap_or(going.text);
            calls.push(call, text, self.now, self.bounds.resend_max_bytes);
            let copy = completed.or_else(|| (!going.is_at_hand).then(|| going.text.to_owned()));
            out.push(send(link, &to.backend, blocks, copy));
            return Ok(());
        }
        let budget = self.budget_at(link);
        self.hold_in(budget, going.text)?;
        let waiting = going.waiting();
        let opening = opening.filter(|_| needs_session);
        let held = Held { waiting, opening, call, budget, cost, since: self.now };
        match &mut self.links[link.0] {
            Link { phase: Phase::Opening(queue), .. } => queue.push(held),
            Link { phase: Phase::Open { queue: Some(queue), .. }, .. } => queue.push(held),
            Link { phase: Phase::Open { queue: None, .. }, .. } => {
                self.send_in_turn(link, VecDeque::from([held]), out);
            }
            Link { backend, phase: phase @ Phase::Closed, .. } => {
                out.push(Output::OpenLink(link, backend.clone()));
                *phase = Phase::Opening(vec![held]);
            }
        }
        Ok(())
    }

    fn check_room(&self, link: LinkNo) -> Result<(), Failure> {
        if self.links[link.0].call_count() < self.bounds.calls_max {
            return Ok(());
        }
        Err(Failure::not_enough_resources(
            "too many calls wait for this media server; wait for its answers",
        ))
    }

    pub(super) fn on_link_opened(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let is_opening = matches!(self.links[link.0].phase, Phase::Opening(_));
        if is_opening && !self.settles(link, out) {
            self.go_on(link, out);
        }
    }

    /// Sends all that waited for the link.
    pub(super) fn go_on(&mut self, link: LinkNo, out: &mut Vec<Output>) {
        let to = &mut self.links[link.0];
        let Phase::Opening(held) = &mut to.phase else { return };
        let (own, mut held): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(held).into_iter().partition(Held::is_own);
        to.phase = Phase::Open { is_tied: false, calls: Calls::default(), queue: None };
        self.send_in_turn(link, own, out);
        self.send_again(link, out);
        if held.iter().any(|held| held.cost > 0) {
            self.count_as_paced(held.iter_mut());
        }
        self.send_in_turn(link, held, out);
    }

    /// Closes the session on every backend that has it; the client is answered when all have.
    fn close_everywhere(
        &mut self,
        going: &Going<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let has_session = |link: &LinkNo| {
            let is_closed = matches!(self.links[link.0].phase, Phase::Closed);
            !is_closed || self.has_something_at(*link)
        };
        let links: Vec<LinkNo> = (0..self.links.len()).map(LinkNo).filter(has_session).collect();
        // All or none: a session that is closed on some backends only could not be told of.
        for link in &links {
            self.check_room(*link)?;
        }
        for budget in [Budget::Place, Budget::Turn] {
            let count = links.iter().filter(|link| self.budget_at(**link) == budget).count();
            self.check_held(budget, count * going.text.len())?;
        }
        self.manager.end_all(out);
        let key = self.next_ticket();
        let unanswered = links.len();
        for link in links {
            self.forward(going, link, going.call(Learn::Closed(key, link)), out)?;
        }
        self.is_closed = true;
        let call = CallId::new(going.request.id);
        let releases = going.request.params.release == Some("true");
        self.closings.insert(key, Closing { call, releases, unanswered });
        self.answer_closed(key, out);
        Ok(())
    }
}
