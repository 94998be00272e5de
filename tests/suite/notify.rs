//! Notifications of alarms against servers that fail, hang, lead astray and recover, on real sockets.

mod channels;
mod end_to_end;
mod ends;
mod mail;
mod outbox;
mod receiver;

use std::collections::{BTreeMap, HashMap};

use brooklet::{
    alarm::{
        notify::{Keeping, NoticeKind, Retry},
        rule::Severity,
    },
    store::{
        NotificationQuery,
        NotificationState::{Cancelled, Dead, Sent, Waiting},
    },
};
use serde_json::{Value, json};

use self::{
    outbox::{Post, eventually, notice, target},
    receiver::{Answer, Receiver},
};

fn webhook(name: &str, url: &str) -> Value {
    let channel = json!({"type": "webhook", "url": url, "timeout": "1s"});
    json!({"name": name, "group_wait": "0s", "channel": channel})
}

#[tokio::test]
async fn a_server_that_fails_hangs_up_and_recovers_gets_the_same_message_until_it_takes_it() {
    let answers = [
        Answer::status("500 Internal Server Error"),
        Answer::HangUp,
        Answer::status("429 Too Many Requests"),
        Answer::EndlessHead,
        Answer::EndlessBody,
    ];
    let receiver = Receiver::start(&answers).await;
    let mut post = Post::new(&[webhook("ops", &receiver.url("/hook?a=b"))]).await;
    let mut ids = post.tell(&notice(1, NoticeKind::Raised)).await;
    ids.extend(post.tell(&notice(2, NoticeKind::Raised)).await);
    post.start();
    post.until_state(&ids, Sent).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 5, "the body that never ends came after the 200");
    for request in &requests {
        assert_eq!(request.path, "/hook?a=b");
        assert_eq!(request.text, requests[0].text);
        assert_eq!(request.headers["idempotency-key"], requests[0].headers["idempotency-key"]);
    }
    assert_eq!(requests[0].body["alerts"].as_array().unwrap().len(), 2);
    assert!(post.rows(&ids).await.iter().all(|row| row.attempts == 5));
    post.stop().await;
}

#[tokio::test]
async fn a_channel_that_hangs_delays_no_other() {
    let (hangs, works) = (Receiver::start(&[Answer::Hang]).await, Receiver::start(&[]).await);
    let targets = [webhook("hangs", &hangs.url("/")), webhook("works", &works.url("/"))];
    let mut post = Post::started(&targets).await;
    let ids = post.tell(&notice(1, NoticeKind::Raised)).await;
    hangs.until_requests(1).await;
    for alarm in 2..5 {
        let [hung, sent] = post.tell(&notice(alarm, NoticeKind::Raised)).await[..] else {
            panic!()
        };
        post.until_state(&[sent], Sent).await;
        assert_eq!(post.row(hung).await.state, Waiting);
    }
    // Once its time is up, the first goes again.
    post.until_state(&ids, Sent).await;
    assert!(post.row(ids[0]).await.attempts > 1);
    post.stop().await;
}

#[tokio::test]
async fn a_burst_is_one_message_and_what_is_refused_is_dead() {
    let receiver = Receiver::start(&[Answer::status("422 Unprocessable Content")]).await;
    let mut post = Post::new(&[webhook("ops", &receiver.url("/"))]).await;
    let refused = post.tell(&notice(1, NoticeKind::Raised)).await;
    post.start();
    post.until_state(&refused, Dead).await;
    let row = post.row(refused[0]).await;
    let error = Some("refused with 422 Unprocessable Entity");
    assert_eq!((row.attempts, row.error.as_deref()), (1, error));
    post.stop().await;
    let mut ids = Vec::new();
    for alarm in 2..42 {
        ids.extend(post.tell(&notice(alarm, NoticeKind::Raised)).await);
    }
    post.start();
    post.until_state(&ids, Sent).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].body["alerts"].as_array().unwrap().len(), 40);
    post.stop().await;
}

