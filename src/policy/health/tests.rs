//! The whole picture, as a table.

use std::num::NonZeroU32;

use super::*;
use crate::model::Time;

const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);

const SLOW: Duration = Duration::from_secs(2);
const QUICK: Duration = Duration::from_millis(1);

fn rules() -> HealthRules {
    let nz = |n| NonZeroU32::new(n).unwrap();
    HealthRules {
        eject_after: nz(3),
        readmit_after: nz(2),
        give_up: Some(Duration::from_secs(60)),
        backoffs: [10, 60, 300].map(Duration::from_secs),
        forgive: Duration::from_secs(600),
        window: Duration::from_secs(30),
        dial_failures: 3,
        unanswered: 3,
        refusals: 3,
        deep_failures: nz(2),
        has_deep: true,
        slow: SlowRules { percent: 400, floor: Duration::from_millis(200), samples: 10 },
    }
}

/// A backend, the time, and all that was lost.
struct Case {
    machine: HealthMachine,
    now: Time,
    may_keep_out: bool,
    lost: Vec<Incarnation>,
    causes: Vec<Cause>,
}

impl Case {
    fn new() -> Self {
        let machine = HealthMachine::new(rules(), 0);
        let (lost, causes) = (Vec::new(), Vec::new());
        Self { machine, now: Time::ZERO, may_keep_out: true, lost, causes }
    }

    /// The machine after what the letters stand for.
    fn after(script: &str) -> Self {
        let mut case = Self::new();
        case.play(script);
        case
    }

    fn play(&mut self, script: &str) {
        for letter in script.chars() {
            match evidence(letter) {
                Ok(evidence) => self.feed(evidence),
                Err(wait) => self.now = self.now + wait,
            }
        }
    }

    fn feed(&mut self, evidence: Evidence) {
        let before = (self.machine.health(), self.machine.incarnation());
        let change = self.machine.on(&evidence, self.now, self.may_keep_out);
        let after = (self.machine.health(), self.machine.incarnation());
        assert!(
            change.is_change || before == after,
            "{evidence:?} changes {before:?} to {after:?}"
        );
        self.lost.extend(change.lost);
        self.causes.extend(change.ejected);
    }

    fn cause(&self) -> Option<Cause> {
        self.machine.out().map(|(cause, _)| cause)
    }
}

/// What a letter stands for: evidence, or time that goes by.
fn evidence(letter: char) -> Result<Evidence, Duration> {
    let window = |took: Duration| {
        let mut heard = Heard::default();
        (0..10).for_each(|_| heard.add(took, Some(Duration::from_millis(200))));
        Evidence::Heard(CallClass::Element, heard)
    };
    Ok(match letter {
        'a' => Evidence::Answered(ONE),
        'b' => Evidence::Answered(TWO),
        'e' => Evidence::Failed(ProbeFailure::Refused),
        't' => Evidence::Failed(ProbeFailure::Timeout),
        'd' => Evidence::DialFailed,
        'u' => Evidence::Unanswered,
        'f' => Evidence::Refused(1),
        'F' => Evidence::Deep(Deep::Refused),
        'X' => Evidence::Deep(Deep::Failed),
        'P' => Evidence::Deep(Deep::Passed(QUICK)),
        's' => window(SLOW),
        'q' => window(QUICK),
        '.' => return Err(Duration::from_secs(1)),
        '_' => return Err(Duration::from_secs(10)),
        'M' => return Err(Duration::from_secs(60)),
        'H' => return Err(Duration::from_secs(3_600)),
        other => panic!("{other} stands for nothing"),
    })
}

