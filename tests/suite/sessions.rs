//! What outlives the connection and the process: sessions, what they are owed, retained messages,
//! wills.

use crate::{
    harness::Brooklet,
    wire::{Client, Packet, connect, packet, text},
};

/// A CONNECT that resumes, of a session that is kept for an hour.
fn keeps(client_id: &str) -> Vec<u8> {
    connect(5, 0, 60, &[17, 0, 0, 14, 16], client_id)
}

async fn resume(brooklet: &Brooklet, client_id: &str) -> (Client, bool) {
    let (client, connack) = Client::open(brooklet.mqtt, keeps(client_id), true).await;
    (client, connack.body[0] == 1)
}

async fn killed(mut brooklet: Brooklet) -> Brooklet {
    brooklet.kill();
    brooklet.restart().await
}

async fn send_ack(client: &mut Client, first: u8, id: u16) {
    client.send(&packet(first, &id.to_be_bytes())).await;
}

/// Takes so many messages through all their steps; their first bytes and payloads.
async fn receive(client: &mut Client, count: usize) -> Vec<(u8, String)> {
    let (mut messages, mut under_way) = (Vec::new(), 0);
    while messages.len() < count || under_way > 0 {
        let Packet { first, body } = client.packet().await.expect("a packet");
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        if first >> 4 == 6 {
            send_ack(client, 0x70, word(0)).await;
            under_way -= 1;
            continue;
        }
        assert_eq!(first >> 4, 3, "{first:x} {body:?}");
        let topic_end = 2 + usize::from(word(0));
        let start = topic_end + 2 + usize::from(client.is_v5);
        messages.push((first, String::from_utf8(body[start..].to_vec()).unwrap()));
        let is_qos2 = first & 0b100 != 0;
        under_way += usize::from(is_qos2);
        send_ack(client, if is_qos2 { 0x50 } else { 0x40 }, word(topic_end)).await;
    }
    messages
}

#[tokio::test]
async fn what_an_absent_client_is_owed_outlives_kill_9() {
    let brooklet = Brooklet::start().await;
    for version in [4, 5] {
        let name = format!("keeper{version}");
        let hello = || match version {
            4 => connect(4, 0, 60, &[], &name),
            _ => keeps(&name),
        };
        let (mut keeper, connack) = Client::open(brooklet.mqtt, hello(), version == 5).await;
        assert_eq!(connack.body[0], 0);
        assert_eq!(keeper.subscribe("owed/+", 2).await, 2);
    }
    let mut publisher = brooklet.connect("publisher").await;
    for n in 0..50 {
        publisher.publish("owed/1", format!("one {n}")).await;
        publisher.publish_qos2("owed/2", format!("two {n}")).await;
    }
    let brooklet = killed(brooklet).await;
    for version in [4, 5] {
        let name = format!("keeper{version}");
        let hello = if version == 4 { connect(4, 0, 60, &[], &name) } else { keeps(&name) };
        let (mut keeper, connack) = Client::open(brooklet.mqtt, hello, version == 5).await;
        assert_eq!(connack.body[0], 1, "session present");
        let expected: Vec<_> = (0..50)
            .flat_map(|n| [(0x32, format!("one {n}")), (0x34, format!("two {n}"))])
            .collect();
        assert_eq!(receive(&mut keeper, 100).await, expected);
        assert!(keeper.is_quiet().await);
        keeper.send(&packet(0xE0, &[])).await;
    }
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("owed/1", "subscribed still").await;
    let (mut keeper, _) = resume(&brooklet, "keeper5").await;
    assert_eq!(keeper.message().await.3, b"subscribed still");
}

