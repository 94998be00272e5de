//! Live streams: what was committed comes, in order, to those who asked for it, once; and goes on
//! where a client left off.

use serde_json::{Value, json};

use crate::{
    harness::Brooklet,
    stream_clients::{Events, Socket, say, settle, value},
    wire::Client,
};

/// The id of a device's only sensor.
async fn sensor_id(brooklet: &Brooklet, device: &str) -> i64 {
    let page = brooklet.get(&format!("/api/data/latest?device_id={device}")).await;
    page["items"][0]["sensor_id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_reading_comes_as_it_is_shown_elsewhere() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("esp").await;
    say(&mut device, "esp", 0).await;
    let id = sensor_id(&brooklet, "esp").await;
    let mut socket = Socket::open(brooklet.http, &format!("/ws/sensors/{id}")).await;
    let mut events = Events::listening(brooklet.http, "").await;
    assert!(events.head.contains("content-type: text/event-stream"), "{}", events.head);
    assert!(events.head.contains("cache-control: no-cache"), "{}", events.head);
    let payload = r#"{"sensors": [{"sensor_name": "t", "value": 25.5, "unit": "°C"}]}"#;
    device.publish("devices/esp/data", payload).await;
    let told = socket.event().await;
    assert_eq!((&told["type"], &told["sensor_id"]), (&json!("sensor_data"), &json!(id)));
    let latest = brooklet.get("/api/data/latest?device_id=esp").await["items"][0].clone();
    assert_eq!(told["data"], latest);
    assert_eq!(events.event().await, told);
}

#[tokio::test]
async fn each_gets_what_it_asked_for_in_order() {
    let brooklet = Brooklet::start().await;
    let (mut a, mut b) = (brooklet.connect("a").await, brooklet.connect("b").await);
    say(&mut a, "a", 0).await;
    say(&mut b, "b", 0).await;
    let id = sensor_id(&brooklet, "a").await;
    let of = async |query: &str| Events::listening(brooklet.http, query).await;
    let mut by_number = of(&format!("?sensors={id}&events=readings")).await;
    let mut by_name = of("?sensors=b/t,new/t&events=readings").await;
    let mut by_device = of("?devices=a,new&events=readings").await;
    let mut everything = of("?events=readings").await;
    let mut of_device = Socket::open(brooklet.http, "/ws/devices/a?events=readings").await;
    let mut new = brooklet.connect("new").await;
    for n in 1..=30 {
        say(&mut a, "a", n).await;
        say(&mut b, "b", 100 + n).await;
        say(&mut new, "new", 200 + n).await;
    }
    let (first, second, third): (Vec<_>, Vec<_>, Vec<_>) =
        ((1..=30).collect(), (101..=130).collect(), (201..=230).collect());
    let mixed = |left: &[i64], right: &[i64]| -> Vec<i64> {
        left.iter().zip(right).flat_map(|(l, r)| [*l, *r]).collect()
    };
    assert_eq!(by_number.values(30).await, first);
    assert_eq!(by_name.values(60).await, mixed(&second, &third));
    assert_eq!(by_device.values(60).await, mixed(&first, &third));
    let all: Vec<_> = (1..=30).flat_map(|n| [n, 100 + n, 200 + n]).collect();
    assert_eq!(everything.values(90).await, all);
    for n in first {
        assert_eq!(value(&of_device.event().await), n);
    }
}

#[tokio::test]
async fn a_web_socket_client_changes_what_it_listens_to() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("a").await;
    let mut socket = Socket::open(brooklet.http, "/ws?devices=none").await;
    socket.say(r#"{"subscribe": {"sensors": ["a/t"], "events": ["readings"]}}"#).await;
    let told = socket.event().await;
    assert_eq!(told["type"], "subscribed");
    assert_eq!(
        (&told["everything"], &told["devices"], &told["sensors"], &told["events"]),
        (&json!(false), &json!(["none"]), &json!(["a/t"]), &json!(["readings"]))
    );
    say(&mut device, "a", 1).await;
    assert_eq!(value(&socket.event().await), 1);
    socket.say(r#"{"unsubscribe": {"sensors": ["a/t"]}}"#).await;
    assert_eq!(socket.event().await["sensors"], json!([]));
    say(&mut device, "a", 2).await;
    socket.say(r#"{"publish": {}}"#).await;
    assert_eq!(socket.event().await["type"], "error");
    // What was told of the last change says from where on it counts.
    let id = told["id"].as_str().unwrap();
    let mut resumed = Events::resumed(brooklet.http, "?events=readings", Some(id)).await;
    assert_eq!(resumed.values(2).await, [1, 2]);
    let mut fixed = Socket::open(brooklet.http, "/ws/devices/a").await;
    fixed.say(r#"{"subscribe": {}}"#).await;
    assert_eq!(fixed.event().await["type"], "error");
}

#[tokio::test]
async fn presence_is_told_as_it_changes() {
    let brooklet = Brooklet::with(&[("DEVICES__OFFLINE_GRACE", "0s")]).await;
    let mut client = brooklet.connect("d").await;
    say(&mut client, "d", 1).await;
    brooklet.eventually("/api/devices/d", |device| device["online"] == true).await;
    settle().await;
    let mut socket = Socket::open(brooklet.http, "/ws/devices/d?events=presence").await;
    let mut events = Events::listening(brooklet.http, "?events=presence").await;
    let opened = events.last_id.clone();
    drop(client);
    let mut told = socket.event().await;
    // The way up may have been told a moment later than the device was seen.
    while told["online"] == true {
        told = socket.event().await;
    }
    let told_of = |event: &Value| (event["type"].clone(), event["device"].clone());
    assert_eq!(told_of(&told), (json!("presence"), json!("d")));
    assert_eq!(told["online"], false);
    assert!(told["at"].is_string());
    while events.event().await != told {}
    // Who comes back is told how it stands.
    let mut back = Events::resumed(brooklet.http, "?events=presence", opened.as_deref()).await;
    let stands = back.event().await;
    assert_eq!((told_of(&stands), &stands["online"]), (told_of(&told), &json!(false)));
}

/// Publishes 1, 2, 3 … until it has published `count`.
async fn publish_all(mut device: Client, count: i64) {
    for n in 1..=count {
        say(&mut device, "d", n).await;
    }
}

#[tokio::test]
async fn coming_back_again_and_again_loses_nothing_and_repeats_nothing() {
    const COUNT: i64 = 400;
    let brooklet = Brooklet::start().await;
    let device = brooklet.connect("d").await;
    let mut events = Events::listening(brooklet.http, "?events=readings").await;
    let publishing = tokio::spawn(publish_all(device, COUNT));
    let (mut seen, mut last) = (Vec::new(), events.last_id.clone());
    for round in 1.. {
        let wanted = (round * 7 % 23).min(COUNT as usize - seen.len());
        seen.extend(events.values(wanted).await);
        last = events.last_id.clone().or(last);
        if seen.len() == COUNT as usize {
            break;
        }
        // What it has been sent but has not looked at, it has not seen.
        drop(events);
        events = Events::resumed(brooklet.http, "?events=readings", last.as_deref()).await;
    }
    publishing.await.unwrap();
    assert_eq!(seen, (1..=COUNT).collect::<Vec<_>>());
    let mut again = Events::resumed(brooklet.http, "?events=readings", last.as_deref()).await;
    say(&mut brooklet.connect("d").await, "d", COUNT + 1).await;
    assert_eq!(again.values(1).await, [COUNT + 1]);
}

#[tokio::test]
async fn a_web_socket_goes_on_where_it_left_off() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    say(&mut device, "d", 0).await;
    let mut socket = Socket::open(brooklet.http, "/ws/devices/d?events=readings").await;
    for n in 1..=5 {
        say(&mut device, "d", n).await;
    }
    assert_eq!(value(&socket.event().await), 1);
    let second = socket.event().await;
    drop(socket);
    let id = second["id"].as_str().unwrap();
    let path = format!("/ws/devices/d?events=readings&last_event_id={id}");
    let mut socket = Socket::open(brooklet.http, &path).await;
    say(&mut device, "d", 6).await;
    for n in 3..=6 {
        assert_eq!(value(&socket.event().await), n);
    }
    let wrong = Socket::attempt(brooklet.http, "/ws?last_event_id=1.2.3", &[]).await;
    assert_eq!(wrong.err(), Some(422));
}

#[tokio::test]
async fn a_restart_between_loses_nothing_and_repeats_nothing() {
    for is_killed in [false, true] {
        let mut brooklet = Brooklet::start().await;
        let mut device = brooklet.connect("d").await;
        let mut events = Events::listening(brooklet.http, "?events=readings").await;
        for n in 1..=10 {
            say(&mut device, "d", n).await;
        }
        assert_eq!(events.values(4).await, [1, 2, 3, 4]);
        let last = events.last_id.clone();
        if is_killed {
            brooklet.kill();
        } else {
            brooklet.stop().await;
            // What was sent still comes, and then the end is told.
            assert_eq!(events.values(6).await, [5, 6, 7, 8, 9, 10]);
            while events.block().await.is_some() {}
        }
        let brooklet = brooklet.restart().await;
        let mut device = brooklet.connect("d").await;
        for n in 11..=15 {
            say(&mut device, "d", n).await;
        }
        let query = "?events=readings";
        let mut events = Events::resumed(brooklet.http, query, last.as_deref()).await;
        for n in 16..=20 {
            say(&mut device, "d", n).await;
        }
        assert_eq!(events.values(16).await, (5..=20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_too_much_the_newest_comes_after_a_gap() {
    let brooklet = Brooklet::with(&[("STREAMS__MAX_RESUMED_READINGS", "5")]).await;
    let mut device = brooklet.connect("d").await;
    let events = Events::listening(brooklet.http, "").await;
    for n in 1..=12 {
        say(&mut device, "d", n).await;
    }
    let query = "?events=readings";
    let mut back = Events::resumed(brooklet.http, query, events.last_id.as_deref()).await;
    let gap = back.event().await;
    assert_eq!(gap["type"], "gap");
    assert!(gap["missed"].is_null() || gap["missed"] == 7, "{gap}");
    assert_eq!(back.values(5).await, [8, 9, 10, 11, 12]);
}

#[tokio::test]
async fn messages_come_only_where_they_are_asked_for_refused_ones_too() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    let mut usual = Events::listening(brooklet.http, "").await;
    let mut raw = Events::listening(brooklet.http, "?devices=d&events=messages").await;
    device.publish("devices/d/data", "no reading").await;
    device.publish("devices/d/data", r#"{"t": 1}"#).await;
    let refused = raw.event().await;
    assert_eq!((&refused["outcome"], &refused["type"]), (&json!("refused"), &json!("message")));
    assert_eq!(refused["payload_text"], "no reading");
    assert_eq!(raw.event().await["outcome"], "stored");
    assert_eq!(usual.values(1).await, [1]);
}
