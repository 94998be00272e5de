//! What holds of every payload.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::telemetry::Quality;

const SEEDS: [&str; 7] = [
    r#"{"sensors":[{"sensor_name":"t","value":25.5,"unit":"°C","timestamp":"2025-12-19T14:30:00+08:00"}],"status":{"rssi":-50},"location":{"latitude":1,"longitude":2},"timestamp":1766125800}"#,
    r#"{"temperature":25.5,"on":true,"fw":"1.2","ts":1766125800.5,"device_id":"dev-1"}"#,
    r#"[{"ts":1766125800000,"values":{"t":1}},{"ts":1766125801000,"values":{"t":NaN,},}]"#,
    r#"{"deviceId":"dev-1","fwVersion":"1.4.0","ip":"192.168.1.100","uptimeSec":3600,"tempC":null}"#,
    r#"{"value":-2.5e-3,"timestamp":"2025-12-19 14:30:00","quality":"uncertain","unit":"\u00b0C"}"#,
    r#"{"status":"online","battery":95,"location":null}"#,
    "25.5",
];

fn everywhere(payload: &[u8]) {
    for kind in [MessageKind::Data, MessageKind::Status, MessageKind::Heartbeat] {
        for sensor in [None, Some("s")] {
            match decode_as(payload, sensor, kind) {
                Ok(decoded) => {
                    let readings = &decoded.readings;
                    assert!(readings.iter().all(|sample| sample.value.is_none_or(f64::is_finite)));
                    assert!(readings.iter().all(|sample| {
                        sample.value.is_some() || sample.quality == Quality::Bad
                    }));
                    assert!(decoded.rejections.iter().all(|one| !one.detail.is_empty()));
                }
                Err(rejection) => assert!(!rejection.detail.is_empty()),
            }
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    // None of the names that mean something of their own.
    "[a-z_][a-z0-9_]{0,10}".prop_map(|name| format!("s_{name}"))
}

fn values() -> impl Strategy<Value = BTreeMap<String, f64>> {
    let number = prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL;
    prop::collection::btree_map(name(), number, 1..30)
}

fn read_back(decoded: &Decoded, time: ClaimedTime) -> BTreeMap<String, f64> {
    assert_eq!(decoded.rejections, []);
    assert!(decoded.readings.iter().all(|s| s.time == time && s.quality == Quality::Good));
    decoded.readings.iter().map(|s| (s.sensor.to_string(), s.value.unwrap())).collect()
}

proptest! {
    #[test]
    fn no_bytes_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        everywhere(&payload);
    }

    #[test]
    fn no_json_like_text_panics(payload in r#"[\[\]{},:"\\ a-z0-9.+eNI-]{0,60}"#) {
        everywhere(payload.as_bytes());
    }

    #[test]
    fn no_mutation_of_a_message_panics(
        seed in prop::sample::select(&SEEDS[..]),
        edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4), 1..6),
    ) {
        let mut payload = seed.as_bytes().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(payload.len() + 1);
            match edit {
                0 => payload.insert(at, byte),
                1 => payload.truncate(at),
                2 => payload.extend_from_within(at..),
                _ => payload.get_mut(at).into_iter().for_each(|old| *old = byte),
            }
        }
        everywhere(&payload);
    }

    #[test]
    fn each_form_comes_back_as_it_was(values in values(), seconds in 946_684_800_i64..1_766_125_800) {
        let time = ClaimedTime::Plausible(Timestamp::from_micros(seconds * 1_000_000));
        let entries: Vec<_> =
            values.iter().map(|(n, v)| json!({"sensor_name": n, "value": v})).collect();
        let mut flat = json!(values);
        flat["ts"] = json!(seconds);
        for payload in [
            flat.to_string(),
            json!({"sensors": entries, "timestamp": seconds}).to_string(),
            json!({"sensors": values, "timestamp": seconds.to_string()}).to_string(),
            json!({"ts": seconds * 1000, "values": values}).to_string(),
            json!([{"ts": seconds, "values": values}]).to_string(),
        ] {
            let decoded = data(&payload).unwrap();
            prop_assert_eq!(&read_back(&decoded, time), &values, "{}", payload);
            prop_assert_eq!(decoded.repairs, Repairs::default());
        }
        for value in values.values() {
            let decoded = decode_as(value.to_string(), Some("x"), MessageKind::Data).unwrap();
            prop_assert_eq!(decoded.readings[0].value, Some(*value));
        }
    }

    #[test]
    fn damage_changes_no_reading(values in values(), text in ".{0,20}", damage in 1_u8..16) {
        let mut whole = json!(values);
        whole["note"] = json!(text);
        whole["last"] = json!(null);
        let expected = data(&whole.to_string()).unwrap();
        let mut damaged = whole.to_string();
        let kinds = [damage & 1 != 0, damage & 2 != 0, damage & 4 != 0, damage & 8 != 0];
        if kinds[0] {
            damaged.insert_str(damaged.len() - 1, " ,");
        }
        if kinds[1] {
            damaged.insert_str(1, "\"worn\": NaN,");
        }
        if kinds[2] {
            damaged.insert(0, '\u{feff}');
        }
        if kinds[3] {
            damaged.push('\0');
        }
        let decoded = data(&damaged).unwrap();
        let Repairs { byte_order_mark, trailing_nul, trailing_comma, not_a_number } = decoded.repairs;
        prop_assert_eq!([trailing_comma, not_a_number, byte_order_mark, trailing_nul], kinds);
        prop_assert_eq!(&decoded.report, &expected.report);
        let kept: Vec<_> =
            decoded.readings.into_iter().filter(|s| s.sensor.as_str() != "worn").collect();
        prop_assert_eq!(kept, expected.readings);
    }
}
