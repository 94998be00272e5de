//! What a start costs that finds 100,000 retained messages, and 1,000 sessions with 100 messages each.

use std::time::Duration;

use brooklet::store::{Store, StoreSettings};
use criterion::{Criterion, criterion_group, criterion_main};

type Failure = Box<dyn std::error::Error>;

const ROWS: [&str; 4] = [
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
     INSERT INTO mqtt_retained (topic, payload, properties, qos, retain, is_utf8, received_at) \
     SELECT 'devices/' || i || '/state', CAST(printf('%064d', i) AS BLOB), x'', 1, 1, 0, i FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
     INSERT INTO mqtt_session (id, client_id, expiry, sent_to) \
     SELECT i, 'client-' || i, 3600, 0 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) \
     INSERT INTO mqtt_queue (session_id, position, message_id, packet_id, qos, retain, stage) \
     SELECT 1 + i / 100, 1 + i % 100, 1 + i % 100, 1 + i % 100, 1, 0, 0 FROM n",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
     INSERT INTO mqtt_message (id, topic, payload, properties, qos, retain, is_utf8, received_at) \
     SELECT i, 'owed', CAST(printf('%064d', i) AS BLOB), x'', 1, 0, 0, i FROM n",
];

fn filled(path: &std::path::Path) -> Result<(tokio::runtime::Runtime, Store), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let busy_timeout = Duration::from_secs(1);
    let settings =
        StoreSettings { readers: 1, busy_timeout, ..StoreSettings::new(path.to_owned()) };
    let store = runtime.block_on(Store::open(&settings))?;
    let connection = rusqlite::Connection::open(path)?;
    for sql in ROWS {
        connection.execute(sql, [])?;
    }
    Ok((runtime, store))
}

fn benchmark(criterion: &mut Criterion) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let Ok((runtime, store)) = filled(&folder.path().join("brooklet.db")) else { return };
    let mut group = criterion.benchmark_group("restore");
    group.sample_size(10);
    group.bench_function("100,000 retained, 100,000 owed", |bencher| {
        bencher.iter(|| {
            let state = runtime.block_on(store.broker_state());
            assert!(state.is_ok_and(|state| state.retained.len() == 100_000));
        });
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