#[tokio::test]
async fn what_is_dead_goes_again_when_a_person_says_so() {
    let receiver = Receiver::start(&[Answer::status("410 Gone")]).await;
    let mut post = Post::started(&[webhook("ops", &receiver.url("/"))]).await;
    let ids = post.tell(&notice(1, NoticeKind::Raised)).await;
    post.until_state(&ids, Dead).await;
    let now = post.now();
    assert!(post.store().revive_notification(ids[0], now).await.unwrap());
    post.notifier.wake();
    post.until_state(&ids, Sent).await;
    assert!(!post.store().revive_notification(ids[0], now).await.unwrap());
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
    let row = post.row(ids[0]).await;
    assert_eq!((row.attempts, row.error, row.sent_at.is_some()), (1, None, true));
    post.stop().await;
}

#[tokio::test]
async fn what_was_told_long_ago_is_forgotten() {
    let log = json!({"name": "log", "group_wait": "0s", "channel": {"type": "log"}});
    let mut post = Post::new(&[log]).await;
    let month_ago = post.now().plus_micros(-30 * 86_400 * 1_000_000 - 1);
    let old = post.tell_at(&notice(1, NoticeKind::Raised), month_ago).await;
    let young = post.tell(&notice(2, NoticeKind::Raised)).await;
    post.start();
    // Whether it is sent before the first clearing or after.
    post.until_state(&young, Sent).await;
    let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
    while post.rows(&old).await.iter().any(|row| row.state == Waiting) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    post.stop().await;
    post.start();
    let all = NotificationQuery { limit: 9, ..NotificationQuery::default() };
    while post.store().notifications(&all).await.unwrap().len() > 1 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(post.row(young[0]).await.state, Sent);
    post.stop().await;
}

#[tokio::test]
async fn what_was_given_up_long_ago_is_forgotten_too() {
    let receiver = Receiver::start(&[Answer::status("410 Gone")]).await;
    let mut post = Post::new(&[webhook("ops", &receiver.url("/"))]).await;
    let dead = post.tell(&notice(1, NoticeKind::Raised)).await;
    post.start();
    post.until_state(&dead, Dead).await;
    post.stop().await;
    post.keeping = Keeping { age: std::time::Duration::ZERO, ..post.keeping };
    post.start();
    let all = NotificationQuery { limit: 9, ..NotificationQuery::default() };
    let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
    while !post.store().notifications(&all).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    post.stop().await;
}

#[tokio::test]
async fn tries_end_with_their_number_or_the_rows_age() {
    let failing = vec![Answer::status("503 Service Unavailable"); 100];
    let receiver = Receiver::start(&failing).await;
    for retry in [
        Retry { attempts_max: 3, ..Retry::default() },
        Retry { age_max: std::time::Duration::ZERO, ..Retry::default() },
    ] {
        let mut post = Post::new(&[webhook("ops", &receiver.url("/"))]).await;
        post.retry = Retry { first: post.retry.first, longest: post.retry.longest, ..retry };
        let ids = post.tell(&notice(1, NoticeKind::Raised)).await;
        post.start();
        post.until_state(&ids, Dead).await;
        let tries = if retry.attempts_max == 3 { 3 } else { 1 };
        assert_eq!(post.row(ids[0]).await.attempts, tries);
        post.stop().await;
    }
}

#[tokio::test]
async fn a_stop_or_a_kill_in_the_middle_loses_nothing_and_keeps_the_message() {
    let receiver = Receiver::start(&[Answer::Hang, Answer::Hang]).await;
    let mut post = Post::new(&[webhook("ops", &receiver.url("/"))]).await;
    let mut ids = Vec::new();
    for alarm in 1..4 {
        ids.extend(post.tell(&notice(alarm, NoticeKind::Raised)).await);
    }
    post.start();
    receiver.until_requests(1).await;
    post.kill().await;
    // What comes meanwhile goes apart: the message that may have arrived stays what it was.
    let later = post.tell(&notice(9, NoticeKind::Raised)).await;
    post.start();
    receiver.until_requests(2).await;
    post.stop().await;
    assert!(post.rows(&ids).await.iter().all(|row| row.state == Waiting && row.attempts > 0));
    post.start();
    post.until_state(&ids, Sent).await;
    post.until_state(&later, Sent).await;
    let mut keys: HashMap<String, usize> = HashMap::new();
    for request in receiver.requests() {
        let alerts = request.body["alerts"].as_array().unwrap().len();
        let known = keys.entry(request.headers["idempotency-key"].clone()).or_insert(alerts);
        assert_eq!(*known, alerts);
    }
    assert_eq!(keys.into_values().max(), Some(3));
    post.stop().await;
}

