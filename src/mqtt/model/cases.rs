//! Cases that the model has found, in the order they were found.

use super::{
    opening, play,
    play::{FILTERS, Play, Step},
};
use crate::mqtt::packet::{QoS, RetainHandling, SubscriptionOptions};

fn publish(client: usize, qos: QoS, retain: bool) -> Step {
    Step::Publish { client, topic: 0, qos, retain, is_empty: false, expires: false }
}

fn connect(client: usize, clean: bool, expiry: u32) -> Step {
    Step::Connect { client, clean, expiry, window: 1 }
}

fn subscribe(client: usize, filter: &str, qos: QoS, retain_as_published: bool) -> Step {
    let options = SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published,
        retain_handling: RetainHandling::SendOnSubscribe,
        identifier: None,
    };
    let filter = FILTERS.iter().position(|known| *known == filter).expect("a filter");
    Step::Subscribe { client, filter, options }
}

fn after_opening(steps: impl IntoIterator<Item = Step>, commits_at_once: bool) {
    let mut all = opening();
    all.extend(steps);
    play(&all, commits_at_once);
}

/// A message that was stored as sent while earlier ones waited for their mark went out first after a
/// restart.
#[test]
fn a_restart_keeps_the_order_of_what_waits_and_what_was_to_go_at_once() {
    let mut steps = vec![connect(0, false, 1000)];
    steps.extend((0..3).map(|_| publish(0, QoS::AtLeastOnce, false)));
    steps.extend((0..3).map(|_| publish(3, QoS::ExactlyOnce, false)));
    steps.push(Step::Answer { client: 0, which: 0, refuses: false });
    steps.extend([publish(3, QoS::ExactlyOnce, false), Step::Restart]);
    after_opening(steps, true);
}

/// The member that took over saw RETAIN as the one before had asked for it.
#[test]
fn what_is_handed_over_shows_retain_as_its_new_receiver_asked() {
    let share = "$share/h/#";
    let steps = [
        subscribe(0, share, QoS::AtLeastOnce, true),
        subscribe(1, share, QoS::AtLeastOnce, false),
        publish(3, QoS::AtLeastOnce, true),
        publish(3, QoS::AtLeastOnce, true),
        connect(0, true, 0),
    ];
    after_opening(steps, true);
}

/// A second CONNECT was answered before the clean start of the first was on disk: the session came
/// back with the next process.
#[test]
fn a_session_that_a_client_was_told_is_gone_stays_gone() {
    let steps = [connect(1, true, 0), connect(1, false, 0), Step::Restart, connect(1, false, 0)];
    after_opening(steps, false);
}

/// A QoS 2 message was sent to the member that took over before its row was on disk: after a restart
/// nobody asked the client to release it, and it took the next one of that packet id for the same.
#[test]
fn what_is_handed_over_is_on_disk_before_it_is_sent() {
    let steps = [
        publish(0, QoS::ExactlyOnce, false),
        Step::Drop { client: 1 },
        Step::Commit { entries: 1 },
        connect(1, true, 0),
        Step::Restart,
    ];
    after_opening(steps, false);
}

/// What a connection could not tell the store before it ended was written before what the store had
/// taken earlier and not committed.
#[test]
fn a_subscription_that_was_given_up_does_not_come_back() {
    let steps = [
        subscribe(0, "c", QoS::AtLeastOnce, false),
        Step::Room { entries: 1 },
        Step::Unsubscribe { client: 0, filter: 5 },
        connect(0, false, 1000),
    ];
    after_opening(steps, false);
}

/// The end of a session that DISCONNECT told was not on disk when the client's next connection, which
/// has nothing to store, was answered.
#[test]
fn a_session_that_its_client_has_ended_stays_gone() {
    let mut play = Play::new(false);
    for step in opening() {
        play.step(&step);
    }
    play.step(&Step::Disconnect { client: 0, ends: true });
    play.step(&connect(0, false, 0));
    play.step(&Step::Restart);
    // A client that has nothing may still ask for what the broker has.
    play.clients[0].has_forgotten = false;
    play.step(&connect(0, false, 1000));
    play.finish();
}

/// What waited by a shared subscription without another member went with the others' and was lost.
#[test]
fn what_no_other_member_may_have_stays() {
    let steps = [
        publish(0, QoS::AtLeastOnce, false),
        publish(0, QoS::AtLeastOnce, false),
        subscribe(1, "$share/h/#", QoS::AtLeastOnce, false),
        publish(0, QoS::AtLeastOnce, false),
        publish(0, QoS::AtLeastOnce, false),
        Step::Unsubscribe { client: 1, filter: 8 },
        Step::Disconnect { client: 1, ends: false },
    ];
    after_opening(steps, true);
}
