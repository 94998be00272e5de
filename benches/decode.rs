//! Decoding a message, by form.

use std::hint::black_box;

use brooklet::{
    ingest::decode::{MessageContext, decode},
    routes::{MessageKind, PayloadForm},
    telemetry::{DeviceKey, SensorName, Timestamp},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PAYLOADS: &[(&str, &str)] = &[
    ("flat", r#"{"temperature": 25.5, "humidity": 60, "light": 850}"#),
    (
        "rich",
        r#"{"sensors": [{"sensor_name": "temperature", "value": 25.5, "unit": "°C"},
            {"sensor_name": "humidity", "value": 60, "unit": "%"}],
            "status": {"rssi": -50}, "timestamp": "2025-12-19T14:30:00+08:00"}"#,
    ),
    (
        "batch",
        r#"[{"ts": 1766125800000, "values": {"t": 1}}, {"ts": 1766125801000, "values": {"t": 2}}]"#,
    ),
    ("single", "25.5"),
    (
        "esp32",
        r#"{"deviceId": "d", "fwVersion": "1.4.0", "ip": "192.168.1.100", "uptimeSec": 3600, "tempC": 25.5}"#,
    ),
    ("flat, mended", "\u{feff}{\"temperature\": 25.5, \"humidity\": NaN,}"),
];

fn benchmark(criterion: &mut Criterion) {
    let (Ok(device), Ok(sensor)) = (DeviceKey::new("d"), SensorName::in_topic("s")) else { return };
    let mut group = criterion.benchmark_group("decode");
    for (name, payload) in PAYLOADS {
        let context = MessageContext {
            kind: MessageKind::Data,
            form: PayloadForm::Auto,
            device: Some(&device),
            sensor: (*name == "single").then_some(&sensor),
            received_at: Timestamp::from_micros(1_766_125_800_000_000),
            zone: &jiff::tz::TimeZone::UTC,
        };
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(decode(black_box(payload.as_bytes()), &context)));
        });
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
