//! Stores of earlier schemas (`tests/stores`, made by binaries of their time with `.ci/keep-store`): each is
//! opened, and answers what it answered then.

use std::{fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{Brooklet, command},
    wire::{self, Client},
};

const PASSWORD: &str = "a store of long ago";

/// All that was said before is said, if with more beside it; sums may be rounded otherwise.
fn lacks(path: &str, before: &Value, after: &Value) -> Vec<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .flat_map(|(name, value)| {
                let after = after.get(name).unwrap_or(&Value::Null);
                lacks(&format!("{path}/{name}"), value, after)
            })
            .collect(),
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let pairs = before.iter().zip(after).enumerate();
            pairs.flat_map(|(at, (b, a))| lacks(&format!("{path}/{at}"), b, a)).collect()
        }
        (Value::Number(before), Value::Number(after)) => {
            let (before, after) = (before.as_f64().unwrap(), after.as_f64().unwrap());
            let is_near = before == after || (before - after).abs() <= before.abs() * 1e-12;
            if is_near { Vec::new() } else { vec![format!("{path}: {before} was, {after} is")] }
        }
        _ if before == after => Vec::new(),
        _ => vec![format!("{path}: {before} was, {after} is")],
    }
}

fn unpack(kept: &Path, folder: &Path) {
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    let mut bytes = Vec::new();
    let packed = fs::File::open(kept.with_extension("db.gz")).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    fs::write(data.join("brooklet.db"), bytes).unwrap();
    fs::copy(kept.with_extension("keys.json"), data.join("access-keys.json")).unwrap();
}

async fn opens(kept: &Path) {
    let folder = TempDir::new().unwrap();
    unpack(kept, folder.path());
    let mut brooklet = Brooklet::at(folder, &[]).await;
    let body = json!({"username": "admin", "password": PASSWORD});
    let login = brooklet.request(Method::POST, "/api/auth/login", Some(body)).await;
    let token = format!("Bearer {}", login.body["access_token"].as_str().unwrap());
    let bearer = [("Authorization", &*token)];
    let answers = fs::read_to_string(kept.with_extension("answers.json")).unwrap();
    let answers: serde_json::Map<String, Value> = serde_json::from_str(&answers).unwrap();
    for (path, before) in &answers {
        let after = brooklet.request_with(Method::GET, path, None, &bearer).await;
        let lacks = lacks(path, before, &after.body);
        assert!(lacks.is_empty(), "{}: {lacks:#?}", kept.display());
    }

    let back = wire::connect(4, 0, 60, &[], "away");
    let (mut client, connack) = Client::open(brooklet.mqtt, back, false).await;
    assert_eq!(connack.body[0], 1, "its session is there");
    let (_, topic, _, payload) = client.message().await;
    assert_eq!((&*topic, &*payload), ("later/one", &b"waits"[..]));
    client.subscribe("kept/#", 1).await;
    let (_, topic, _, payload) = client.message().await;
    assert_eq!((&*topic, &*payload), ("kept/here", &b"retained"[..]));

    let mut device = brooklet.connect("press").await;
    device.publish("devices/press/data", r#"{"t": 21.25, "ts": 1790100000}"#).await;
    let path = "/api/data/history?device_id=press&sensor=t&limit=1";
    let newest = brooklet.request_with(Method::GET, path, None, &bearer).await.body;
    assert_eq!(newest["items"][0]["value"], 21.25);
    brooklet.stop().await;
    let verified = command(brooklet.folder()).arg("verify").output().unwrap();
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{}: {told}", kept.display());
}

#[tokio::test]
async fn stores_of_earlier_schemas_open_and_answer_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if let Some(kept) = path.to_str().unwrap().strip_suffix(".db.gz") {
            opens(Path::new(kept)).await;
            count += 1;
        }
    }
    assert!(count >= 2, "{count}");
}
