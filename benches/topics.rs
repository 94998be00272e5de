//! Matching a topic against 10 and against 100,000 filters: the cost must not follow their number.

use std::hint::black_box;

use brooklet::mqtt::{
    QoS, RetainHandling, SubscriptionOptions,
    subscriptions::{Subscriber, SubscriptionTree},
    topic::{TopicFilter, TopicLimits},
};
use criterion::{Criterion, criterion_group, criterion_main};

const LIMITS: TopicLimits = TopicLimits { levels_max: 16, bytes_max: 256 };
const OPTIONS: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::SendOnSubscribe,
    identifier: None,
};

fn tree(filters: u64) -> SubscriptionTree<()> {
    let mut tree = SubscriptionTree::default();
    for key in 0..filters {
        let text = match key % 3 {
            0 => format!("site{}/line{}/device{key}/data", key % 100, key % 1_000),
            1 => format!("site{}/+/device{key}/#", key % 100),
            _ => format!("plant/{key}/+"),
        };
        if let Ok(filter) = TopicFilter::new(&text, LIMITS) {
            tree.insert(&filter, Subscriber { key, session: (), options: OPTIONS });
        }
    }
    tree
}

fn benchmark(criterion: &mut Criterion) {
    for filters in [10, 100_000] {
        let tree = tree(filters);
        let mut group = criterion.benchmark_group(format!("match, {filters} filters"));
        for (name, topic) in
            [("hit", "site3/line3/device3/data"), ("miss", "devices/some-device/data")]
        {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut found = 0;
                    tree.for_each_match(black_box(topic), |leaf| found += leaf.plain.len());
                    black_box(found)
                });
            });
        }
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
