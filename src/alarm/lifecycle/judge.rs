//! One input, judged: timers that are due, then memory, then the levels.

use super::{
    CompiledRule, Input, JudgedReading, State,
    cell::{Cell, Seen},
    compile::Expr,
    state::{Gate, LastReading, Phase, Since, Transition, TransitionKind},
};
use crate::{
    alarm::rule::Severity,
    telemetry::{Quality, Timestamp},
};

/// Judges one input; inputs come in order of arrival. Transitions are appended to `out`.
pub fn step(rule: &CompiledRule, state: &mut State, input: Input<'_>, out: &mut Vec<Transition>) {
    let settled = out.len();
    Judge { rule, state, out, settled }.judge(input);
}

struct Judge<'a> {
    rule: &'a CompiledRule,
    state: &'a mut State,
    out: &'a mut Vec<Transition>,
    /// The transitions before are those of earlier inputs and timers.
    settled: usize,
}

/// When something happens: by the device's clock, and by ours.
#[derive(Clone, Copy)]
struct Moment {
    event: Timestamp,
    arrival: Timestamp,
    /// Before the resume point: remembered, and no transition comes of it.
    is_frozen: bool,
}

/// In the order in which those that are due at once fire.
#[derive(Clone, Copy)]
enum Due {
    Gate,
    Cell(usize),
    Level(usize),
    Thaw,
}

/// What an evaluation has moved.
#[derive(Clone, Copy, Default)]
struct Moved {
    is_raised: bool,
    is_cleared: bool,
    returned: Option<Severity>,
}

