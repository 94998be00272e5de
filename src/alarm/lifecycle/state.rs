//! What is known of one originator under one rule, and how it is taken up again after a restart.

use serde::{Deserialize, Serialize};

use super::{CompiledRule, Slot, cell::Cell};
use crate::{
    alarm::rule::{LEVELS_MAX, Severity},
    telemetry::Timestamp,
};

/// The state of one originator (a sensor, or a device) under one rule. Cheap to clone: a batch is
/// judged on copies. Windows are shared until written to.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) phases: [Phase; LEVELS_MAX],
    /// The last usable value of slot 0.
    pub(super) value: Option<f64>,
    pub(super) last: Option<LastReading>,
    /// The worst value while active.
    pub(super) peak: Option<f64>,
    /// The newest arrival fed, and how many readings bore it.
    pub(super) seen: Position,
    /// Inputs up to here are remembered but bring no transition.
    pub(super) frozen: Position,
    /// Of those, the ones that arrived later than this begin and break off delays.
    pub(super) follow_from: Timestamp,
    /// When `frozen` ends, judge without waiting for input; the severity that was active before.
    pub(super) thaw: Option<Thaw>,
    pub(super) gate: Gate,
    /// No timer is due before; kept so that most inputs need not look.
    pub(super) next: Timestamp,
    pub(super) cells: Vec<Cell>,
}

/// Where a level stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Phase {
    #[default]
    Normal,
    /// True, and waiting for the on-delay.
    Pending(Since),
    Active,
    /// Active, no longer true, and waiting for the off-delay.
    Clearing(Since),
    /// Cleared by an operator while true.
    Blocked,
}

/// When a delay began: by the device's clock, and by ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    pub event: Timestamp,
    pub arrival: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SinceMicros {
    event: i64,
    arrival: i64,
}

impl Serialize for Since {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (event, arrival) = (self.event.as_micros(), self.arrival.as_micros());
        SinceMicros { event, arrival }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SinceMicros { event, arrival } = SinceMicros::deserialize(deserializer)?;
        let (event, arrival) = (Timestamp::from_micros(event), Timestamp::from_micros(arrival));
        Ok(Self { event, arrival })
    }
}

/// A level's phase under the level's name, the severity: an edited rule finds it by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelPhase {
    pub severity: Severity,
    #[serde(flatten)]
    pub phase: Phase,
}

/// Where a state stood at its last transition; with the inputs since, all that a restart needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Of the input or timer that caused the transition.
    pub arrival: Timestamp,
    /// How many readings with that arrival had been fed.
    pub readings: u32,
    pub levels: Vec<LevelPhase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransitionKind {
    /// No level was active, and one is.
    Raised,
    Escalated,
    Deescalated,
    /// No level is active any more.
    Cleared,
    /// A level below the highest active one became active.
    LevelRaised,
    LevelCleared,
    /// An operator cleared it.
    ForcedClear,
    /// The condition became false after an operator had cleared the alarm.
    Returned,
}

/// One change of an alarm's severity or of a level's phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    pub kind: TransitionKind,
    /// The time that it bears: the reading's event time, or the end of the delay.
    pub at: Timestamp,
    /// When it became known: the arrival of the input, or the timer's deadline.
    pub arrival: Timestamp,
    /// The highest active level; for those that clear, the highest before.
    pub severity: Severity,
    /// Of the last judged reading.
    pub value: Option<f64>,
    pub event_time: Option<Timestamp>,
    pub sensor: Option<Slot>,
    /// The worst value since it was raised.
    pub peak: Option<f64>,
    pub resume: Resume,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LastReading {
    pub(super) slot: Slot,
    pub(super) event_time: Timestamp,
    pub(super) value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) arrival: Timestamp,
    pub(super) readings: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thaw {
    pub(super) before: Option<Severity>,
}

/// Whether the schedule is open, and until when that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) is_open: bool,
    pub(super) until: Timestamp,
}

impl Gate {
    /// Not looked at yet.
    const UNKNOWN: Self = Self { is_open: true, until: Timestamp::MIN };

    pub(super) fn is_unknown(self) -> bool {
        self.until == Timestamp::MIN
    }

    pub(super) fn at(rule: &CompiledRule, at: Timestamp) -> Self {
        let Some(calendar) = &rule.calendar else {
            return Self { is_open: true, until: Timestamp::MAX };
        };
        let until = calendar.next_change(at).unwrap_or(Timestamp::MAX);
        Self { is_open: calendar.contains(at), until }
    }
}

impl Position {
    const START: Self = Self { arrival: Timestamp::MIN, readings: 0 };

    /// After everything that arrived then.
    fn after_all(arrival: Timestamp) -> Self {
        Self { arrival, readings: u32::MAX }
    }
}

impl Phase {
    pub fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Clearing(_))
    }

    /// The phase before a delay that runs.
    fn without_delay(self) -> Self {
        match self {
            Self::Pending(_) => Self::Normal,
            Self::Clearing(_) => Self::Active,
            phase => phase,
        }
    }
}

