//! Body of the fuzz target `session`: one client connection under any order of events.
//!
//! The bytes are a script. Each step is something that a driver may tell the session: a message of
//! the client, an answer or an event of a backend, a place found, a link opened or failed, and
//! answers to nothing. [`world::World`] plays the driver and checks after each step that
//! - a request is answered once: by its backend, by the edge or by an error, never twice;
//! - what reaches a backend is the client's own text, the session put in where it is needed, over a
//!   link that is open, in the order sent;
//! - a message that is refused goes nowhere;
//! - a session waits for one turn at each backend at most, and each ends once;
//! - each place found is used or given back once, each use of a pipeline ends once;
//! - every bound is kept.
//!
//! At the end all that waits is answered or fails, and nothing may be left; or the client goes in
//! the middle of it, and all must be given back.

mod backend;
mod client;
mod script;
mod world;

use std::time::Duration;

use pinfold::session::{Bounds, LinkFailure};
use script::Script;
use world::World;

/// Steps of one run; the rest of a longer script is not read.
const STEPS_MAX: usize = 200;

/// Plays the script `data`.
///
/// # Panics
/// Where a law is broken.
pub(crate) fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(bounds(&mut script), script.flag());
    let is_cut_short = script.flag();
    world.keep_apart(&mut script);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        step(&mut world, &mut script);
    }
    if !is_cut_short {
        settle(&mut world, &mut script);
    }
    world.end();
}

/// Ample bounds, or bounds that are soon met.
fn bounds(script: &mut Script<'_>) -> Bounds {
    let [held_max_bytes, calls_max, pipelines_max] =
        [[100_000, 100, 1_000], [400, 100, 1_000], [100_000, 2, 1_000], [1_000, 4, 3]]
            [script.pick(4)];
    let resend_max_bytes = [10_000, 300, 0][script.pick(3)];
    let call_timeout = Duration::from_secs(60);
    Bounds {
        depth_max: 16,
        held_max_bytes,
        paced_max_bytes: held_max_bytes,
        calls_max,
        pipelines_max,
        subscriptions_max: 10,
        resend_max_bytes,
        call_timeout,
    }
}

fn step(world: &mut World, script: &mut Script<'_>) {
    match script.pick(19) {
        0..=4 => client::speak(world, script),
        5..=6 => world.place(script),
        7 if world.has_wish() => world.resume(script),
        7 => world.locate(script),
        8..=9 => world.open_link(script),
        10..=12 => backend::answer(world, script),
        13 => world.fail_link(script, None),
        14 => world.pass_time(script),
        15 => backend::say_something_else(world, script),
        16..=17 => world.give_turn(script),
        _ => world.tell_nonsense(script),
    }
}

/// Lets all that waits come to its end; the bytes that are left say how, else all goes well.
fn settle(world: &mut World, script: &mut Script<'_>) {
    for _ in 0..10_000 {
        if world.has_places() {
            world.place(script);
        } else if world.has_locates() {
            world.locate(script);
        } else if world.has_wish() {
            world.resume(script);
        } else if world.has_turns() {
            world.give_turn(script);
        } else if world.has_opening() {
            world.open_link(script);
        } else if world.has_unanswered() {
            match script.pick(8) {
                7 => world.fail_link(script, Some(LinkFailure::Cut)),
                _ => backend::answer(world, script),
            }
        } else if !world.wait_for_link() {
            return world.check_settled();
        }
    }
    panic!("what waits does not come to an end");
}