impl Judge<'_> {
    fn judge(&mut self, input: Input<'_>) {
        match input {
            Input::Reading(reading) => self.read(&reading),
            Input::Sign { at } => self.observe(at, |_, _| {}),
            Input::Status { text, at } => {
                self.observe(at, |cell, spec| cell.observe_status(spec, text));
            }
            Input::Presence { online, at } => {
                let at = self.arrive(at);
                for (spec, cell) in self.rule.cells.iter().zip(&mut self.state.cells) {
                    cell.observe_presence(spec, online);
                }
                self.evaluate(self.moment(at));
            }
            Input::Tick { watermark } => self.fire(watermark),
            Input::Down { from, to } => self.pause(from, to),
            Input::Clear { at } => self.clear(at),
        }
        self.settle();
        self.look_ahead();
    }

    /// Fires what is due by then and notes the arrival; arrivals never run back.
    fn arrive(&mut self, at: Timestamp) -> Timestamp {
        let at = at.max(self.state.seen.arrival);
        self.fire(at);
        self.settled = self.out.len();
        if at > self.state.seen.arrival {
            self.state.seen.arrival = at;
            self.state.seen.readings = 0;
        }
        at
    }

    /// A timer's deadline. Those that are due at once fire at once, so those of the resume point have.
    fn deadline(&self, at: Timestamp) -> Moment {
        Moment { event: at, arrival: at, is_frozen: at <= self.state.frozen.arrival }
    }

    /// An input with the time of our own clock. At the resume point it comes after its timers and
    /// before its readings.
    fn moment(&self, at: Timestamp) -> Moment {
        let frozen = self.state.frozen;
        let is_frozen = at < frozen.arrival || (at == frozen.arrival && frozen.readings > 0);
        Moment { event: at, arrival: at, is_frozen }
    }

    fn observe(&mut self, at: Timestamp, take: impl Fn(&mut Cell, &super::cell::CellSpec)) {
        let at = self.arrive(at);
        for (spec, cell) in self.rule.cells.iter().zip(&mut self.state.cells) {
            cell.observe_sign(spec, at);
            take(cell, spec);
        }
        self.evaluate(self.moment(at));
    }

    fn read(&mut self, reading: &JudgedReading) {
        let arrival = self.arrive(reading.received_at);
        self.state.seen.readings = self.state.seen.readings.saturating_add(1);
        for (spec, cell) in self.rule.cells.iter().zip(&mut self.state.cells) {
            cell.observe_sign(spec, arrival);
        }
        let is_frozen = arrival < self.state.frozen.arrival
            || (arrival == self.state.frozen.arrival
                && self.state.seen.readings <= self.state.frozen.readings);
        let moment = Moment { event: reading.event_time, arrival, is_frozen };
        if reading.late && !self.rule.judges_late {
            return self.evaluate(Moment { event: arrival, ..moment });
        }
        let is_usable = reading.quality != Quality::Bad;
        let value = reading.value.filter(|value| is_usable && value.is_finite());
        let is_judged = value.is_some() || self.rule.sees_bad;
        if is_judged {
            self.pass_delays(moment);
            let JudgedReading { sensor: slot, event_time, .. } = *reading;
            self.state.last = Some(LastReading { slot, event_time, value });
        }
        if value.is_some() && reading.sensor.0 == 0 {
            self.state.value = value;
        }
        let seen = Seen {
            slot: reading.sensor,
            event_time: reading.event_time,
            arrival,
            value,
            quality: reading.quality,
        };
        for (spec, cell) in self.rule.cells.iter().zip(&mut self.state.cells) {
            cell.observe(spec, &seen);
        }
        if !moment.is_frozen {
            self.note_peak(&seen);
        }
        self.evaluate(moment);
    }

    fn note_peak(&mut self, seen: &Seen) {
        if let Some((slot, extreme)) = self.rule.peak
            && slot == seen.slot
            && let Some(value) = seen.value
        {
            let is_active = self.state.phases.iter().any(|phase| phase.is_active());
            let so_far = self.state.peak.filter(|_| is_active);
            self.state.peak = extreme.worse(so_far, Some(value));
        }
    }

    /// A judged reading shows by its event time that delays have passed, whatever it says.
    fn pass_delays(&mut self, moment: Moment) {
        if moment.is_frozen {
            return;
        }
        loop {
            let levels = self.rule.levels.iter().zip(&self.state.phases).enumerate();
            let passed = levels.filter_map(|(index, (level, phase))| {
                let end = match phase {
                    Phase::Pending(since) => since.event.plus_micros(level.on_delay),
                    Phase::Clearing(since) => since.event.plus_micros(level.off_delay),
                    _ => return None,
                };
                (end <= moment.event).then_some((end, index))
            });
            let Some((end, index)) = passed.min() else { break };
            self.end_delay(index, end.min(moment.arrival), moment.arrival);
        }
    }

    fn pause(&mut self, from: Timestamp, to: Timestamp) {
        let from = from.max(self.state.seen.arrival);
        self.fire(from);
        let micros = to.micros_since(from);
        if micros > 0 {
            self.state.cells.iter_mut().for_each(|cell| cell.shift(micros));
        }
    }

    fn clear(&mut self, at: Timestamp) {
        let at = self.arrive(at);
        let before = self.state.severity(self.rule);
        for (level, phase) in self.rule.levels.iter().zip(&mut self.state.phases) {
            let held = phase.is_active();
            *phase = match phase {
                Phase::Normal | Phase::Clearing(_) => Phase::Normal,
                Phase::Pending(_) | Phase::Active | Phase::Blocked => {
                    let known = Known { value: self.state.value, cells: &self.state.cells };
                    match known.truth(self.rule, &level.expr, held) {
                        Some(false) => Phase::Normal,
                        _ => Phase::Blocked,
                    }
                }
            };
        }
        let severity = before.unwrap_or_default();
        self.push(TransitionKind::ForcedClear, severity, at, at);
    }

    /// Fires all timers up to a time, in order of their deadlines.
    fn fire(&mut self, until: Timestamp) {
        if self.state.next > until {
            return;
        }
        // Before anything is known of the originator, hours that begin and end lead to nothing.
        let is_untouched = self.state.seen.arrival == Timestamp::MIN && self.state.thaw.is_none();
        let gate = self.state.gate;
        if gate.is_unknown() || (is_untouched && gate.until <= until) {
            self.state.gate = Gate::at(self.rule, until);
        }
        while let Some((at, due)) = self.earliest().filter(|(at, _)| *at <= until) {
            let moment = self.deadline(at);
            match due {
                Due::Gate => {
                    self.state.gate = Gate::at(self.rule, at);
                    self.evaluate(moment);
                }
                Due::Cell(index) => {
                    self.state.cells.get_mut(index).into_iter().for_each(Cell::fire);
                    self.evaluate(moment);
                }
                Due::Level(index) => self.end_timer(index, at),
                Due::Thaw => self.thaw(at),
            }
            self.settle();
            if self.earliest().is_none_or(|(next, _)| next > at) {
                self.settled = self.out.len();
            }
        }
        self.look_ahead();
    }

    /// Where a state stood at a transition takes in all that came of the same input, or of the timers
    /// of the same moment: a delay that begins there is not begun again by a replay.
    fn settle(&mut self) {
        for transition in self.out.iter_mut().skip(self.settled) {
            transition.resume = self.state.resume(self.rule, transition.arrival);
        }
    }

    fn earliest(&self) -> Option<(Timestamp, Due)> {
        let state = &*self.state;
        let gate = (state.gate.until < Timestamp::MAX).then_some((state.gate.until, Due::Gate));
        let mut first = gate;
        let mut offer = |at: Timestamp, due: Due| {
            if first.is_none_or(|(earliest, _)| at < earliest) {
                first = Some((at, due));
            }
        };
        for (index, cell) in state.cells.iter().enumerate() {
            if let Some(at) = cell.deadline() {
                offer(at, Due::Cell(index));
            }
        }
        for (index, (level, phase)) in self.rule.levels.iter().zip(&state.phases).enumerate() {
            match phase {
                Phase::Pending(since) => {
                    offer(since.arrival.plus_micros(level.on_delay), Due::Level(index));
                }
                Phase::Clearing(since) => {
                    offer(since.arrival.plus_micros(level.off_delay), Due::Level(index));
                }
                Phase::Normal | Phase::Active | Phase::Blocked => {}
            }
        }
        if state.thaw.is_some() {
            offer(state.frozen.arrival, Due::Thaw);
        }
        first
    }

    fn look_ahead(&mut self) {
        self.state.next = match self.earliest() {
            _ if self.state.gate.is_unknown() => Timestamp::MIN,
            Some((at, _)) => at,
            None => Timestamp::MAX,
        };
    }

    /// The timer of a level's delay at its deadline.
    fn end_timer(&mut self, index: usize, deadline: Timestamp) {
        let level = self.rule.levels.get(index).zip(self.state.phases.get(index));
        let end = match level {
            Some((level, Phase::Pending(since))) => since.event.plus_micros(level.on_delay),
            Some((level, Phase::Clearing(since))) => since.event.plus_micros(level.off_delay),
            _ => return,
        };
        self.end_delay(index, end.min(deadline), deadline);
    }

    fn end_delay(&mut self, index: usize, at: Timestamp, arrival: Timestamp) {
        let before = self.state.severity(self.rule);
        let mut moved = Moved::default();
        if let Some(phase) = self.state.phases.get_mut(index) {
            moved.is_raised = matches!(phase, Phase::Pending(_));
            moved.is_cleared = !moved.is_raised;
            *phase = if moved.is_raised { Phase::Active } else { Phase::Normal };
        }
        self.tell(before, moved, at, arrival);
    }

    /// The end of what was fed only to be remembered.
    fn thaw(&mut self, at: Timestamp) {
        let before = self.state.thaw.take().and_then(|thaw| thaw.before);
        let mut moved = Moved::default();
        if self.rule.holds_at_rest {
            moved = self.move_levels(at, at);
        }
        moved.is_cleared |= before.is_some();
        self.tell_if(before != self.state.severity(self.rule), before, moved, at);
    }

    fn tell_if(&mut self, is: bool, before: Option<Severity>, moved: Moved, at: Timestamp) {
        if is || moved.is_raised || moved.returned.is_some() {
            self.tell(before, moved, at, at);
        }
    }

    fn evaluate(&mut self, moment: Moment) {
        if moment.is_frozen {
            if moment.arrival > self.state.follow_from {
                self.follow(moment);
            }
            return;
        }
        let before = self.state.severity(self.rule);
        let moved = self.move_levels(moment.event, moment.arrival);
        if moved.is_raised || moved.is_cleared || moved.returned.is_some() {
            self.tell(before, moved, moment.event, moment.arrival);
        }
    }

    /// Begins delays and breaks them off; that none of them ended is known.
    fn follow(&mut self, moment: Moment) {
        let before = self.state.phases;
        self.move_levels(moment.event, moment.arrival);
        for (phase, before) in self.state.phases.iter_mut().zip(before) {
            let was_blocked = before == Phase::Blocked;
            if was_blocked || phase.is_active() != before.is_active() {
                *phase = before;
            }
        }
    }

    /// Brings every level's phase in line with its condition.
    fn move_levels(&mut self, event: Timestamp, arrival: Timestamp) -> Moved {
        let mut moved = Moved::default();
        let State { phases, value, cells, gate, .. } = &mut *self.state;
        let known = Known { value: *value, cells };
        let since = Since { event, arrival };
        for (level, phase) in self.rule.levels.iter().zip(phases.iter_mut()) {
            if !gate.is_open && matches!(phase, Phase::Pending(_)) {
                *phase = Phase::Normal;
            }
            let Some(is_true) = known.truth(self.rule, &level.expr, phase.is_active()) else {
                continue;
            };
            *phase = match *phase {
                Phase::Normal if is_true && gate.is_open => {
                    moved.is_raised |= level.on_delay == 0;
                    if level.on_delay == 0 { Phase::Active } else { Phase::Pending(since) }
                }
                Phase::Pending(_) if !is_true => Phase::Normal,
                Phase::Active if !is_true => {
                    moved.is_cleared |= level.off_delay == 0;
                    if level.off_delay == 0 { Phase::Normal } else { Phase::Clearing(since) }
                }
                Phase::Clearing(_) if is_true => Phase::Active,
                Phase::Blocked if !is_true => {
                    moved.returned = Some(level.severity);
                    Phase::Normal
                }
                phase => phase,
            };
        }
        moved
    }

    /// Says what a move means for the alarm as a whole.
    fn tell(&mut self, before: Option<Severity>, moved: Moved, at: Timestamp, arrival: Timestamp) {
        let after = self.state.severity(self.rule);
        let (kind, severity) = match (before, after) {
            (None, Some(after)) => (TransitionKind::Raised, after),
            (Some(before), None) => (TransitionKind::Cleared, before),
            (Some(before), Some(after)) if after > before => (TransitionKind::Escalated, after),
            (Some(before), Some(after)) if after < before => (TransitionKind::Deescalated, after),
            (Some(_), Some(after)) if moved.is_raised => (TransitionKind::LevelRaised, after),
            (Some(_), Some(after)) if moved.is_cleared => (TransitionKind::LevelCleared, after),
            (_, after) => match moved.returned {
                Some(returned) => (TransitionKind::Returned, after.unwrap_or(returned)),
                None => return,
            },
        };
        if kind == TransitionKind::Raised {
            self.state.peak = self.peak_at_raise();
        }
        self.push(kind, severity, at, arrival);
    }

    /// The peak begins with the reading that raised the alarm, not with what came before.
    fn peak_at_raise(&self) -> Option<f64> {
        let (slot, _) = self.rule.peak?;
        self.state.last.filter(|last| last.slot == slot)?.value
    }

    fn push(
        &mut self,
        kind: TransitionKind,
        severity: Severity,
        at: Timestamp,
        arrival: Timestamp,
    ) {
        let last = self.state.last;
        self.out.push(Transition {
            kind,
            at,
            arrival,
            severity,
            value: last.and_then(|last| last.value),
            event_time: last.map(|last| last.event_time),
            sensor: last.map(|last| last.slot),
            peak: self.state.peak,
            resume: self.state.resume(self.rule, arrival),
        });
    }
}

/// What conditions are answered from.
struct Known<'a> {
    value: Option<f64>,
    cells: &'a [Cell],
}

impl Known<'_> {
    /// Whether a condition is true; `None`: not known, so that nothing moves. `held`: the level that
    /// asks is active.
    fn truth(&self, rule: &CompiledRule, expr: &Expr, held: bool) -> Option<bool> {
        match expr {
            Expr::Value(check) => Some(check.is_met(self.value?, held)),
            Expr::Cell { cell, ask, check } => {
                let number = self.cells.get(*cell)?.number(*ask)?;
                Some(check.is_met(number, held))
            }
            Expr::Flag(cell) => self.cells.get(*cell)?.flag(rule.cells.get(*cell)?),
            Expr::All(parts) => {
                let truths = parts.iter().map(|part| self.truth(rule, part, held));
                truths.reduce(|all, part| match (all, part) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                })?
            }
            // What is not known counts as false beside what is.
            Expr::Any(parts) => {
                let truths = parts.iter().map(|part| self.truth(rule, part, held));
                truths.reduce(|any, part| match (any, part) {
                    (Some(any), Some(part)) => Some(any || part),
                    (any, part) => any.or(part),
                })?
            }
        }
    }
}
