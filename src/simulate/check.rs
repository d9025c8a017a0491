//! What must always hold, and what must be so in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;

use super::edge::EdgeSim;
use super::network::RelayNo;
use super::world::{LinkPhase, MEETINGS, PipelineFact, World};
use crate::model::{Legs, MeetingId, MeetingName};
use crate::pins::{Pin, PinStore};
use crate::policy::tally::Counts;

/// Steps between two times that what is counted is compared with what there is.
const COUNT_INTERVAL: u64 = 16;

/// A call under way is over by then.
const CALL_MAX: Duration = Duration::from_secs(45);

/// After each step: every table within its bound, no pin on a process that was lost long ago, none
/// made where none may be.
pub(super) fn after_step(world: &mut World) {
    let (now, pins_max) = (world.now(), world.shape.pins_max);
    let complaint = world.edges.iter_mut().find_map(|edge| {
        let sizes = (edge.edge.registry().len().0, edge.store.pins.len());
        let before = std::mem::replace(&mut edge.sizes, sizes);
        edge.store.complaint().or_else(|| {
            // Those of the process before are no reason to refuse, and come in addition. So do those
            // that were there, or were being made, when the bound was lowered.
            let is_settled = now.since(edge.pins_max.1) > CALL_MAX;
            let max = if is_settled { edge.pins_max.0 } else { pins_max } + edge.found.len();
            let is_beyond = sizes.0 > max.max(before.0) || sizes.1 > max.max(before.1);
            is_beyond.then(|| format!("{sizes:?} meetings and pins where {max} are allowed"))
        })
    });
    let complaint = complaint.or_else(|| {
        world.relays.values().find_map(|relay| {
            let bounds = relay.bounds;
            let sizes = relay.driver.session().sizes();
            (!sizes.are_within(&bounds)).then(|| format!("{sizes:?} is beyond {bounds:?}"))
        })
    });
    world.check_drained_pins();
    world.check_owed();
    // Looks at every meeting, so not always.
    let is_due = world.tally.steps.is_multiple_of(COUNT_INTERVAL);
    let complaint = complaint.or_else(|| if is_due { count(world).err() } else { None });
    if let Some(complaint) = complaint {
        world.complain(|| complaint);
    }
}

/// What a backend carries is what its meetings there consist of.
fn count(world: &mut World) -> Result<(), String> {
    for (number, edge) in world.edges.iter().enumerate() {
        let meetings = edge.edge.registry().meetings(None, usize::MAX);
        for backend in &edge.edge.fleet.snapshot().backends {
            let of_backend = || meetings.iter().filter(|one| one.pin.backend == backend.id);
            let counted = (backend.load.measured(), backend.load.counts());
            let measured = of_backend().map(|one| one.measured.0).sum();
            let mut counts = Counts::default();
            of_backend().for_each(|one| counts.replace(&Counts::default(), &one.counts));
            let there = (Legs(measured), counts);
            if counted != there {
                let id = &backend.id;
                return Err(format!("edge {number} counts {counted:?} on {id}, not {there:?}"));
            }
            world.tally.legs_max = world.tally.legs_max.max(measured);
        }
    }
    Ok(())
}

/// A meeting has one backend: `new` was just made.
pub(super) fn one_backend(world: &mut World, new: &PipelineFact) {
    let Some(meeting) = new.meeting.as_deref() else { return };
    // Another process on the same backend means that the older one is dead, with what it held.
    let is_elsewhere = |old: &&PipelineFact| old.backend != new.backend;
    let maker = new.holder.and_then(|relay| world.relays.get(&relay)).map(|relay| relay.edge);
    let edges = [Some(world.edge_at(new.site)), maker];
    let has_lost = |edge: usize| world.edges[edge].has_lost(new.backend, new.incarnation);
    if edges.into_iter().flatten().any(has_lost) {
        return;
    }
    let other = world.live(new.site, meeting).find(is_elsewhere).cloned();
    if let Some(old) = other {
        let meeting = meeting.to_owned();
        world.complain(|| {
            format!(
                "{meeting} is split: {} on backend {} and {} on backend {}",
                old.id, old.backend, new.id, new.backend
            )
        });
    }
}

/// The client is sent the id of a new pipeline when its pin is settled, not before.
pub(super) fn only_settled_is_told(world: &mut World, relay: RelayNo, text: &str) {
    let Some(known) = world.relays.get(&relay) else { return };
    let (edge, session) = (known.edge, *known.driver.session().id());
    let site = world.edges[edge].site;
    let answered = world.clients[known.client].answered_by(text);
    // Others may know it by now, and ask about it.
    if answered.is_some_and(|asked| asked.what.pipeline().is_some()) {
        return;
    }
    let is_new = |fact: &&mut PipelineFact| {
        (fact.site, fact.session) == (site, session)
            && !fact.is_told
            && !fact.is_released
            && text.contains(&fact.id.to_string())
    };
    let Some(fact) = world.pipelines.values_mut().find(is_new) else { return };
    fact.is_told = true;
    let new = fact.clone();
    one_backend(world, &new);
    only_settled(world, edge, &new);
}

fn only_settled(world: &mut World, edge: usize, fact: &PipelineFact) {
    let (Some(meeting), edge, backend) = (&fact.meeting, &world.edges[edge], fact.backend) else {
        return;
    };
    let Some(pin) = pin_of(edge, meeting) else { return };
    if pin.backend != world.backends[backend].id {
        return;
    }
    let is_settled = edge.store.is_settled(pin.epoch);
    let is_known = edge.edge.registry().knows(fact.id);
    let is_noted = !is_known || edge.store.is_noted(fact.id);
    let meeting = meeting.clone();
    if !is_settled {
        world.complain(|| format!("a client is told of {meeting} before its pin is settled"));
    }
    if !is_noted {
        world.complain(|| format!("a pipeline of {meeting} is not noted"));
    }
}

