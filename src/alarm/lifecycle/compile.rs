//! A rule made ready for judging: conditions as trees over numbered memory cells.

use super::{
    Extreme, Slot,
    cell::{Ask, CellSpec},
    check::Check,
};
use crate::{
    alarm::rule::{AlarmRule, Calendar, Condition, InvalidRule, Operand, Severity, Test},
    config::Period,
};

/// A rule, checked and prepared. Made once for an edit and shared by all of the rule's states.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledRule {
    pub(super) levels: Vec<CompiledLevel>,
    pub(super) cells: Vec<CellSpec>,
    pub(super) calendar: Option<Calendar>,
    pub(super) judges_late: bool,
    /// A reading without a usable value is judged, not only remembered.
    pub(super) sees_bad: bool,
    /// Asks about more than readings, so a state that begins is judged without waiting for one.
    pub(super) holds_at_rest: bool,
    pub(super) peak: Option<(Slot, Extreme)>,
    sensors: Vec<String>,
    is_per_device: bool,
    /// The widest window.
    pub(super) memory: i64,
    /// The longest delay.
    pub(super) delay: i64,
    readings: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct CompiledLevel {
    pub(super) severity: Severity,
    pub(super) on_delay: i64,
    pub(super) off_delay: i64,
    pub(super) expr: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// The last value of slot 0, which a state keeps outside its cells: the common case is small.
    Value(Check),
    Cell {
        cell: usize,
        ask: Ask,
        check: Check,
    },
    Flag(usize),
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

/// What has to be fed to a state after a restart so that it is what it was. Let `base` be the time up
/// to which everything was judged and recorded, less `micros`. In order of arrival:
/// - every input that arrived after `base`, stops of the broker ([`super::Input::Down`]) among them;
/// - before those, of every sensor that the state looks at, **everything from some arrival time on**,
///   such that it contains, of the readings that arrived by `base` and are not late (or are judged
///   though late): the last one; of those with a usable value all whose event time is after the
///   newest's less `micros`, and `readings` more; with the stops since the oldest of these;
/// - in its place the last sign of the device ([`CompiledRule::asks_signs`]), its status with the time
///   since which it has been the same, its presence likewise. What operators did is not fed.
///
/// More than that does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Horizon {
    pub micros: i64,
    pub readings: u32,
}

impl CompiledRule {
    /// # Errors
    /// What is wrong with the rule.
    pub fn new(rule: &AlarmRule) -> Result<Self, InvalidRule> {
        rule.validate()?;
        let mut building = Building { is_per_device: rule.is_per_device(), ..Building::default() };
        let mut levels = Vec::new();
        for level in &rule.levels {
            let on_delay = level.on_delay.unwrap_or(rule.on_delay).as_micros();
            let off_delay = level.off_delay.unwrap_or(rule.off_delay).as_micros();
            building.delay = building.delay.max(on_delay).max(off_delay);
            let expr = building.expr(&level.condition);
            levels.push(CompiledLevel { severity: level.severity, on_delay, off_delay, expr });
        }
        let is_flag = |spec: &CellSpec| matches!(spec, CellSpec::BadQuality { .. });
        let peak = Extreme::of_rule(rule);
        Ok(Self {
            levels,
            calendar: Calendar::new(&rule.schedule).ok().flatten(),
            judges_late: rule.judges_late,
            sees_bad: building.cells.iter().any(is_flag),
            holds_at_rest: building.cells.iter().any(CellSpec::holds_at_rest),
            peak: peak.map(|(sensor, extreme)| (building.slot(sensor.as_deref()), extreme)),
            cells: building.cells,
            sensors: building.sensors,
            is_per_device: building.is_per_device,
            memory: building.memory,
            delay: building.delay,
            readings: building.readings,
        })
    }

    /// Whether it has one state for a device; else one for each sensor in its scope.
    pub fn is_per_device(&self) -> bool {
        self.is_per_device
    }

    /// The sensors that a rule with one state per device looks at, by slot; else none.
    pub fn sensors(&self) -> &[String] {
        &self.sensors
    }

    /// Where readings of a sensor go: `None` when a rule with one state per device does not look at
    /// it (such a message is a [`super::Input::Sign`] only, and only if [`Self::asks_signs`]).
    pub fn slot(&self, sensor: &str) -> Option<Slot> {
        if !self.is_per_device {
            return Some(Slot(0));
        }
        let index = self.sensors.iter().position(|known| known == sensor)?;
        u8::try_from(index).ok().map(Slot)
    }

    /// The sensor of a slot in a rule with one state per device.
    pub fn sensor(&self, slot: Slot) -> Option<&str> {
        self.sensors.get(usize::from(slot.0)).map(String::as_str)
    }

    /// Whether every message of the device matters to it, not only those of its sensors.
    pub fn asks_signs(&self) -> bool {
        self.cells.iter().any(|spec| matches!(spec, CellSpec::Silent { .. }))
    }

    /// Whether a condition anywhere in it is `missing`: true once no reading of a sensor has come for
    /// some time. Silence of the whole device is [`Self::asks_signs`].
    pub fn asks_absence(&self) -> bool {
        self.cells.iter().any(|spec| matches!(spec, CellSpec::Missing { .. }))
    }