#[tokio::test]
async fn what_was_under_way_comes_again_with_its_packet_id() {
    let brooklet = Brooklet::start().await;
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    keeper.subscribe("a", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "one").await;
    publisher.publish_qos2("a", "two").await;
    publisher.publish_qos2("a", "three").await;
    let one = keeper.message().await.2;
    let two = keeper.message().await.2;
    let three = keeper.message().await.2;
    send_ack(&mut keeper, 0x50, two).await;
    assert_eq!(keeper.ack().await.first, 0x62);
    let brooklet = killed(brooklet).await;
    let (mut keeper, is_present) = resume(&brooklet, "keeper").await;
    assert!(is_present);
    let (first, _, id, payload) = keeper.message().await;
    assert_eq!((first, id, payload), (0x3A, one, b"one".to_vec()));
    let release = keeper.ack().await;
    assert_eq!((release.first, release.id), (0x62, two));
    let (first, _, id, payload) = keeper.message().await;
    assert_eq!((first, id, payload), (0x3C, three, b"three".to_vec()));
    send_ack(&mut keeper, 0x70, two).await;
    send_ack(&mut keeper, 0x50, three).await;
    assert_eq!(keeper.ack().await.first, 0x62);
    send_ack(&mut keeper, 0x70, three).await;
    send_ack(&mut keeper, 0x40, one).await;
    assert!(keeper.is_quiet().await);
}

#[tokio::test]
async fn a_released_packet_id_swallows_nothing_after_a_restart() {
    let brooklet = Brooklet::start().await;
    let (mut watcher, _) = resume(&brooklet, "watcher").await;
    watcher.subscribe("a", 1).await;
    let (mut client, _) = resume(&brooklet, "client").await;
    let once = client.publish_packet(0x34, "a", 7, b"once");
    client.send(&once).await;
    assert_eq!(client.ack().await.first, 0x50);
    let brooklet = killed(brooklet).await;

    let (mut client, is_present) = resume(&brooklet, "client").await;
    assert!(is_present);
    let mut again = once;
    again[0] |= 8;
    client.send(&again).await;
    assert_eq!(client.ack().await.first, 0x50);
    send_ack(&mut client, 0x62, 7).await;
    assert_eq!((client.ack().await.first, 0), (0x70, 0));
    let brooklet = killed(brooklet).await;

    let (mut client, _) = resume(&brooklet, "client").await;
    let next = client.publish_packet(0x34, "a", 7, b"next");
    client.send(&next).await;
    assert_eq!(client.ack().await.first, 0x50);
    let (mut watcher, _) = resume(&brooklet, "watcher").await;
    for expected in [&b"once"[..], b"next"] {
        let (_, _, id, payload) = watcher.message().await;
        assert_eq!(payload, expected);
        send_ack(&mut watcher, 0x40, id).await;
    }
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn unsubscribing_and_a_clean_start_outlive_kill_9_too() {
    let brooklet = Brooklet::start().await;
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    keeper.subscribe("a", 1).await;
    keeper.subscribe("b", 1).await;
    let body = [&9u16.to_be_bytes()[..], &[0], &text("a")].concat();
    keeper.send(&packet(0xA2, &body)).await;
    assert_eq!(keeper.packet().await.unwrap().first, 0xB0);
    let (mut other, _) = resume(&brooklet, "other").await;
    other.subscribe("a", 1).await;
    let anew = connect(5, 2, 60, &[17, 0, 0, 14, 16], "other");
    Client::open(brooklet.mqtt, anew, true).await;
    let brooklet = killed(brooklet).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "not owed").await;
    publisher.publish("b", "owed").await;
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    assert_eq!(keeper.message().await.3, b"owed");
    let (mut other, is_present) = resume(&brooklet, "other").await;
    assert!(is_present && other.is_quiet().await);
}

#[tokio::test]
async fn retained_messages_outlive_kill_9_and_deleted_ones_do_not() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for n in 0..300 {
        let bytes = publisher.publish_packet(0x33, &format!("kept/{n:03}"), 9, b"old");
        publisher.send(&bytes).await;
        assert_eq!(publisher.ack().await.first, 0x40);
    }
    for (topic, payload) in [("kept/000", &b""[..]), ("kept/001", b"new")] {
        let bytes = publisher.publish_packet(0x33, topic, 9, payload);
        publisher.send(&bytes).await;
        publisher.ack().await;
    }
    let brooklet = killed(brooklet).await;
    let mut reader = brooklet.connect("reader").await;
    reader.subscribe("kept/#", 0).await;
    for n in 1..300 {
        let (first, topic, _, payload) = reader.message().await;
        assert_eq!((first, topic), (0x31, format!("kept/{n:03}")));
        assert_eq!(payload, if n == 1 { b"new" } else { b"old" });
    }
    assert!(reader.is_quiet().await);
}

