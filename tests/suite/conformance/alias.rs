//! Topic aliases (MQTT 5.0 §3.3.2.3.4): taken from clients, and used towards those that understand them.

use std::collections::BTreeMap;

use super::{
    packets::{Connect, PUBACK, publish5},
    property::Property as P,
};
use crate::{harness::Brooklet, wire::Client};

fn aliased(topic: &str, alias: u16) -> Vec<u8> {
    publish5(0x30, topic, 0, &[P::TopicAlias(alias)], b"x")
}

async fn next_topic(watcher: &mut Client) -> String {
    watcher.delivery().await.topic
}

#[tokio::test]
async fn an_alias_stands_for_its_topic() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_TOPIC_ALIASES", "3")]).await;
    let mut watcher = brooklet.connect("watcher").await;
    watcher.subscribe("alias/#", 0).await;
    let (mut client, connack) = Connect::new(5, "c").open(&brooklet).await;
    assert!(connack.properties.contains(&P::TopicAliasMaximum(3)));
    for alias in 1..=3 {
        let topic = format!("alias/{alias}");
        for sent in [topic.as_str(), "", ""] {
            client.send(&aliased(sent, alias)).await;
            assert_eq!(next_topic(&mut watcher).await, topic);
        }
    }
    client.send(&aliased("alias/new", 2)).await;
    client.send(&aliased("", 2)).await;
    client.send(&aliased("", 3)).await;
    client.send(&publish5(0x32, "", 9, &[P::TopicAlias(2)], b"x")).await;
    client.expect_ack(PUBACK, 9).await;
    for expected in ["alias/new", "alias/new", "alias/3", "alias/new"] {
        assert_eq!(next_topic(&mut watcher).await, expected);
    }
    // Two aliases may stand for one topic.
    client.send(&aliased("alias/new", 1)).await;
    client.send(&aliased("", 1)).await;
    client.send(&aliased("", 2)).await;
    for _ in 0..3 {
        assert_eq!(next_topic(&mut watcher).await, "alias/new");
    }
    assert!(watcher.is_quiet().await);
}

#[tokio::test]
async fn an_alias_is_of_one_connection() {
    let brooklet = Brooklet::start().await;
    let mut client = Connect::lasting(5, "c").client(&brooklet).await;
    client.send(&aliased("a", 1)).await;
    assert!(client.is_quiet().await);
    let mut other = brooklet.connect("other").await;
    other.send(&aliased("", 1)).await;
    other.expect_end(0x94).await;
    client.leave().await;
    let (mut client, connack) = Connect::lasting(5, "c").open(&brooklet).await;
    assert!(connack.session_present);
    client.send(&aliased("", 1)).await;
    client.expect_end(0x94).await;
}

#[tokio::test]
async fn an_alias_must_be_one_that_was_offered() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_TOPIC_ALIASES", "3")]).await;
    for alias in [0, 4, 65_535] {
        for topic in ["a", ""] {
            let mut client = brooklet.connect("c").await;
            client.send(&aliased(topic, alias)).await;
            client.expect_end(0x94).await;
        }
    }
    let mut client = brooklet.connect("c").await;
    client.send(&aliased("", 1)).await;
    client.expect_end(0x94).await;
}

#[tokio::test]
async fn where_no_alias_is_offered_none_is_taken() {
    let brooklet = Brooklet::with(&[("MQTT__MAX_TOPIC_ALIASES", "0")]).await;
    let (mut client, connack) = Connect::new(5, "c").open(&brooklet).await;
    let offers = |p: &P| matches!(p, P::TopicAliasMaximum(1..));
    assert!(!connack.properties.iter().any(offers));
    client.send(&aliased("a", 1)).await;
    client.expect_end(0x94).await;
}

#[tokio::test]
async fn the_server_stays_within_the_aliases_a_client_offers() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for offered in [None, Some(0), Some(1), Some(65_535)] {
        let mut connect = Connect::new(5, "c");
        connect.properties = offered.map(P::TopicAliasMaximum).into_iter().collect();
        let mut client = connect.client(&brooklet).await;
        client.subscribe("served/#", 0).await;
        let mut topics = BTreeMap::new();
        for n in 0..6 {
            publisher.send(&aliased(&format!("served/{}", n % 2), 1 + n % 2)).await;
            let message = client.delivery().await;
            for property in &message.properties {
                let P::TopicAlias(alias) = property else { panic!("{property:?}") };
                assert!((1..=offered.unwrap_or(0)).contains(alias));
                if !message.topic.is_empty() {
                    topics.insert(*alias, message.topic.clone());
                }
                assert_eq!(topics[alias], format!("served/{}", n % 2));
            }
            let is_spelled = message.properties.is_empty() || n < 2;
            assert_eq!(message.topic.is_empty(), !is_spelled, "{message:?}");
        }
        let expected = usize::from(offered.unwrap_or(0)).min(2);
        assert_eq!(topics.len(), expected, "as many as the client understands are used");
    }
}
