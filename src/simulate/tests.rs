//! The world itself is tested: it can be repeated, and it finds what is planted.

use super::*;

/// As many as CI runs.
const SEEDS: std::ops::Range<u64> = 0..256;

fn run(seed: u64, bug: Option<Bug>) -> Result<Done, Broken> {
    session(&Run { seed, steps: 3_000, bug, is_traced: false })
}

fn finds(bug: Bug, shows_as: &[&str]) {
    let broken = SEEDS.into_iter().find_map(|seed| run(seed, Some(bug)).err());
    let broken = broken.unwrap_or_else(|| panic!("{bug:?} is not found"));
    let is_expected = shows_as.iter().any(|what| broken.what.contains(what));
    assert!(is_expected, "{bug:?} shows as: {broken}");
}

#[test]
fn a_claim_that_gets_then_sets_is_found() {
    // The registry knows the loser's epoch for another and does not let it in; the pins show it.
    let shows_as = ["is split", "has its pipeline", "without its pin", "keeps (meetings"];
    finds(Bug::GetThenSet, &shows_as);
}

#[test]
fn an_unpin_without_condition_is_found() {
    finds(Bug::UnconditionalUnpin, &["is split", "without its pin"]);
}

#[test]
fn a_dropped_event_is_found() {
    finds(Bug::DroppedEvent, &["events", "is missing"]);
}

#[test]
fn a_late_answer_is_found() {
    finds(Bug::LateAnswer, &["answered twice"]);
}

#[test]
fn a_pin_that_outlives_its_process_is_found() {
    finds(Bug::KeptPin, &["lost process", "without its pin", "keeps (meetings"]);
}

#[test]
fn a_call_that_is_run_twice_is_found() {
    finds(Bug::ForgottenAnswers, &["run twice"]);
}

#[test]
fn an_answer_before_its_pin_is_settled_is_found() {
    finds(Bug::EarlyAnswer, &["before its pin is settled"]);
}

#[test]
fn a_crash_that_loses_a_settled_pin_is_found() {
    finds(Bug::LostClaim, &["is split", "without its pin"]);
}

#[test]
fn a_resume_that_leaves_a_backend_out_is_found() {
    let shows_as = ["of a session that is resumed is left out", "keeps (meetings"];
    finds(Bug::ForgottenBackend, &shows_as);
}

#[test]
fn events_for_the_connection_before_are_found() {
    finds(Bug::OldConnection, &["events", "is missing"]);
}

#[test]
fn a_drain_that_is_not_heard_of_is_found() {
    finds(Bug::DeafToDrain, &["which gets no new meetings"]);
}

#[test]
fn a_meeting_that_is_let_go_before_its_pipelines_are_is_found() {
    finds(Bug::UnaskedRelease, &["and it lives", "is split"]);
}

#[test]
fn a_loss_that_some_are_not_told_of_is_found() {
    finds(Bug::UntoldLoss, &["is not told of a loss"]);
}

#[test]
fn orders_that_are_forgotten_with_a_process_are_found() {
    finds(Bug::ForgottenOrders, &["which gets no new meetings"]);
}

#[test]
fn sources_that_are_believed_at_once_are_found() {
    finds(Bug::HastySources, &["at once", "is not passed on"]);
}

#[test]
fn pins_of_two_processes_are_found() {
    finds(Bug::KeptPins, &["is split", "is not passed on"]);
}

#[test]
fn a_process_that_does_not_wait_for_the_one_before_is_found() {
    finds(Bug::DeafToNews, &["is not passed on", "is split"]);
}

#[test]
fn orders_that_nobody_reads_are_found() {
    finds(Bug::OpenGate, &["which gets no new meetings"]);
}

#[test]
fn remnants_that_a_restart_forgets_are_found() {
    finds(Bug::ForgottenRemnants, &["had given up"]);
}

#[test]
fn a_seed_decides_everything() {
    let traced = Run { seed: 7, steps: 500, bug: Some(Bug::GetThenSet), is_traced: true };
    assert_eq!(session(&traced), session(&traced));
    let plain = Run { seed: 13, steps: 3_000, bug: None, is_traced: false };
    let done = session(&plain).unwrap();
    assert_eq!(Ok(&done), session(&plain).as_ref());
    let tally = done.tally;
    assert!(tally.paced > 0 && tally.legs_max > 0, "{tally}");
    assert!(tally.calls > 50 && tally.pipelines > 5, "{tally}");
}
