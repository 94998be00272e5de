//! What a message costs before it is queued: finding its route, and decoding it in each form.

#![allow(clippy::expect_used, reason = "a bench that can not be set up is to stop")]

use std::hint::black_box;

use brooklet::{
    ingest::decode::{MessageContext, decode},
    routes::{MessageKind, PayloadForm, RouteTable, RouteTemplate},
    telemetry::{DeviceKey, SensorName, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;

const RICH: &str = r#"{"sensors":[{"sensor_name":"temperature","value":25.5,"unit":"°C","timestamp":"2025-12-19T14:30:00+08:00"},{"sensor_name":"humidity","value":60,"unit":"%"}],"status":{"ip_address":"192.168.1.100","rssi":-50,"battery":95},"location":{"latitude":39.9042,"longitude":116.4074},"timestamp":"2025-12-19T14:30:00+08:00"}"#;
const FLAT: &str = r#"{"temperature": 25.5, "humidity": 60, "light": 850}"#;
const FLAT_TIMED: &str =
    r#"{"temperature": 25.5, "humidity": 60, "light": 850, "ts": 1766125800000}"#;
const BATCH: &str = r#"[{"ts":1766125800000,"values":{"t":1.5,"h":60}},{"ts":1766125801000,"values":{"t":1.6,"h":60}}]"#;
const ESP32: &str = r#"{"deviceId":"1234567890ABCDEF","fwVersion":"1.4.0","ip":"192.168.1.100","uptimeSec":3600,"tempC":25.5}"#;
const SINGLE: &str =
    r#"{"value":25.5,"timestamp":"2025-12-19T06:30:00Z","quality":"good","unit":"°C"}"#;
const STATUS: &str = r#"{"status": "online", "battery": 95, "signal": "good"}"#;
const DAMAGED: &str = "{\"temperature\": NaN, \"humidity\": 60, \"light\": 850,}\0";

fn forms(criterion: &mut Criterion) {
    let device = DeviceKey::new("1234567890ABCDEF").expect("a legal device id");
    let sensor = SensorName::in_topic("7").expect("a legal sensor name");
    let context = MessageContext {
        kind: MessageKind::Data,
        form: PayloadForm::Auto,
        device: Some(&device),
        sensor: None,
        received_at: Timestamp::from_micros(1_766_125_801_000_000),
        zone: &TimeZone::UTC,
    };
    let single = MessageContext { sensor: Some(&sensor), ..context };
    let status = MessageContext { kind: MessageKind::Status, ..context };
    let mut group = criterion.benchmark_group("decode");
    for (name, payload, context) in [
        ("rich", RICH, context),
        ("flat", FLAT, context),
        ("flat with a time", FLAT_TIMED, context),
        ("batch", BATCH, context),
        ("esp32", ESP32, context),
        ("single", SINGLE, single),
        ("plain number", "25.5", single),
        ("status", STATUS, status),
        ("damaged flat", DAMAGED, context),
    ] {
        assert!(decode(payload.as_bytes(), &context).is_ok_and(|d| d.rejections.is_empty()));
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decode(black_box(payload.as_bytes()), &context));
        });
    }
}

fn routes(criterion: &mut Criterion) {
    let template = |text| {
        RouteTemplate::new(text, MessageKind::Data, PayloadForm::Auto, false).expect("a template")
    };
    let table = RouteTable::new(
        [
            "devices/{device}/data",
            "devices/{device}/status",
            "devices/{device}/heartbeat",
            "sleep_blanket/{device}/data",
            "sleep_blanket/{device}/status",
            "sensors/{device}/{sensor}/data",
            "gateways/{device}/status",
            "telemetry/{device}/{sensor}",
        ]
        .map(template)
        .into(),
    )
    .expect("routes that can be told apart");
    let mut group = criterion.benchmark_group("route");
    for topic in ["devices/test-device-uuid/heartbeat", "building/3/floor/1", "devices/a/b/c"] {
        group.bench_function(topic, |bencher| bencher.iter(|| table.find(black_box(topic))));
    }
}

criterion_group!(benches, forms, routes);
criterion_main!(benches);