#[tokio::test]
async fn what_is_silenced_or_has_no_target_is_cancelled() {
    let receiver = Receiver::start(&[]).await;
    let targets = [
        webhook("ops", &receiver.url("/")),
        json!({"name": "topics", "channel": {"type": "mqtt"}}),
    ];
    let mut post = Post::new(&targets).await;
    post.silence(json!({"rules": ["Boiler*"]}));
    let raised = post.tell(&notice(1, NoticeKind::Raised)).await;
    let cleared = post.tell(&notice(1, NoticeKind::Cleared)).await;
    let mut other = notice(2, NoticeKind::Raised);
    other.rule.name = "Other".to_owned();
    let other = post.tell(&other).await;
    post.start();
    post.until_state(&raised, Cancelled).await;
    assert_eq!(post.row(raised[0]).await.error.as_deref(), Some("silence 5"));
    post.until_state(&cleared[..1], Cancelled).await;
    post.until_state(&cleared[1..], Sent).await;
    post.until_state(&other, Sent).await;
    post.stop().await;

    let orphans = post.tell(&notice(3, NoticeKind::Raised)).await;
    post.notifier.set_targets(Vec::new());
    post.start();
    post.until_state(&orphans, Cancelled).await;
    post.stop().await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_edited_target_is_used_at_once() {
    let (old, new) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let mut post = Post::started(&[webhook("ops", &old.url("/"))]).await;
    let ids = post.tell(&notice(1, NoticeKind::Raised)).await;
    post.until_state(&ids, Sent).await;
    post.notifier.set_targets(vec![target(&webhook("ops", &new.url("/")))]);
    let ids = post.tell(&notice(2, NoticeKind::Raised)).await;
    post.until_state(&ids, Sent).await;
    let found = eventually(|| !new.requests().is_empty() || old.requests().len() > 1).await;
    assert!(found);
    post.stop().await;
}

/// Whatever the server does, everything arrives, what is told of one alarm in order, and a message
/// that comes again is the one that came before.
#[tokio::test]
async fn a_server_of_moods_gets_everything_in_each_alarms_order() {
    let mut seed = 7_u64;
    let mut random = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    let answers: Vec<Answer> = (0..150)
        .map(|_| match random(5) {
            0 => Answer::HangUp,
            1 | 2 => Answer::status("502 Bad Gateway"),
            _ => Answer::status("204 No Content"),
        })
        .collect();
    let receiver = Receiver::start(&answers).await;
    let mut wanted = webhook("ops", &receiver.url("/"));
    wanted["group_max"] = json!(7);
    wanted["group_by"] = json!(["severity"]);
    let mut post = Post::started(std::slice::from_ref(&wanted)).await;
    let mut ids = Vec::new();
    for step in 0..300 {
        let alarm = i64::try_from(random(20)).unwrap();
        let mut notice = notice(alarm, NoticeKind::Repeated);
        notice.severity = Severity::ALL[usize::try_from(random(5)).unwrap()];
        notice.message = step.to_string();
        ids.extend(post.tell(&notice).await);
        match random(40) {
            0 => {
                post.kill().await;
                post.start();
            }
            1 => {
                post.stop().await;
                post.start();
            }
            // At any moment of what is under way.
            2..10 => tokio::time::sleep(std::time::Duration::from_millis(3)).await,
            _ => {}
        }
    }
    post.until_state(&ids, Sent).await;
    post.stop().await;

    let mut by_key: HashMap<String, Value> = HashMap::new();
    let mut first_seen: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for request in receiver.requests() {
        let alerts = &request.body["alerts"];
        let key = request.headers["idempotency-key"].clone();
        assert!(alerts.as_array().unwrap().len() <= 7);
        assert_eq!(by_key.entry(key).or_insert_with(|| alerts.clone()), alerts);
        for alert in alerts.as_array().unwrap() {
            let step = alert["brooklet"]["message"].as_str().unwrap().parse().unwrap();
            let seen =
                first_seen.entry(alert["brooklet"]["alarm_id"].as_i64().unwrap()).or_default();
            if !seen.contains(&step) {
                seen.push(step);
            }
        }
    }
    assert_eq!(first_seen.values().map(Vec::len).sum::<usize>(), 300);
    assert!(first_seen.values().all(|steps| steps.is_sorted()), "{first_seen:?}");
}
