//! `brooklet export`: what is stored, as lines, whether a server runs or not.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::{
    harness::{Brooklet, command},
    moving::{printed, run, succeeded, told},
};

const HEAD: &str = "device,sensor,sensor_id,event_time,received_at,value,unit,quality";

#[tokio::test]
async fn readings_are_exported_with_a_server_and_without() {
    let mut brooklet = Brooklet::start().await;
    for device in ["kiln", "press, old"] {
        let mut client = brooklet.connect("gateway").await;
        for n in 0..3 {
            let body = format!(r#"{{"t": {n}.5, "rh": 40, "ts": {}}}"#, 1_790_000_000 + n * 60);
            let topic = format!("devices/{}/data", device.replace(", ", "-"));
            client.publish(&topic, body).await;
        }
    }
    let folder = brooklet.folder().to_owned();
    let export = async |arguments: &[&str]| {
        let (folder, mut all) = (folder.clone(), vec!["export"]);
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let running = tokio::task::spawn_blocking(move || {
            run(&folder, None, &all.iter().map(String::as_str).collect::<Vec<_>>())
        });
        running.await.unwrap()
    };
    let all = succeeded(&export(&[]).await);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!((lines.len(), lines[0]), (1 + 2 * 6, HEAD));
    assert_eq!(lines.iter().filter(|line| line.starts_with("device,")).count(), 1);
    assert!(lines[1].starts_with("kiln,") && lines[12].starts_with("press-old,"), "{all}");

    let path = "/api/data/export?device_id=kiln&sensor=t&from=2026-09-21T14:14:00Z&format=ndjson";
    let expected = brooklet.request(reqwest::Method::GET, path, None).await.text;
    let some = ["--device", "kiln", "--sensor", "t", "--from", "2026-09-21T14:14:00Z"];
    let some = [&some[..], &["--format", "ndjson"]].concat();
    let found = succeeded(&export(&some).await);
    assert_eq!((found.lines().count(), found.as_str()), (2, expected.trim()));

    let refused = export(&["--device", "nobody"]).await;
    assert!(told(&refused).contains("nobody"), "{}", told(&refused));
    let refused = export(&["--from", "yesterday", "--output", "never.csv"]).await;
    assert!(told(&refused).contains("from can't be read"), "{}", told(&refused));
    assert!(!folder.join("never.csv").exists(), "half a file is left");

    brooklet.stop().await;
    succeeded(&export(&["--output", "all.csv"]).await);
    let written = std::fs::read_to_string(folder.join("all.csv")).unwrap();
    assert_eq!(written.trim(), all);
    let again = export(&["--output", "all.csv"]).await;
    assert!(told(&again).contains("can't write to all.csv"), "{}", told(&again));
    assert_eq!(printed(&again), "");
}

#[tokio::test]
async fn who_has_read_enough_gets_no_error() {
    let brooklet = Brooklet::start().await;
    let mut device = brooklet.connect("d").await;
    for part in 0..4 {
        let row = |n| format!(r#"{{"ts": {}, "values": {{"t": {n}}}}}"#, 1_790_000_000 + n);
        let rows: Vec<String> = (part * 1_000..(part + 1) * 1_000).map(row).collect();
        device.publish("devices/d/data", format!("[{}]", rows.join(","))).await;
    }
    let mut command = command(brooklet.folder());
    let status = tokio::task::spawn_blocking(move || {
        let child = command.arg("export").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut head = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut head).unwrap();
        assert_eq!(head.trim_end(), HEAD);
        child.wait_with_output().unwrap()
    });
    let output = status.await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
}