impl State {
    /// Nothing known, everything judged: for an originator that is seen for the first time, and for
    /// backtests.
    pub fn new(rule: &CompiledRule) -> Self {
        let is_always_open = rule.calendar.is_none();
        Self {
            phases: [Phase::Normal; LEVELS_MAX],
            value: None,
            last: None,
            peak: None,
            seen: Position::START,
            frozen: Position::START,
            follow_from: Timestamp::MAX,
            thaw: None,
            gate: if is_always_open { Gate::at(rule, Timestamp::MIN) } else { Gate::UNKNOWN },
            next: if is_always_open { Timestamp::MAX } else { Timestamp::MIN },
            cells: rule.cells.iter().map(super::cell::CellSpec::empty).collect(),
        }
    }

    /// The state after a restart, to be fed with the inputs of [`CompiledRule::horizon`]; what happens
    /// after them goes on where it was. `resume` is that of the originator's last alarm under this
    /// rule, closed or not. `begun`: when the rule was made, edited or enabled last. `judged_until`:
    /// every input and timer up to there was judged and its transitions were recorded. Transitions
    /// that come out are ones that were not recorded.
    pub fn restart(
        rule: &CompiledRule,
        resume: Option<&Resume>,
        begun: Timestamp,
        judged_until: Timestamp,
    ) -> Self {
        let replay_from = judged_until.plus_micros(-rule.horizon().micros);
        let is_moved = resume.is_some_and(|resume| resume.arrival >= begun);
        if is_moved || begun <= replay_from {
            Self::replay(rule, resume, replay_from)
        } else {
            Self::begin(rule, resume, begun)
        }
    }

    /// As [`Self::restart`], of a rule that was in force at `replay_from` or has moved since:
    /// `judged_until` less the horizon's `micros`, or earlier. All inputs that arrived later are fed.
    pub fn replay(rule: &CompiledRule, resume: Option<&Resume>, replay_from: Timestamp) -> Self {
        let known_from = replay_from.plus_micros(rule.memory);
        let mut state = Self::new(rule);
        state.next = Timestamp::MIN;
        if let Some(resume) = resume.filter(|resume| resume.arrival > known_from) {
            state.take_phases(rule, Some(resume), |phase| phase);
            state.frozen = Position { arrival: resume.arrival, readings: resume.readings };
            state.gate = Gate::at(rule, resume.arrival);
            return state;
        }
        // A delay that ran at `known_from` was over, one way or the other, when the longest delay had
        // passed: all without a transition. So those that began later are all that there can be.
        state.take_phases(rule, resume, Phase::without_delay);
        state.follow_from = known_from;
        state.frozen = Position::after_all(known_from.plus_micros(rule.delay));
        state.gate = Gate::at(rule, known_from);
        state
    }

    /// The state of an originator whose rule was made or edited at `at`: levels that still exist keep
    /// their phase, delays begin anew, and inputs fed up to `at` are remembered only. Feed the
    /// horizon, then a tick at `at`. No input bears `at` itself as its arrival: it is a moment of its
    /// own in the order of arrival.
    pub fn begin(rule: &CompiledRule, resume: Option<&Resume>, at: Timestamp) -> Self {
        let mut state = Self::new(rule);
        state.take_phases(rule, resume, Phase::without_delay);
        let active = |level: &&LevelPhase| level.phase.is_active();
        let before = resume.and_then(|resume| {
            resume.levels.iter().filter(active).map(|level| level.severity).max()
        });
        state.thaw = Some(Thaw { before });
        let resumed = resume.map_or(Timestamp::MIN, |resume| resume.arrival);
        state.frozen = Position::after_all(at.max(resumed));
        state.gate = Gate::at(rule, state.frozen.arrival);
        state.next = Timestamp::MIN;
        state
    }

    /// Takes over the phases of the levels that exist.
    fn take_phases(
        &mut self,
        rule: &CompiledRule,
        resume: Option<&Resume>,
        change: fn(Phase) -> Phase,
    ) {
        let known = resume.map(|resume| resume.levels.as_slice()).unwrap_or_default();
        for (level, phase) in rule.levels.iter().zip(&mut self.phases) {
            let found = known.iter().find(|known| known.severity == level.severity);
            *phase = found.map_or(Phase::Normal, |found| change(found.phase));
        }
    }

    /// Takes over the worst value since the alarm was raised, as far as it is known elsewhere.
    pub fn note_peak(&mut self, rule: &CompiledRule, peak: f64) {
        if let Some((_, extreme)) = rule.peak {
            self.peak = extreme.worse(self.peak, Some(peak));
        }
    }

    /// The worst value since the alarm was raised; `None` where no level is active.
    pub fn worst(&self, rule: &CompiledRule) -> Option<f64> {
        self.severity(rule).and(self.peak)
    }

    /// The highest active level.
    pub fn severity(&self, rule: &CompiledRule) -> Option<Severity> {
        let levels = rule.levels.iter().zip(&self.phases);
        levels.filter(|(_, phase)| phase.is_active()).map(|(level, _)| level.severity).next_back()
    }

    /// When a timer is due next: a [`super::Input::Tick`] with a later watermark may change something.
    /// May come early, never late.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        (self.next < Timestamp::MAX && !self.gate.is_unknown()).then_some(self.next)
    }

    pub(super) fn resume(&self, rule: &CompiledRule, arrival: Timestamp) -> Resume {
        let levels = rule.levels.iter().zip(self.phases);
        let levels = levels.map(|(level, phase)| LevelPhase { severity: level.severity, phase });
        let is_seen = self.seen.arrival == arrival;
        let readings = if is_seen { self.seen.readings } else { 0 };
        Resume { arrival, readings, levels: levels.collect() }
    }
}
