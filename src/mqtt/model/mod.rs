//! The sessions and the router against a model of the specification: random steps of a few clients, of
//! the store and of the clock, without sockets and without time passing.
//!
//! The broker's own code serves each client, over a pipe in memory, and runs only when the test lets it:
//! what is committed when, and what a restart finds, is part of the steps. `spec` says what is allowed
//! and what is owed; `play` and `check` compare. A case that fails is shrunk to a few steps.

mod cases;
mod check;
mod client;
mod fuzz;
mod play;
mod receiver;
mod retained;
mod spec;
mod store;
mod wire;
mod world;

use proptest::prelude::*;

use self::{
    play::{CLIENTS, FILTERS, Play, Step, TOPICS},
    spec::FOR_EVER,
};
use crate::mqtt::packet::{QoS, RetainHandling, SubscriptionOptions};

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling = prop::sample::select(vec![
        RetainHandling::SendOnSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let identifier = prop::option::of(1u32..100);
    (qos(), prop::bool::weighted(0.2), any::<bool>(), handling, identifier).prop_map(
        |(qos, no_local, retain_as_published, retain_handling, identifier)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
            identifier,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let expiry = prop::sample::select(vec![0, 10, 1000, 1000, FOR_EVER]);
    let is_rare = || prop::bool::weighted(0.15);
    prop_oneof![
        6 => (client(), prop::bool::weighted(0.2), expiry, 1u16..=3).prop_map(
            |(client, clean, expiry, window)| Step::Connect { client, clean, expiry, window }),
        2 => client().prop_map(|client| Step::Drop { client }),
        1 => (client(), is_rare()).prop_map(|(client, ends)| Step::Disconnect { client, ends }),
        4 => (client(), 0..FILTERS.len(), options()).prop_map(
            |(client, filter, options)| Step::Subscribe { client, filter, options }),
        1 => (client(), 0..FILTERS.len()).prop_map(
            |(client, filter)| Step::Unsubscribe { client, filter }),
        10 => (client(), 0..TOPICS.len(), qos(), is_rare(), is_rare(), is_rare()).prop_map(
            |(client, topic, qos, retain, is_empty, expires)| Step::Publish {
                client, topic, qos, retain, is_empty, expires }),
        8 => (client(), 0usize..4, is_rare()).prop_map(
            |(client, which, refuses)| Step::Answer { client, which, refuses }),
        3 => (client(), 0usize..4).prop_map(|(client, which)| Step::Release { client, which }),
        1 => client().prop_map(|client| Step::Deafen { client }),
        1 => prop::sample::select(vec![1u64, 15]).prop_map(|seconds| Step::Advance { seconds }),
        6 => (0usize..5).prop_map(|entries| Step::Commit { entries }),
        2 => Just(Step::CommitAll),
        1 => prop::sample::select(vec![0, 1, 2, usize::MAX]).prop_map(
            |entries| Step::Room { entries }),
        1 => Just(Step::Restart),
    ]
}

fn play(steps: &[Step], commits_at_once: bool) {
    let mut play = Play::new(commits_at_once);
    for step in steps {
        play.step(step);
    }
    play.finish();
}

/// Every client is there with a session and a subscription, so that cases are not about the way there.
fn opening() -> Vec<Step> {
    let options = |qos| SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendOnSubscribe,
        identifier: None,
    };
    let connect = |client| Step::Connect { client, clean: false, expiry: 1000, window: 2 };
    let subscribe = |client, filter, qos| Step::Subscribe { client, filter, options: options(qos) };
    let mut steps: Vec<_> = (0..CLIENTS).map(connect).collect();
    steps.extend([
        Step::CommitAll,
        subscribe(0, 2, QoS::ExactlyOnce),
        subscribe(1, 6, QoS::ExactlyOnce),
        subscribe(2, 6, QoS::ExactlyOnce),
        subscribe(3, 1, QoS::AtLeastOnce),
        Step::CommitAll,
    ]);
    steps
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_promised_is_kept(
        steps in prop::collection::vec(step(), 1..80),
        commits_at_once in prop::bool::weighted(0.3),
        is_opened in any::<bool>(),
    ) {
        let mut all = if is_opened { opening() } else { Vec::new() };
        all.extend(steps);
        play(&all, commits_at_once);
    }
}