#[test]
fn the_picture_of_the_module_doc_holds() {
    use Health::{Ejected, Healthy, Suspect, Trial, Unknown};
    for (script, health, process, cause) in [
        // Whom nobody has heard from.
        ("", Unknown, None, None),
        ("e", Unknown, None, None),
        ("ttttt", Unknown, None, None),
        ("tMt", Ejected, None, Some(Cause::Silent)),
        ("eee", Ejected, None, Some(Cause::Errors)),
        ("eeea", Trial, Some(ONE), Some(Cause::Errors)),
        ("eeeaa", Healthy, Some(ONE), None),
        ("dddFXs", Unknown, None, None),
        // Errors, and answers between them.
        ("a", Healthy, Some(ONE), None),
        ("ae", Suspect, Some(ONE), None),
        ("aee", Suspect, Some(ONE), None),
        ("aeea", Healthy, Some(ONE), None),
        ("aeeaee", Suspect, Some(ONE), None),
        ("aetetet", Ejected, None, Some(Cause::Errors)),
        ("aeee", Ejected, None, Some(Cause::Errors)),
        ("aeeee", Ejected, None, Some(Cause::Errors)),
        // Silence.
        ("atttttt", Suspect, Some(ONE), None),
        ("attttta", Healthy, Some(ONE), None),
        ("at_____t", Suspect, Some(ONE), None),
        ("atMt", Ejected, None, Some(Cause::Silent)),
        ("at_____a_t_____t", Suspect, Some(ONE), None),
        // What comes back: the same process proves itself, a new one need not, the first time.
        ("aeeea", Trial, Some(ONE.after_losses(1)), Some(Cause::Errors)),
        ("aeeeaa", Healthy, Some(ONE.after_losses(1)), None),
        ("aeeeae", Suspect, Some(ONE.after_losses(1)), Some(Cause::Errors)),
        ("aeeeaea", Trial, Some(ONE.after_losses(1)), Some(Cause::Errors)),
        ("aeeeb", Healthy, Some(TWO.after_losses(1)), None),
        ("ab", Healthy, Some(TWO), None),
        ("aeb", Healthy, Some(TWO), None),
        ("atMtb", Healthy, Some(TWO.after_losses(1)), None),
        // The second time within the time that is not forgotten, both wait.
        ("aba", Ejected, Some(ONE), Some(Cause::Restarted)),
        ("aba_a", Trial, Some(ONE), Some(Cause::Restarted)),
        ("aba_aa", Healthy, Some(ONE), None),
        ("abeeea", Ejected, Some(ONE.after_losses(1)), Some(Cause::Errors)),
        ("abHa", Healthy, Some(ONE), None),
        // Clients that meet nobody.
        ("ad", Suspect, Some(ONE), None),
        ("ada", Healthy, Some(ONE), None),
        ("adada", Healthy, Some(ONE), None),
        ("adadad", Ejected, Some(ONE), Some(Cause::Dial)),
        ("adadaMad", Suspect, Some(ONE), None),
        ("auauau", Ejected, Some(ONE), Some(Cause::Unanswered)),
        ("auadau", Suspect, Some(ONE), None),
        // Full.
        ("aff", Healthy, Some(ONE), None),
        ("affMf", Healthy, Some(ONE), None),
        ("afff", Ejected, Some(ONE), Some(Cause::Full)),
        ("aF", Ejected, Some(ONE), Some(Cause::Full)),
        ("aFaaa", Ejected, Some(ONE), Some(Cause::Full)),
        ("aF_a", Trial, Some(ONE), Some(Cause::Full)),
        ("aF_aaaa", Trial, Some(ONE), Some(Cause::Full)),
        ("aF_aPa", Healthy, Some(ONE), None),
        ("aFP_aa", Trial, Some(ONE), Some(Cause::Full)),
        ("aF_aF", Ejected, Some(ONE), Some(Cause::Full)),
        ("aF_aF_a", Ejected, Some(ONE), Some(Cause::Full)),
        ("aF_aFMa", Trial, Some(ONE), Some(Cause::Full)),
        // Deep probes that fail, and do not count while nothing is answered.
        ("aX", Healthy, Some(ONE), None),
        ("aXPX", Healthy, Some(ONE), None),
        ("aXX", Ejected, Some(ONE), Some(Cause::Deep)),
        ("aXX_aX", Ejected, Some(ONE), Some(Cause::Deep)),
        ("atXXXX", Suspect, Some(ONE), None),
        ("atXXXXa", Healthy, Some(ONE), None),
        // Slow.
        ("aqq", Healthy, Some(ONE), None),
        ("aqs", Ejected, Some(ONE), Some(Cause::Slow)),
        ("aqs_aPa", Healthy, Some(ONE), None),
        ("aqs_as", Ejected, Some(ONE), Some(Cause::Slow)),
        // Ejected ones that then fall silent, or die.
        ("aFt", Suspect, Some(ONE), Some(Cause::Full)),
        ("aFta", Ejected, Some(ONE), Some(Cause::Full)),
        ("aFt_a", Trial, Some(ONE), Some(Cause::Full)),
        ("aFeee", Ejected, None, Some(Cause::Errors)),
        ("aFeeeb", Ejected, Some(TWO.after_losses(1)), Some(Cause::Errors)),
    ] {
        let case = Case::after(script);
        let seen = (case.machine.health(), case.machine.incarnation(), case.cause());
        assert_eq!(seen, (health, process, cause), "{script}");
    }
}

