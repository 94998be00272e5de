//! UNSUBSCRIBE and UNSUBACK (MQTT 5.0 §3.10, §3.11; 3.1.1 the same).

use super::packets::{BOTH, Connect, PUBCOMP, PUBREC, PUBREL, ack};
use crate::{
    harness::Brooklet,
    wire::{packet, text},
};

#[tokio::test]
async fn each_filter_is_looked_up_as_it_is_written() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        let held = [("u/+", 0), ("u/#", 0), ("u/a", 0), ("U/a", 0), ("$share/g/u/a", 0)];
        client.subscribe_all(&[], &held).await;
        let unsuback = client.unsubscribe_all(&["u/b", "u/+", "u", "u/+", "u/A", "/u/a"]).await;
        let codes: &[u8] = if level == 5 { &[0x11, 0, 0x11, 0x11, 0x11, 0x11] } else { &[] };
        assert_eq!(unsuback.codes, codes);
        let unsuback = client.unsubscribe_all(&["u/#", "u/a", "$share/h/u/a"]).await;
        let codes: &[u8] = if level == 5 { &[0, 0, 0x11] } else { &[] };
        assert_eq!(unsuback.codes, codes);
        client.publish_qos0("u/a", "by the shared one").await;
        assert_eq!(client.delivery().await.text(), "by the shared one");
        client.publish_qos0("U/a", "untouched").await;
        assert_eq!(client.delivery().await.text(), "untouched");
        client.unsubscribe_all(&["$share/g/u/a"]).await;
        client.publish_qos0("u/a", "to nobody").await;
        assert!(client.is_quiet().await);
    }
}

#[tokio::test]
async fn unsuback_answers_every_unsubscribe_by_its_identifier() {
    let brooklet = Brooklet::start().await;
    for level in BOTH {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let mut client = Connect::new(level, "c").client(&brooklet).await;
        for id in [1_u16, 0x1234, 65_535] {
            let body = [&id.to_be_bytes()[..], properties, &text("never held")].concat();
            client.send(&packet(0xA2, &body)).await;
            let codes: &[u8] = if level == 5 { &[0x11] } else { &[] };
            let unsuback = client.answer().await;
            assert_eq!((unsuback.first, unsuback.id, &unsuback.codes[..]), (0xB0, id, codes));
        }
        let invalid = client.unsubscribe_all(&["a/#/b"]).await;
        let is_known = |code: &u8| [0x11, 0x8F].contains(code);
        assert!(invalid.codes.iter().all(is_known), "{invalid:?}");
    }
}

#[tokio::test]
async fn a_delivery_under_way_is_completed_and_no_other_begins() {
    let brooklet = Brooklet::start().await;
    let mut publisher = brooklet.connect("publisher").await;
    for level in BOTH {
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        client.subscribe("ends", 2).await;
        publisher.publish_qos2("ends", "under way").await;
        publisher.publish("ends", "under way too").await;
        let (two, one) = (client.delivery().await, client.delivery().await);
        client.unsubscribe_all(&["ends"]).await;
        publisher.publish_qos2("ends", "too late").await;
        client.send(&ack(PUBREC, two.id)).await;
        client.expect_ack(PUBREL, two.id).await;
        client.send(&ack(PUBCOMP, two.id)).await;
        assert!(client.is_quiet().await);
        client.leave().await;
        let mut client = Connect::lasting(level, "c").client(&brooklet).await;
        let again = client.delivery().await;
        assert_eq!((again.id, again.dup, again.text()), (one.id, true, "under way too"));
        client.complete(&again).await;
        assert!(client.is_quiet().await);
        Connect::new(level, "c").client(&brooklet).await;
    }
}
