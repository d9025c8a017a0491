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
        'D' => Evidence::Deep(Deep::Failed),
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

/// The process that is known: the first, the same after a loss, another, another after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    One,
    OneAgain,
    Two,
    TwoAgain,
}

impl Who {
    fn incarnation(self) -> Incarnation {
        match self {
            Self::One => ONE,
            Self::OneAgain => ONE.after_losses(1),
            Self::Two => TWO,
            Self::TwoAgain => TWO.after_losses(1),
        }
    }
}

/// What is known after each script.
const PICTURE: &[(&str, Health, Option<Who>, Option<Cause>)] = &[
    // Whom nobody has heard from.
    ("", Health::Unknown, None, None),
    ("e", Health::Unknown, None, None),
    ("ttttt", Health::Unknown, None, None),
    ("tMt", Health::Ejected, None, Some(Cause::Silent)),
    ("eee", Health::Ejected, None, Some(Cause::Errors)),
    ("eeea", Health::Trial, Some(Who::One), Some(Cause::Errors)),
    ("eeeaa", Health::Healthy, Some(Who::One), None),
    ("dddFDs", Health::Unknown, None, None),
    // Errors, and answers between them.
    ("a", Health::Healthy, Some(Who::One), None),
    ("ae", Health::Suspect, Some(Who::One), None),
    ("aee", Health::Suspect, Some(Who::One), None),
    ("aeea", Health::Healthy, Some(Who::One), None),
    ("aeeaee", Health::Suspect, Some(Who::One), None),
    ("aetetet", Health::Ejected, None, Some(Cause::Errors)),
    ("aeee", Health::Ejected, None, Some(Cause::Errors)),
    ("aeeee", Health::Ejected, None, Some(Cause::Errors)),
    // Silence.
    ("atttttt", Health::Suspect, Some(Who::One), None),
    ("attttta", Health::Healthy, Some(Who::One), None),
    ("at_____t", Health::Suspect, Some(Who::One), None),
    ("atMt", Health::Ejected, None, Some(Cause::Silent)),
    ("at_____a_t_____t", Health::Suspect, Some(Who::One), None),
    // What comes back: the same process proves itself, a new one need not, the first time.
    ("aeeea", Health::Trial, Some(Who::OneAgain), Some(Cause::Errors)),
    ("aeeeaa", Health::Healthy, Some(Who::OneAgain), None),
    ("aeeeae", Health::Suspect, Some(Who::OneAgain), Some(Cause::Errors)),
    ("aeeeaea", Health::Trial, Some(Who::OneAgain), Some(Cause::Errors)),
    ("aeeeb", Health::Healthy, Some(Who::TwoAgain), None),
    ("ab", Health::Healthy, Some(Who::Two), None),
    ("aeb", Health::Healthy, Some(Who::Two), None),
    ("atMtb", Health::Healthy, Some(Who::TwoAgain), None),
    // The second time within the time that is not forgotten, both wait.
    ("aba", Health::Ejected, Some(Who::One), Some(Cause::Restarted)),
    ("aba_a", Health::Trial, Some(Who::One), Some(Cause::Restarted)),
    ("aba_aa", Health::Healthy, Some(Who::One), None),
    ("abeeea", Health::Ejected, Some(Who::OneAgain), Some(Cause::Errors)),
    ("abHa", Health::Healthy, Some(Who::One), None),
    // Clients that meet nobody.
    ("ad", Health::Suspect, Some(Who::One), None),
    ("ada", Health::Healthy, Some(Who::One), None),
    ("adada", Health::Healthy, Some(Who::One), None),
    ("adadad", Health::Ejected, Some(Who::One), Some(Cause::Dial)),
    ("adadaMad", Health::Suspect, Some(Who::One), None),
    ("auauau", Health::Ejected, Some(Who::One), Some(Cause::Unanswered)),
    ("auadau", Health::Suspect, Some(Who::One), None),
    // Full.
    ("aff", Health::Healthy, Some(Who::One), None),
    ("affMf", Health::Healthy, Some(Who::One), None),
    ("afff", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aF", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aFaaa", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aF_a", Health::Trial, Some(Who::One), Some(Cause::Full)),
    ("aF_aaaa", Health::Trial, Some(Who::One), Some(Cause::Full)),
    ("aF_aPa", Health::Healthy, Some(Who::One), None),
    ("aFP_aa", Health::Trial, Some(Who::One), Some(Cause::Full)),
    ("aF_aF", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aF_aF_a", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aF_aFMa", Health::Trial, Some(Who::One), Some(Cause::Full)),
    // Deep probes that fail, and do not count while nothing is answered.
    ("aD", Health::Healthy, Some(Who::One), None),
    ("aDPD", Health::Healthy, Some(Who::One), None),
    ("aDD", Health::Ejected, Some(Who::One), Some(Cause::Deep)),
    ("aDD_aD", Health::Ejected, Some(Who::One), Some(Cause::Deep)),
    ("atDDDD", Health::Suspect, Some(Who::One), None),
    ("atDDDDa", Health::Healthy, Some(Who::One), None),
    // Slow.
    ("aqq", Health::Healthy, Some(Who::One), None),
    ("aqs", Health::Ejected, Some(Who::One), Some(Cause::Slow)),
    ("aqs_aPa", Health::Healthy, Some(Who::One), None),
    ("aqs_as", Health::Ejected, Some(Who::One), Some(Cause::Slow)),
    // Ejected ones that then fall silent, or die.
    ("aFt", Health::Suspect, Some(Who::One), Some(Cause::Full)),
    ("aFta", Health::Ejected, Some(Who::One), Some(Cause::Full)),
    ("aFt_a", Health::Trial, Some(Who::One), Some(Cause::Full)),
    ("aFeee", Health::Ejected, None, Some(Cause::Errors)),
    ("aFeeeb", Health::Ejected, Some(Who::TwoAgain), Some(Cause::Errors)),
];

#[test]
fn the_picture_of_the_module_doc_holds() {
    for (script, health, who, cause) in PICTURE {
        let case = Case::after(script);
        let seen = (case.machine.health(), case.machine.incarnation(), case.cause());
        assert_eq!(seen, (*health, who.map(Who::incarnation), *cause), "{script}");
    }
}

#[test]
fn what_is_lost_is_told_once() {
    for (script, lost) in [
        ("atttttt", vec![]),
        ("aFaDDsddd", vec![]),
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