/// A pin is gone some time after its process was lost.
pub(super) fn no_pin_on_the_lost(world: &mut World, edge: usize) {
    let known = &world.edges[edge];
    let stale = MEETINGS.into_iter().find_map(|name| {
        let pin = pin_of(known, name)?;
        let backend = world.backends.iter().position(|backend| backend.id == pin.backend)?;
        known.lost_long_ago(backend, pin.incarnation, world.now()).then_some((name, pin))
    });
    if let Some((name, pin)) = stale {
        world.complain(|| format!("{name} is pinned to a lost process of {}", pin.backend));
    }
}

/// A meeting that is in use keeps its pin.
pub(super) fn no_meeting_without_pin(world: &mut World, edge: usize) {
    let known = &world.edges[edge];
    let unpinned = |name: &'static str| {
        let id = MeetingId::Named(MeetingName::parse(name).expect("a good name"));
        // One that nobody uses may have lost its backend to a decision, and its pin to that.
        let used = known.edge.registry().meeting(&id);
        let used = used.filter(|used| used.is_live && !used.is_ending)?;
        (pin_of(known, name).as_ref() != Some(&used.pin)).then_some((name, used.pin.epoch))
    };
    let unpinned: BTreeMap<_, _> = MEETINGS.into_iter().filter_map(unpinned).collect();
    // One that is just being claimed, or removed, is so for a moment only.
    let again = unpinned.iter().find(|(name, epoch)| known.unpinned.get(*name) == Some(epoch));
    let complaint = again.map(|(name, _)| format!("{name} is in use without its pin"));
    world.edges[edge].unpinned = unpinned;
    if let Some(complaint) = complaint {
        world.complain(|| complaint);
    }
}

/// The pin of a meeting, as it stands in the store.
fn pin_of(edge: &EdgeSim, name: &str) -> Option<Pin> {
    let name = MeetingName::parse(name).expect("a good name");
    edge.store.pins.lookup(&name).now_or_never()?.ok()?
}

/// With every fault mended and time gone by, nobody waits.
pub(super) fn all_answered(world: &World) -> Result<(), String> {
    for client in &world.clients {
        let Some(conn) = client.conn.filter(|conn| world.conns.contains_key(conn)) else {
            continue;
        };
        // An answer goes to the connection that has the session by then: it may be one before, of which
        // the edge has read later.
        let is_contested = client.ledger.is_contested;
        if let Some((id, asked)) = client.unanswered().find(|_| !is_contested) {
            return Err(format!("call {id} on {conn:?} was never answered: {asked:?}"));
        }
        if client.ledger.nameless > 0 {
            return Err(format!("a message without an id on {conn:?} was never answered"));
        }
        let relay = world.conns[&conn].relay;
        for (id, link) in world.links.iter().filter(|(_, link)| Some(link.relay) == relay) {
            let seen = client.ledger.seen(*id);
            let is_whole = link.phase == LinkPhase::Open;
            if is_whole && seen != link.events_sent {
                return Err(format!("{seen} of {} events of {id:?} arrived", link.events_sent));
            }
        }
    }
    Ok(())
}

/// With everyone gone, every table is empty.
pub(super) fn nothing_left(world: &World) -> Result<(), String> {
    if let Some((conn, _)) = world.conns.first_key_value() {
        return Err(format!("{conn:?} is still there"));
    }
    if let Some((link, _)) = world.links.first_key_value() {
        return Err(format!("{link:?} is still there"));
    }
    if let Some((relay, _)) = world.relays.first_key_value() {
        return Err(format!("{relay:?} is still there"));
    }
    let numbered = world.edges.iter().enumerate();
    for (number, edge) in numbered.filter(|(number, _)| world.decides(*number)) {
        // Those of a process before, whose meeting had moved on when they were found, stay noted.
        let is_own = |pipeline| edge.keeper.found.meeting_of(pipeline).is_none();
        let notes = edge.store.noted_count(is_own);
        let left = (edge.edge.registry().len(), edge.store.pins.len(), notes);
        if left != ((0, 0), 0, 0) {
            let pins = MEETINGS.map(|name| (name, pin_of(edge, name)));
            let pins: Vec<_> = pins.into_iter().filter(|(_, pin)| pin.is_some()).collect();
            return Err(format!(
                "edge {number} keeps (meetings, pipelines), pins, notes: {left:?} {pins:?}"
            ));
        }
        if !edge.sessions.is_empty() {
            return Err(format!("edge {number} keeps {} sessions", edge.sessions.len()));
        }
        if !edge.is_idle() {
            return Err(format!("the keeper of edge {number} is still at work"));
        }
        for backend in &edge.edge.fleet.snapshot().backends {
            let load = &backend.load;
            let carried = (load.legs(), load.meetings(), load.participants());
            if carried != (Legs(0), 0, 0) {
                return Err(format!("edge {number} keeps load on {}: {carried:?}", backend.id));
            }
            let seen = (load.measured(), load.counts());
            if seen != (Legs(0), Counts::default()) {
                return Err(format!("edge {number} still counts on {}: {seen:?}", backend.id));
            }
        }
    }
    Ok(())
}
