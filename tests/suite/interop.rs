//! rumqttc, a client library that is not ours, in both versions: every QoS both ways, retained
//! messages, wills, sessions that are kept, shared subscriptions, passwords, properties.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use brooklet::access::hash_password;
use rumqttc::{self as v4, v5, v5::mqttbytes::v5::PublishProperties};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::harness::{Brooklet, PATIENCE};

/// What a client says of its connection.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Connected {
        is_resumed: bool,
    },
    Subscribed,
    Acknowledged,
    /// The other side's last word on a QoS 2 message.
    Released,
    Message(Box<Message>),
    Ended(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Message {
    topic: String,
    payload: String,
    qos: u8,
    is_retained: bool,
    properties: PublishProperties,
}

/// What a client connects with.
#[derive(Clone, Copy)]
struct Wish {
    address: SocketAddr,
    id: &'static str,
    password: &'static str,
    is_kept: bool,
    will: Option<&'static str>,
}

/// One version's half of the library; they are alike, but not in their types.
trait Version {
    type Handle;

    fn open(wish: Wish, sender: UnboundedSender<Told>) -> (Self::Handle, JoinHandle<()>);
    async fn subscribe(handle: &Self::Handle, filter: &str, qos: u8);
    async fn publish(handle: &Self::Handle, topic: &str, qos: u8, payload: &str, retain: bool);
    async fn disconnect(handle: &Self::Handle);
}

struct V4;
struct V5;

impl Version for V4 {
    type Handle = v4::AsyncClient;

    fn open(wish: Wish, sender: UnboundedSender<Told>) -> (Self::Handle, JoinHandle<()>) {
        let (host, port) = (wish.address.ip().to_string(), wish.address.port());
        let mut options = v4::MqttOptions::new(wish.id, host, port);
        options.set_credentials("ann", wish.password).set_clean_session(!wish.is_kept);
        if let Some(topic) = wish.will {
            let will = v4::LastWill::new(topic, "gone", v4::QoS::AtLeastOnce, false);
            options.set_last_will(will);
        }
        let (handle, mut events) = v4::AsyncClient::new(options, 100);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(v4::Event::Incoming(packet)) => tell_v4(packet).map(|t| sender.send(t)),
                    Ok(v4::Event::Outgoing(_)) => continue,
                    Err(error) => return drop(sender.send(Told::Ended(format!("{error:?}")))),
                };
            }
        });
        (handle, task)
    }

    async fn subscribe(handle: &Self::Handle, filter: &str, qos: u8) {
        handle.subscribe(filter, v4::qos(qos).unwrap()).await.unwrap();
    }

    async fn publish(handle: &Self::Handle, topic: &str, qos: u8, payload: &str, retain: bool) {
        handle.publish(topic, v4::qos(qos).unwrap(), retain, payload).await.unwrap();
    }

    async fn disconnect(handle: &Self::Handle) {
        handle.disconnect().await.unwrap();
    }
}

fn tell_v4(packet: v4::Incoming) -> Option<Told> {
    Some(match packet {
        v4::Incoming::ConnAck(ack) => Told::Connected { is_resumed: ack.session_present },
        v4::Incoming::SubAck(_) => Told::Subscribed,
        v4::Incoming::PubAck(_) | v4::Incoming::PubComp(_) => Told::Acknowledged,
        v4::Incoming::PubRel(_) => Told::Released,
        v4::Incoming::Publish(publish) => Told::Message(Box::new(Message {
            topic: publish.topic,
            payload: text(&publish.payload),
            qos: publish.qos as u8,
            is_retained: publish.retain,
            properties: PublishProperties::default(),
        })),
        _ => return None,
    })
}

impl Version for V5 {
    type Handle = v5::AsyncClient;