#[tokio::test]
async fn an_interrupted_replay_goes_on_where_it_stopped() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for n in 0..1_000 {
        let bytes = publisher.publish_packet(0x33, &format!("kept/{n:03}"), 9, b"x");
        publisher.send(&bytes).await;
        publisher.ack().await;
    }
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    keeper.subscribe("kept/#", 1).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        let (_, topic, id, _) = keeper.message().await;
        seen.insert(topic);
        send_ack(&mut keeper, 0x40, id).await;
    }
    let brooklet = killed(brooklet).await;
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    while seen.len() < 1_000 {
        let (_, topic, id, _) = keeper.message().await;
        seen.insert(topic);
        send_ack(&mut keeper, 0x40, id).await;
    }
    assert!(keeper.is_quiet().await);
}

fn with_will(client_id: &str, properties: &[u8], delay: u32) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 0b0000_1100, 0, 60, properties.len() as u8]);
    body.extend(properties);
    body.extend(text(client_id));
    body.push(5);
    body.push(24);
    body.extend(delay.to_be_bytes());
    body.extend(text("wills"));
    body.extend(text(client_id));
    packet(0x10, &body)
}

#[tokio::test]
async fn a_killed_broker_says_the_wills_at_its_next_start() {
    let brooklet = Brooklet::start().await;
    let (mut heir, _) = resume(&brooklet, "heir").await;
    heir.subscribe("wills", 1).await;
    let (_gone, _) = Client::open(brooklet.mqtt, with_will("gone", &[], 0), true).await;
    let (mut withdrawn, _) = Client::open(brooklet.mqtt, with_will("bye", &[], 0), true).await;
    withdrawn.send(&packet(0xE0, &[])).await;
    assert!(withdrawn.packet().await.is_none());
    let hour = [17, 0, 0, 14, 16];
    let (delayed, _) = Client::open(brooklet.mqtt, with_will("delayed", &hour, 2), true).await;
    let (_late, _) = Client::open(brooklet.mqtt, with_will("late", &hour, 3_000), true).await;
    drop(delayed);
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("wills", "first").await;
    let brooklet = killed(brooklet).await;
    let (mut heir, _) = resume(&brooklet, "heir").await;
    for expected in [&b"first"[..], b"gone", b"delayed"] {
        let (_, _, id, payload) = heir.message().await;
        assert_eq!(String::from_utf8_lossy(&payload), String::from_utf8_lossy(expected));
        send_ack(&mut heir, 0x40, id).await;
    }
    assert!(heir.is_quiet().await);
    let brooklet = killed(brooklet).await;
    let (mut heir, _) = resume(&brooklet, "heir").await;
    heir.send(&[0xC0, 0]).await;
    while let Some(Packet { first, .. }) = heir.packet().await
        && first != 0xD0
    {
        assert_eq!(first, 0x3A, "no will is said twice, but by redelivery");
    }
}

#[tokio::test]
async fn a_session_expires_while_the_broker_is_down() {
    let brooklet = Brooklet::start().await;
    let second = || connect(5, 0, 60, &[17, 0, 0, 0, 1], "brief");
    let (mut brief, _) = Client::open(brooklet.mqtt, second(), true).await;
    brief.subscribe("a", 1).await;
    brief.send(&packet(0xE0, &[])).await;
    assert!(brief.packet().await.is_none());
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "owed").await;
    let mut brooklet = brooklet;
    brooklet.kill();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let brooklet = brooklet.restart().await;
    let (mut brief, connack) = Client::open(brooklet.mqtt, second(), true).await;
    assert_eq!(connack.body[0], 0);
    assert!(brief.is_quiet().await);
}

