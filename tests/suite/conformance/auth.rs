//! Enhanced authentication (MQTT 5.0 §3.15, §4.12): the broker has no method, says so, and takes no
//! AUTH.

use super::{
    packets::Connect,
    property::{Property as P, list},
};
use crate::{
    harness::Brooklet,
    wire::{Client, packet},
};

#[tokio::test]
async fn an_authentication_method_is_refused() {
    let brooklet = Brooklet::start().await;
    let method = P::AuthenticationMethod("SCRAM-SHA-1".to_owned());
    let data = P::AuthenticationData(b"client-first".to_vec());
    for properties in [vec![method.clone()], vec![method.clone(), data.clone()], vec![data, method]]
    {
        let connect = Connect { properties, ..Connect::new(5, "c") };
        let (mut client, connack) = connect.attempt(&brooklet).await;
        let connack = connack.unwrap();
        assert!(connack.is_refusal(0x8C), "{connack:?}");
        let is_method = |p: &P| matches!(p, P::AuthenticationMethod(_));
        assert!(!connack.properties.iter().any(is_method));
        assert!(client.packet().await.is_none());
    }
}

#[tokio::test]
async fn authentication_data_without_a_method_is_a_protocol_error() {
    let brooklet = Brooklet::start().await;
    let connect = Connect::new(5, "c").with(P::AuthenticationData(b"data".to_vec()));
    let (mut client, connack) = connect.attempt(&brooklet).await;
    assert!(connack.unwrap().is_refusal(0x82));
    assert!(client.packet().await.is_none());
}

#[tokio::test]
async fn auth_without_a_method_is_a_protocol_error() {
    let brooklet = Brooklet::start().await;
    let method = list(&[P::AuthenticationMethod("SCRAM-SHA-1".to_owned())]);
    for body in
        [vec![], vec![0x18], [&[0x18], &method[..]].concat(), [&[0x19], &method[..]].concat()]
    {
        let mut client = brooklet.connect("c").await;
        client.send(&packet(0xF0, &body)).await;
        client.expect_end(0x82).await;
    }
    let mut flagged = brooklet.connect("c").await;
    flagged.send(&packet(0xF1, &[])).await;
    flagged.expect_end(0x81).await;
    let mut old = brooklet.connect_v4("old").await;
    old.send(&packet(0xF0, &[])).await;
    assert!(old.packet().await.is_none(), "3.1.1 has no such packet");
}

#[tokio::test]
async fn auth_before_connect_closes() {
    let brooklet = Brooklet::start().await;
    let mut client = Client::raw(brooklet.mqtt).await;
    client.send(&packet(0xF0, &[])).await;
    assert!(client.packet().await.is_none());
}