    fn open(wish: Wish, sender: UnboundedSender<Told>) -> (Self::Handle, JoinHandle<()>) {
        let (host, port) = (wish.address.ip().to_string(), wish.address.port());
        let mut options = v5::MqttOptions::new(wish.id, host, port);
        options.set_credentials("ann", wish.password).set_clean_start(!wish.is_kept);
        options.set_session_expiry_interval(wish.is_kept.then_some(300));
        if let Some(topic) = wish.will {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            options
                .set_last_will(v5::mqttbytes::v5::LastWill::new(topic, "gone", qos, false, None));
        }
        let (handle, mut events) = v5::AsyncClient::new(options, 100);
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(v5::Event::Incoming(packet)) => tell_v5(packet).map(|t| sender.send(t)),
                    Ok(v5::Event::Outgoing(_)) => continue,
                    Err(error) => return drop(sender.send(Told::Ended(format!("{error:?}")))),
                };
            }
        });
        (handle, task)
    }

    async fn subscribe(handle: &Self::Handle, filter: &str, qos: u8) {
        handle.subscribe(filter, v5::mqttbytes::qos(qos).unwrap()).await.unwrap();
    }

    async fn publish(handle: &Self::Handle, topic: &str, qos: u8, payload: &str, retain: bool) {
        let qos = v5::mqttbytes::qos(qos).unwrap();
        handle.publish(topic, qos, retain, payload.to_owned()).await.unwrap();
    }

    async fn disconnect(handle: &Self::Handle) {
        handle.disconnect().await.unwrap();
    }
}

