//! What a rule asks for that the store does not keep, so that a backtest can't know it.

use super::Backtest;
use crate::alarm::engine::Rule;

const PRESENCE: &str =
    "offline: when devices came and went is not kept, so this is never true here";
const STATUS: &str =
    "status texts of the past are not kept, so conditions on them are never true here";
const SIGNS: &str =
    "silent: messages without readings are not kept, so only readings count as signs";
const PAUSES: &str = "missing and silent: times in which the broker ran but could not store anything \
                      are not kept, and count as silence";
const SUPPRESSION: &str = "alarms of other rules are not replayed, so nothing is suppressed";
const LATCHING: &str = "latching: nobody resets, so an alarm stays active once it is raised";
const REPEAT: &str = "repeat: nobody acknowledges, so notifications repeat until the alarm clears";
const KINDS: &str = "one rule is judged per device, the other per sensor: their alarms are not the \
                     same ones";

/// What the answer of a backtest can't say, as sentences.
pub fn limitations(backtest: &Backtest) -> Vec<&'static str> {
    let rules = backtest.rules();
    let any = |is: fn(&Rule) -> bool| rules.iter().any(|rule| is(rule));
    let is_per_device = |rule: &Rule| rule.compiled.is_per_device();
    let all = [
        (PRESENCE, any(|rule| rule.compiled.asks_presence())),
        (STATUS, any(|rule| rule.compiled.asks_status())),
        (SIGNS, any(|rule| rule.compiled.asks_signs())),
        (PAUSES, any(|rule| rule.compiled.asks_signs() || rule.compiled.asks_absence())),
        (
            SUPPRESSION,
            any(|rule| rule.compiled.asks_absence() || !rule.body.suppressed_by.is_empty()),
        ),
        (LATCHING, any(|rule| rule.body.latching)),
        (REPEAT, any(|rule| rule.body.repeat.is_some())),
        (KINDS, any(is_per_device) && !rules.iter().all(|rule| is_per_device(rule))),
    ];
    all.into_iter().filter(|(_, holds)| *holds).map(|(text, _)| text).collect()
}
