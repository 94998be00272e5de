//! Shared subscriptions (MQTT 5.0 §4.8.2): one member of a group gets each message, and nobody else
//! gets it afterwards.

use super::{
    packets::{BOTH, Connect, Message, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack5},
    property::Property as P,
};
use crate::{harness::Brooklet, wire::Client};

/// The member that got the message, and the message; there must be one of each.
async fn chosen(members: &mut [Client; 2]) -> (usize, Message) {
    let mut found = None;
    for (n, member) in members.iter_mut().enumerate() {
        for message in member.deliveries().await {
            assert!(found.replace((n, message)).is_none());
        }
    }
    found.expect("a member that gets the message")
}

async fn two_members(brooklet: &Brooklet) -> [Client; 2] {
    [member(brooklet, "a", 2).await, member(brooklet, "b", 2).await]
}

const IDS: [&str; 2] = ["a", "b"];

async fn member(brooklet: &Brooklet, id: &str, qos: u8) -> Client {
    let mut client = Connect::lasting(5, id).client(brooklet).await;
    assert_eq!(client.subscribe("$share/g/jobs/+", qos).await, qos);
    client
}

#[tokio::test]
async fn each_group_gets_each_message_once() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let filters = ["$share/g/jobs/#", "$share/g/jobs/#", "$share/h/jobs/#", "$share/g/jobs/+"];
    let mut clients = Vec::new();
    for (n, filter) in filters.iter().enumerate() {
        let mut client = brooklet.connect(&format!("c{n}")).await;
        client.subscribe(filter, 1).await;
        clients.push(client);
    }
    let mut plain = brooklet.connect("plain").await;
    plain.subscribe("jobs/#", 0).await;
    for n in 0..20 {
        publisher.publish(&format!("jobs/{n}"), "x").await;
        plain.delivery().await;
    }
    assert!(plain.is_quiet().await);
    let mut counts = Vec::new();
    for client in &mut clients {
        counts.push(client.deliveries().await.len());
    }
    assert_eq!(counts[0] + counts[1], 20, "{counts:?}");
    assert!(counts[0] > 0 && counts[1] > 0, "both members work: {counts:?}");
    assert_eq!(counts[2..], [20, 20], "another name or another filter is another group");
}

#[tokio::test]
async fn a_share_has_a_name_and_a_filter() {
    let brooklet = Brooklet::start().await;
    for (level, refused) in [(4, 0x80), (5, 0x8F)] {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for filter in [
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/#/a",
            "$share/g+/a",
            "$share/g#/a",
            "$share/g/a#",
            "$share/g/#/a",
        ] {
            assert_eq!(client.subscribe(filter, 0).await, refused, "{filter}");
        }
        for filter in ["$share/g/#", "$share/g/+/a", "$share/g//", "$share/ /a", "$share/温/a"] {
            assert_eq!(client.subscribe(filter, 1).await, 1, "{filter}");
        }
    }
}

#[tokio::test]
async fn each_member_gets_its_granted_qos() {
    let brooklet = Brooklet::start().await;
    let (mut a, mut b) = (member(&brooklet, "a", 0).await, member(&brooklet, "b", 2).await);
    let mut publisher = brooklet.connect("publisher").await;
    for _ in 0..8 {
        publisher.publish_qos2("jobs/1", "x").await;
    }
    let (to_a, to_b) = (a.deliveries().await, b.deliveries().await);
    assert_eq!(to_a.len() + to_b.len(), 8);
    assert!(to_a.iter().all(|message| message.qos == 0));
    assert!(to_b.iter().all(|message| message.qos == 2));
}

#[tokio::test]
async fn an_interrupted_qos_2_delivery_is_completed_to_the_same_member() {
    let brooklet = Brooklet::start().await;
    let mut members = two_members(&brooklet).await;
    let mut publisher = brooklet.connect("publisher").await;
    for is_received in [false, true] {
        publisher.publish_qos2("jobs/1", "once").await;
        let (n, message) = chosen(&mut members).await;
        if is_received {
            members[n].send(&ack(PUBREC, message.id)).await;
            members[n].expect_ack(PUBREL, message.id).await;
        }
        members[n] = Connect::lasting(5, IDS[n]).client(&brooklet).await;
        let member = &mut members[n];
        if !is_received {
            let again = member.delivery().await;
            assert_eq!((again.dup, again.id, again.text()), (true, message.id, "once"));
            member.send(&ack(PUBREC, message.id)).await;
        }
        member.expect_ack(PUBREL, message.id).await;
        member.send(&ack(PUBCOMP, message.id)).await;
        for member in &mut members {
            assert!(member.is_quiet().await);
        }
    }
}

#[tokio::test]
async fn a_message_sent_to_one_member_goes_to_no_other() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    // Refused by its receiver, or left behind by a session that ends.
    for (qos, refusal) in [(1, Some(PUBACK)), (2, Some(PUBREC)), (2, None)] {
        let mut members = two_members(&brooklet).await;
        publisher.publish_at(qos, "jobs/1", "once").await;
        let (n, message) = chosen(&mut members).await;
        match refusal {
            Some(first) => members[n].send(&ack5(first, message.id, 0x80)).await,
            None => members[n] = Connect::new(5, IDS[n]).client(&brooklet).await,
        }
        for member in &mut members {
            assert!(member.is_quiet().await);
        }
        for id in IDS {
            Connect::new(5, id).client(&brooklet).await;
        }
    }
}

#[tokio::test]
async fn a_group_is_not_sent_what_is_retained() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    publisher.retain("jobs/kept", "kept").await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        client.subscribe("$share/g/jobs/#", 1).await;
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn members_come_and_go() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    let mut a = brooklet.connect("a").await;
    let identifier = [P::SubscriptionIdentifier(3)];
    a.subscribe_all(&identifier, &[("$share/g/jobs/+", 1)]).await;
    let b = member(&brooklet, "b", 1).await;
    b.leave().await;
    for _ in 0..4 {
        publisher.publish("jobs/1", "to who is there").await;
        let message = a.delivery().await;
        assert_eq!(message.properties, identifier);
        a.complete(&message).await;
    }
    a.unsubscribe_all(&["$share/g/jobs/+"]).await;
    publisher.publish("jobs/1", "to who will be there").await;
    assert!(a.is_quiet().await);
    let mut b = Connect::lasting(5, "b").client(&brooklet).await;
    assert_eq!(b.delivery().await.text(), "to who will be there");
}