fn tell_v5(packet: v5::Incoming) -> Option<Told> {
    Some(match packet {
        v5::Incoming::ConnAck(ack) => Told::Connected { is_resumed: ack.session_present },
        v5::Incoming::SubAck(_) => Told::Subscribed,
        v5::Incoming::PubAck(_) | v5::Incoming::PubComp(_) => Told::Acknowledged,
        v5::Incoming::PubRel(_) => Told::Released,
        v5::Incoming::Publish(publish) => Told::Message(Box::new(Message {
            topic: text(&publish.topic),
            payload: text(&publish.payload),
            qos: publish.qos as u8,
            is_retained: publish.retain,
            properties: publish.properties.unwrap_or_default(),
        })),
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Client<V: Version> {
    handle: V::Handle,
    told: UnboundedReceiver<Told>,
    task: JoinHandle<()>,
    /// QoS 2 messages received that are not released.
    unreleased: usize,
}

impl<V: Version> Client<V> {
    fn open(wish: Wish) -> Self {
        let (sender, told) = unbounded_channel();
        let (handle, task) = V::open(wish, sender);
        Self { handle, told, task, unreleased: 0 }
    }

    async fn connect(wish: Wish, is_resumed: bool) -> Self {
        let mut client = Self::open(wish);
        assert_eq!(client.next().await, Told::Connected { is_resumed });
        client
    }

    async fn next(&mut self) -> Told {
        loop {
            let told = tokio::time::timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap();
            match &told {
                Told::Released => {
                    self.unreleased -= 1;
                    continue;
                }
                Told::Message(message) if message.qos == 2 => self.unreleased += 1,
                _ => {}
            }
            return told;
        }
    }

    async fn message(&mut self) -> Message {
        match self.next().await {
            Told::Message(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    /// The next message as topic, payload, QoS and whether it was retained.
    async fn plain(&mut self) -> (String, String, u8, bool) {
        let Message { topic, payload, qos, is_retained, .. } = self.message().await;
        (topic, payload, qos, is_retained)
    }

    async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.next()).await.is_err()
    }

    async fn subscribe(&mut self, filter: &str, qos: u8) {
        V::subscribe(&self.handle, filter, qos).await;
        assert_eq!(self.next().await, Told::Subscribed);
    }

    /// Publishes, and waits for the end of the exchange.
    async fn publish(&mut self, topic: &str, qos: u8, payload: &str, retain: bool) {
        V::publish(&self.handle, topic, qos, payload, retain).await;
        if qos > 0 {
            assert_eq!(self.next().await, Told::Acknowledged);
        }
    }

    /// Leaves with a DISCONNECT, and nothing half done: what a client knows of its exchanges ends
    /// with it here.
    async fn leave(mut self) {
        while self.unreleased > 0 {
            assert!(self.is_quiet().await);
        }
        V::disconnect(&self.handle).await;
        while !matches!(self.next().await, Told::Ended(_)) {}
    }
}

fn is(topic: &str, payload: &str, qos: u8, is_retained: bool) -> (String, String, u8, bool) {
    (topic.to_owned(), payload.to_owned(), qos, is_retained)
}

async fn with_a_user() -> (Brooklet, Wish) {
    let users =
        format!("[{{ name = \"ann\", password = \"{}\" }}]", hash_password(b"right").unwrap());
    let variables = [("ACCESS__USERS", users.as_str()), ("MQTT__ALLOW_ANONYMOUS", "false")];
    let brooklet = Brooklet::with(&variables).await;
    let address = brooklet.mqtt;
    let wish = Wish { address, id: "", password: "right", is_kept: false, will: None };
    (brooklet, wish)
}

async fn exchanges<V: Version>(refusal: &str) {
    let (_brooklet, wish) = with_a_user().await;
    let mut guesser = Client::<V>::open(Wish { id: "guesser", password: "wrong", ..wish });
    match guesser.next().await {
        Told::Ended(error) => assert!(error.contains(refusal), "{error}"),
        other => panic!("{other:?}"),
    }

    let mut keeper =
        Client::<V>::connect(Wish { id: "keeper", is_kept: true, ..wish }, false).await;
    keeper.subscribe("rq/#", 2).await;
    let will = Some("rq/will");
    let mut maker = Client::<V>::connect(Wish { id: "maker", will, ..wish }, false).await;
    for qos in 0..3 {
        maker.publish("rq/a", qos, "here", qos == 1).await;
        assert_eq!(keeper.plain().await, is("rq/a", "here", qos, false));
    }
    let mut late = Client::<V>::connect(Wish { id: "late", ..wish }, false).await;
    late.subscribe("rq/a", 1).await;
    assert_eq!(late.plain().await, is("rq/a", "here", 1, true));

    // The broker has kept order and QoS while nobody was there; a second return brings nothing twice.
    keeper.leave().await;
    for qos in [1, 2, 1, 2] {
        maker.publish("rq/b", qos, "waits", false).await;
    }
    let wish = Wish { id: "keeper", is_kept: true, ..wish };
    let mut keeper = Client::<V>::connect(wish, true).await;
    for qos in [1, 2, 1, 2] {
        assert_eq!(keeper.plain().await, is("rq/b", "waits", qos, false));
    }
    assert!(keeper.is_quiet().await);
    keeper.leave().await;
    let mut keeper = Client::<V>::connect(wish, true).await;
    assert!(keeper.is_quiet().await);

    maker.task.abort();
    assert_eq!(keeper.plain().await, is("rq/will", "gone", 1, false));
    late.leave().await;
    assert!(keeper.is_quiet().await);
}

#[tokio::test]
async fn rumqttc_speaks_3_1_1() {
    exchanges::<V4>("BadUserNamePassword").await;
}

#[tokio::test]
async fn rumqttc_speaks_5_0() {
    exchanges::<V5>("BadUserNamePassword").await;
}

#[tokio::test]
async fn rumqttc_shares_a_subscription() {
    let (_brooklet, wish) = with_a_user().await;
    let mut members = Vec::new();
    for id in ["one", "two", "three"] {
        let mut member = Client::<V5>::connect(Wish { id, ..wish }, false).await;
        member.subscribe("$share/team/jobs/#", 1).await;
        members.push(member);
    }
    let mut maker = Client::<V5>::connect(Wish { id: "maker", ..wish }, false).await;
    let jobs: BTreeSet<String> = (0..9).map(|job| job.to_string()).collect();
    for job in &jobs {
        maker.publish("jobs/x", 1, job, false).await;
    }
    let mut done = BTreeSet::new();
    for member in &mut members {
        for _ in 0..3 {
            assert!(done.insert(member.message().await.payload), "{done:?}");
        }
        assert!(member.is_quiet().await);
    }
    assert_eq!(done, jobs);
}

#[tokio::test]
async fn rumqttc_gets_the_properties_that_it_sent() {
    let (_brooklet, wish) = with_a_user().await;
    let mut client = Client::<V5>::connect(Wish { id: "both", ..wish }, false).await;
    client.subscribe("p/#", 1).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        response_topic: Some("p/answers".to_owned()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![pair("b", "1"), pair("a", "2"), pair("b", "3")],
        content_type: Some("text/plain".to_owned()),
        ..PublishProperties::default()
    };
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    let publish = client.handle.publish_with_properties("p/x", qos, false, "hello", sent.clone());
    publish.await.unwrap();
    let mut got = None;
    for _ in 0..2 {
        match client.next().await {
            Told::Message(message) => got = Some(message.properties),
            other => assert_eq!(other, Told::Acknowledged),
        }
    }
    assert_eq!(got, Some(sent));
}