#[test]
fn what_is_lost_is_told_once() {
    for (script, lost) in [
        ("atttttt", vec![]),
        ("aFaXXsddd", vec![]),
        ("aeeeeee", vec![ONE]),
        ("atMtttt", vec![ONE]),
        ("ab", vec![ONE]),
        ("afffb", vec![ONE]),
        ("aeeeb", vec![ONE]),
        ("aeeeaeee", vec![ONE, ONE.after_losses(1)]),
        ("aeeeab", vec![ONE, ONE.after_losses(1)]),
        ("eee", vec![]),
    ] {
        assert_eq!(Case::after(script).lost, lost, "{script}");
    }
}

#[test]
fn losses_counted_before_go_on_being_counted() {
    let mut machine = HealthMachine::new(rules(), 2);
    machine.on(&Evidence::Answered(ONE), Time::ZERO, true);
    assert_eq!(machine.incarnation(), Some(ONE.after_losses(2)));
    for _ in 0..3 {
        machine.on(&Evidence::Failed(ProbeFailure::Cut), Time::ZERO, true);
    }
    assert_eq!(machine.losses(), 3);
}

#[test]
fn whoever_is_ejected_again_is_out_for_longer_until_that_is_forgotten() {
    let mut case = Case::after("aF");
    let out_for = |case: &Case| case.machine.out().unwrap().1.since(case.now).as_secs();
    assert_eq!(out_for(&case), 10);
    case.play("_aF");
    assert_eq!(out_for(&case), 60);
    case.play("MaF");
    assert_eq!(out_for(&case), 300);
    case.play("MMMMMaF");
    assert_eq!(out_for(&case), 300);
    case.play("MMMMMaPa");
    assert_eq!(case.machine.health(), Health::Healthy);
    case.play("MMMMMF");
    assert_eq!(out_for(&case), 10, "ten minutes after the last");
    assert_eq!(case.causes, [Cause::Full; 5]);
}

#[test]
fn whoever_may_not_be_out_raises_an_alarm_instead() {
    let mut case = Case::new();
    case.may_keep_out = false;
    case.play("aF");
    assert_eq!(case.machine.health(), Health::Healthy);
    assert_eq!((case.machine.spared(), case.causes.len()), (Some(Cause::Full), 0));
    case.play("MMaa");
    assert_eq!(case.machine.spared(), Some(Cause::Full), "a deep probe tells");
    case.play("P");
    assert_eq!(case.machine.spared(), None);
    case.play("adadad");
    assert_eq!(case.machine.spared(), Some(Cause::Dial));
    case.play("__a");
    assert_eq!(case.machine.spared(), Some(Cause::Dial));
    case.play("_a");
    assert_eq!(case.machine.spared(), None, "nothing of the kind for a while");
}

#[test]
fn whoever_is_needed_comes_back_early() {
    let mut case = Case::after("aFa");
    case.may_keep_out = false;
    case.play("a");
    assert_eq!(case.machine.health(), Health::Trial);
    case.play("a");
    assert_eq!(
        (case.machine.health(), case.machine.spared()),
        (Health::Healthy, Some(Cause::Full))
    );
    // A loss is a loss, however many are lost.
    case.play("eee");
    assert_eq!((case.machine.health(), case.lost.len()), (Health::Ejected, 1));
}

#[test]
fn without_deep_probes_answers_readmit() {
    let mut case = Case::new();
    case.machine.set_rules(HealthRules { has_deep: false, ..rules() });
    case.play("afff_aa");
    assert_eq!(case.machine.health(), Health::Healthy);
}

#[test]
fn nothing_is_given_up_for_silence_if_the_operator_says_so() {
    let mut case = Case::new();
    case.machine.set_rules(HealthRules { give_up: None, ..rules() });
    case.play("atHtHt");
    assert_eq!((case.machine.health(), case.lost.len()), (Health::Suspect, 0));
}

#[test]
fn a_threshold_of_zero_is_none() {
    let mut case = Case::new();
    case.machine.set_rules(HealthRules { dial_failures: 0, unanswered: 0, refusals: 0, ..rules() });
    case.play("addddddduuuuuuufffffffa");
    assert_eq!((case.machine.health(), case.machine.spared()), (Health::Healthy, None));
}

#[test]
fn a_slow_deep_probe_ends_the_trial_of_a_slow_backend_only() {
    let slow = Evidence::Deep(Deep::Passed(SLOW));
    for (script, health) in [("_a", Health::Ejected), ("", Health::Ejected)] {
        let mut case = Case::new();
        case.play("a");
        (0..10).for_each(|_| case.play("P"));
        case.play("qs");
        case.play(script);
        case.feed(slow);
        assert_eq!(case.machine.health(), health, "{script:?}");
    }
    let mut case = Case::new();
    case.play("a");
    (0..10).for_each(|_| case.play("P"));
    case.play("F_a");
    case.feed(slow);
    case.play("a");
    assert_eq!(case.machine.health(), Health::Healthy, "it was full, and is not");
}
