//! Readings that are spared judging change nothing.

use proptest::prelude::*;

use super::*;

fn level() -> impl Strategy<Value = Value> {
    let limit = -20_i32..20;
    (0_u8..4, limit, 0_u32..4, 0_u32..3, 0_u32..3).prop_map(|(kind, limit, deadband, on, off)| {
        let condition = match kind {
            0 => json!({"type": "above", "limit": limit, "deadband": deadband}),
            1 => json!({"type": "below", "limit": limit, "deadband": deadband}),
            2 => json!({"type": "outside", "low": limit, "high": limit + 8, "deadband": deadband}),
            _ => json!({"type": "inside", "low": limit, "high": limit + 8, "deadband": deadband}),
        };
        let delay = |n: u32| format!("{}s", n * 20);
        json!({"condition": condition, "on_delay": delay(on), "off_delay": delay(off)})
    })
}

/// Seconds since the reading before, seconds on the way, value, quality, whether a tick follows.
type Said = (u32, u32, i32, u8, bool);

proptest! {
    #[test]
    fn readings_that_are_spared_judging_change_nothing(
        levels in prop::collection::vec(level(), 1..3),
        said in prop::collection::vec((1_u32..40, 0_u32..200, -25_i32..25, 0_u8..8, any::<bool>()), 1..120),
    ) {
        let severities = ["minor", "critical"];
        let levels: Vec<Value> = levels.into_iter().zip(severities).map(|(mut level, severity)| {
            level["severity"] = severity.into();
            level
        }).collect();
        let rule = compile(json!({"name": "x", "levels": levels}));
        let (all, spared) = (judge(&rule, &said, false), judge(&rule, &said, true));
        prop_assert_eq!(all, spared);
    }
}

fn judge(rule: &CompiledRule, said: &[Said], spares: bool) -> Vec<Transition> {
    let mut state = State::new(rule);
    let mut out = Vec::new();
    let (mut arrival, mut newest) = (0.0, f64::MIN);
    for (gap, lag, value, quality, ticks) in said {
        arrival += f64::from(*gap);
        let event = arrival - f64::from(*lag);
        let reading = JudgedReading {
            sensor: Slot(0),
            event_time: at(event),
            received_at: at(arrival),
            value: Some(f64::from(*value)),
            quality: if *quality == 0 { Quality::Bad } else { Quality::Good },
            late: event < newest && event < arrival - 60.0,
        };
        newest = newest.max(event);
        if !spares || !state.quiet(rule).holds(&reading) {
            step(rule, &mut state, Input::Reading(reading), &mut out);
        }
        if *ticks {
            step(rule, &mut state, Input::Tick { watermark: at(arrival + 0.5) }, &mut out);
        }
    }
    out
}