    pub fn asks_presence(&self) -> bool {
        self.cells.contains(&CellSpec::Offline)
    }

    pub fn asks_status(&self) -> bool {
        self.cells.iter().any(|spec| matches!(spec, CellSpec::Status { .. }))
    }

    pub fn horizon(&self) -> Horizon {
        // One delay back, a delay may have begun that still runs; whether the condition was true already
        // before that is known for sure only another delay back (see [`super::State::replay`]).
        let micros = self.memory.saturating_add(self.delay.saturating_mul(2));
        Horizon { micros, readings: self.readings }
    }
}

#[derive(Default)]
struct Building {
    is_per_device: bool,
    cells: Vec<CellSpec>,
    sensors: Vec<String>,
    memory: i64,
    delay: i64,
    readings: u32,
}

impl Building {
    fn reach(&mut self, micros: i64) {
        self.memory = self.memory.max(micros);
    }

    fn reach_back(&mut self, readings: u32) {
        self.readings = self.readings.max(readings);
    }

    fn slot(&mut self, sensor: Option<&str>) -> Slot {
        let Some(sensor) = sensor else { return Slot(0) };
        let known = self.sensors.iter().position(|known| known == sensor);
        let index = known.unwrap_or_else(|| {
            self.sensors.push(sensor.to_owned());
            self.sensors.len() - 1
        });
        // 5 levels of 16 parts each name fewer sensors than a byte counts.
        Slot(u8::try_from(index).unwrap_or(u8::MAX))
    }

    /// Levels that ask the same share a cell.
    fn cell(&mut self, spec: CellSpec) -> usize {
        self.cells.iter().position(|known| *known == spec).unwrap_or_else(|| {
            self.cells.push(spec);
            self.cells.len() - 1
        })
    }

    fn flag(&mut self, spec: CellSpec) -> Expr {
        Expr::Flag(self.cell(spec))
    }

    fn value(&mut self, sensor: Option<&str>, check: Check) -> Expr {
        self.reach_back(1);
        match self.slot(sensor) {
            Slot(0) => Expr::Value(check),
            slot => {
                Expr::Cell { cell: self.cell(CellSpec::Value { slot }), ask: Ask::Value, check }
            }
        }
    }

    fn window(&mut self, sensor: Option<&str>, window: Period, ask: Ask, check: Check) -> Expr {
        let (slot, micros) = (self.slot(sensor), window.as_micros());
        self.reach(micros);
        self.reach_back(1);
        Expr::Cell { cell: self.cell(CellSpec::Window { slot, micros }), ask, check }
    }

    fn expr(&mut self, condition: &Condition) -> Expr {
        let sensor = condition.sensor.as_deref();
        match &condition.test {
            Test::Limit(_)
            | Test::Equals(Operand::Number(_))
            | Test::Differs(Operand::Number(_)) => {
                let check = value_check(&condition.test);
                self.value(sensor, check)
            }
            Test::Equals(Operand::Status(text)) => {
                self.flag(CellSpec::Status { text: text.clone(), equals: true })
            }
            Test::Differs(Operand::Status(text)) => {
                self.flag(CellSpec::Status { text: text.clone(), equals: false })
            }
            Test::Rate(rate) => {
                let ask = Ask::Slope { per: rate.per.as_micros() };
                self.window(sensor, rate.window, ask, Check::from(rate))
            }
            Test::Aggregate(aggregate) => {
                let ask = Ask::Aggregate(aggregate.function);
                self.window(sensor, aggregate.window, ask, Check::from(&aggregate.limit))
            }
            Test::Stuck(period) => {
                let (slot, micros) = (self.slot(sensor), period.as_micros());
                self.reach(micros);
                self.reach_back(1);
                self.flag(CellSpec::Stuck { slot, micros })
            }
            Test::CountOf(count) => {
                let (slot, check) = (self.slot(sensor), value_check(&count.condition.test));
                self.reach_back(count.m);
                self.flag(CellSpec::CountOf { slot, n: count.n, m: count.m, check })
            }
            Test::Missing(period) => {
                let (slot, micros) = (self.slot(sensor), period.as_micros());
                self.reach_back(1);
                self.flag(CellSpec::Missing { slot, micros })
            }
            Test::Silent(period) => self.flag(CellSpec::Silent { micros: period.as_micros() }),
            Test::Offline => self.flag(CellSpec::Offline),
            Test::BadQuality => {
                let slot = self.slot(sensor);
                self.reach_back(1);
                self.flag(CellSpec::BadQuality { slot })
            }
            Test::All(parts) => Expr::All(parts.iter().map(|part| self.expr(part)).collect()),
            Test::Any(parts) => Expr::Any(parts.iter().map(|part| self.expr(part)).collect()),
        }
    }
}

/// The check of a condition on one value; validation lets no other kind come here.
fn value_check(test: &Test) -> Check {
    match test {
        Test::Limit(limit) => Check::from(limit),
        Test::Equals(Operand::Number(number)) => Check::Equals(*number),
        Test::Differs(Operand::Number(number)) => Check::Differs(*number),
        _ => Check::Beyond { above: None, below: None },
    }
}