#[tokio::test]
async fn a_graceful_stop_keeps_everything_and_leaves_no_rows_behind() {
    if crate::servers::is_elsewhere() {
        return;
    }
    let brooklet = Brooklet::start().await;
    let (mut keeper, _) = resume(&brooklet, "keeper").await;
    keeper.subscribe("a", 1).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("a", "acknowledged").await;
    let id = keeper.message().await.2;
    send_ack(&mut keeper, 0x40, id).await;
    assert!(keeper.is_quiet().await);
    let brooklet = brooklet.restart().await;
    let (mut keeper, is_present) = resume(&brooklet, "keeper").await;
    assert!(is_present && keeper.is_quiet().await);
    let anew = connect(5, 2, 60, &[], "keeper");
    Client::open(brooklet.mqtt, anew, true).await;
    let database = brooklet.database();
    let mut brooklet = brooklet;
    brooklet.stop().await;
    let database = rusqlite::Connection::open(database).unwrap();
    for table in ["session", "subscription", "message", "queue", "unreleased", "will"] {
        let sql = format!("SELECT count(*) FROM mqtt_{table}");
        let rows: i64 = database.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn shared_members_that_leave_leave_their_messages_to_others() {
    let brooklet = Brooklet::start().await;
    let (mut one, _) = resume(&brooklet, "one").await;
    one.subscribe("$share/g/work", 2).await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.publish("work", "unacknowledged").await;
    publisher.publish_qos2("work", "begun").await;
    assert_eq!(one.message().await.3, b"unacknowledged");
    assert_eq!(one.message().await.3, b"begun");
    let (mut two, _) = resume(&brooklet, "two").await;
    two.subscribe("$share/g/work", 2).await;
    drop(one);
    let (first, _, id, payload) = two.message().await;
    assert_eq!((first, payload), (0x32, b"unacknowledged".to_vec()));
    send_ack(&mut two, 0x40, id).await;
    assert!(two.is_quiet().await, "QoS 2 under way stays with its member");
    let (mut one, _) = resume(&brooklet, "one").await;
    let (first, _, _, payload) = one.message().await;
    assert_eq!((first, payload), (0x3C, b"begun".to_vec()));
    // A refusal ends it for everybody.
    publisher.publish("work", "refused").await;
    publisher.publish("work", "refused").await;
    for member in [&mut one, &mut two] {
        let (_, _, id, payload) = member.message().await;
        assert_eq!(payload, b"refused");
        member.send(&packet(0x40, &[&id.to_be_bytes()[..], &[0x83]].concat())).await;
    }
    assert!(one.is_quiet().await && two.is_quiet().await);
}

#[tokio::test]
async fn by_topic_each_topic_keeps_its_member() {
    let brooklet = Brooklet::with(&[("MQTT__SHARED_SUBSCRIPTIONS", "by_topic")]).await;
    let mut members = Vec::new();
    for n in 0..3 {
        let mut member = brooklet.connect(&format!("member{n}")).await;
        member.subscribe("$share/g/d/+", 0).await;
        members.push(member);
    }
    let mut publisher = brooklet.connect("publisher").await;
    for round in 0..3 {
        for topic in 0..30 {
            publisher.publish(&format!("d/{topic}"), round.to_string()).await;
        }
    }
    let mut total = 0;
    for member in &mut members {
        let mut rounds = std::collections::BTreeMap::<String, Vec<u8>>::new();
        member.send(&[0xC0, 0]).await;
        while let Some(Packet { first, body }) = member.packet().await
            && first != 0xD0
        {
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
            rounds.entry(topic).or_default().push(*body.last().unwrap());
        }
        assert!(!rounds.is_empty());
        assert!(rounds.values().all(|seen| seen == b"012"), "{rounds:?}");
        total += rounds.len();
    }
    assert_eq!(total, 30);
}
