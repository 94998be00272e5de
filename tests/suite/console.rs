//! Users, keys and devices from the shell, with and without a server that runs.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Brooklet, command},
    people::ask,
    wire::{Client, login},
};

fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = command(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What it prints; it must succeed.
fn printed(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(folder, arguments, input);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What it says of a mistake.
fn refused(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(folder, arguments, input);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

const PASSWORD: &str = "a fine long password\n";

#[tokio::test]
async fn a_running_server_hears_of_it_at_once() {
    let brooklet = Brooklet::with(&[("MQTT__ALLOW_ANONYMOUS", "false")]).await;
    let folder = brooklet.folder().to_owned();
    let run = async |arguments: &'static [&'static str], input: &'static str| {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || printed(&folder, arguments, input)).await.unwrap()
    };
    let console = fs::metadata(folder.join("data/console")).unwrap();
    assert_eq!(console.permissions().mode() & 0o777, 0o600);
    run(&["user", "add", "ann", "--role", "admin"], PASSWORD).await;
    assert_eq!(brooklet.request(Method::GET, "/api/devices", None).await.status, 401);
    let key = run(&["api-key", "add", "panel", "--scope", "admin"], "").await;
    let get = async |path: &str| ask(&brooklet, &key, Method::GET, path, None).await;
    assert_eq!(get("/api/devices").await.status, 200);
    run(&["device", "add", "esp", "--name", "One"], "").await;
    let secret = run(&["device", "credential", "esp"], "").await;
    let connect = login(5, "c", Some("esp"), Some(&secret));
    assert_eq!(Client::raw(brooklet.mqtt).await.log_in(&connect).await, Some(0));
    fs::write(folder.join("fleet.csv"), "device,kind,gateway\ngw,gateway,\nb1,,gw\n").unwrap();
    let secrets = run(&["device", "import", "fleet.csv", "--credentials"], "").await;
    let (name, secret) = secrets.lines().last().unwrap().split_once(',').unwrap();
    let connect = login(5, "c", Some(name), Some(secret));
    assert_eq!((name, Client::raw(brooklet.mqtt).await.log_in(&connect).await), ("b1", Some(0)));
    assert_eq!(get("/api/devices/b1").await.body["gateway"], "gw");
    let users = run(&["user", "list"], "").await;
    assert!(users.lines().any(|line| line.starts_with("ann ")), "{users}");
    let keys = run(&["api-key", "list"], "").await;
    assert!(keys.contains("panel") && !keys.contains(&key), "{keys}");
    let audit = get("/api/audit?action=create_user").await.body;
    assert_eq!(audit["items"][0]["actor_kind"], json!("console"));
    run(&["api-key", "revoke", "1"], "").await;
    assert_eq!(get("/api/devices").await.status, 401);
}

#[test]
fn without_a_server_it_is_done_all_the_same() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    printed(folder, &["user", "add", "ann", "--role", "admin", "--email", "a@b.example"], PASSWORD);
    let users = printed(folder, &["user", "list"], "");
    let columns: Vec<_> = users.lines().nth(1).unwrap().split_whitespace().take(4).collect();
    assert_eq!(columns, ["ann", "admin", "true", "a@b.example"], "{users}");
    assert_eq!(users.lines().count(), 2, "nobody else was made: {users}");
    assert!(!folder.join("data/console").exists(), "nothing is left behind");
    printed(folder, &["user", "passwd", "ann"], "another fine one\n");
    let told = refused(folder, &["user", "disable", "ann"], "");
    assert_eq!(told, "brooklet: somebody has to be an active admin");
    let told = refused(folder, &["user", "add", "bob"], "short\n");
    assert_eq!(told, "brooklet: a password has at least 10 characters");
    let told = refused(folder, &["user", "passwd", "eve"], PASSWORD);
    assert_eq!(told, "brooklet: there is no such user");
    let told = refused(folder, &["api-key", "add", "k", "--scope", "fly"], "");
    assert_eq!(told, "brooklet: there is no scope \"fly\"");
    let told = refused(folder, &["user", "add", "bob", "--role", "king"], PASSWORD);
    assert_eq!(told, "brooklet: a role is viewer, operator or admin");
    let hash = "$2b$04$0123456789012345678901";
    assert!(refused(folder, &["user", "add", "bob", "--password-hash", hash], "").contains("hash"));
}

#[tokio::test]
async fn a_server_that_was_killed_leaves_nobody_stranded() {
    let mut brooklet = Brooklet::start().await;
    brooklet.kill();
    let folder = brooklet.folder().to_owned();
    assert!(folder.join("data/console").exists());
    let add = move || printed(&folder, &["user", "add", "ann"], PASSWORD);
    tokio::task::spawn_blocking(add).await.unwrap();
    let brooklet = brooklet.restart().await;
    let body = json!({"username": "ann", "password": PASSWORD.trim()});
    let answer = brooklet.request(Method::POST, "/api/auth/login", Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn in_a_wrong_folder_nothing_is_made() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let expected =
        "brooklet: no store at ./data/brooklet.db; start Brooklet first, or pass --config";
    for arguments in [
        &["user", "list"][..],
        &["user", "passwd", "ann"],
        &["user", "disable", "ann"],
        &["api-key", "list"],
        &["api-key", "revoke", "1"],
        &["device", "list"],
        &["device", "credential", "esp"],
        &["audit"],
    ] {
        assert_eq!(refused(folder, arguments, PASSWORD), expected, "{arguments:?}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    let migrated = printed(folder, &["migrate"], "");
    assert_eq!(migrated, "The schema of ./data/brooklet.db was made.");
    assert!(printed(folder, &["migrate"], "").ends_with("is up to date."));
    assert_eq!(printed(folder, &["user", "list"], "").lines().count(), 1);
}

#[test]
fn who_makes_the_first_user_or_key_is_told_what_that_closes() {
    let told = |folder: &Path, arguments: &[&str]| {
        let output = run(folder, arguments, PASSWORD);
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let closed = "From here on /api needs credentials";
    let folder = TempDir::new().unwrap();
    let first = told(folder.path(), &["device", "add", "esp"]);
    assert!(first.contains("There was no store at ./data/brooklet.db: one was made."), "{first}");
    assert!(!first.contains(closed), "{first}");
    let devices = printed(folder.path(), &["device", "list"], "");
    assert!(devices.lines().nth(1).unwrap().starts_with("esp "), "{devices}");
    let second = told(folder.path(), &["api-key", "add", "k", "--scope", "admin"]);
    assert!(second.contains(closed) && !second.contains("no store"), "{second}");
    assert!(!told(folder.path(), &["user", "add", "ann"]).contains(closed));
    // Where it was closed all the while, nothing has changed.
    fs::write(folder.path().join("broker.toml"), "http.allow_anonymous = false").unwrap();
    let elsewhere = TempDir::new().unwrap();
    let config = folder.path().join("broker.toml");
    let arguments = ["--config", config.to_str().unwrap(), "user", "add", "ann"];
    assert!(!told(elsewhere.path(), &arguments).contains(closed));
}

#[tokio::test]
async fn who_did_what_is_read_from_the_shell() {
    let brooklet = Brooklet::with(&[("HTTP__ALLOW_ANONYMOUS", "false")]).await;
    let folder = brooklet.folder().to_owned();
    let printed = async |arguments: &'static [&'static str]| {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || printed(&folder, arguments, "")).await.unwrap()
    };
    printed(&["device", "add", "esp"]).await;
    let audit = printed(&["audit"]).await;
    // The first start has made a key and a user.
    assert_eq!(audit.lines().count(), 4, "{audit}");
    for action in ["create_device", "create_user", "create_key"] {
        assert!(audit.contains(action), "{audit}");
    }
    assert!(audit.contains(r#""first_start":true"#), "{audit}");
    let newest = printed(&["audit", "--limit", "1"]).await;
    assert_eq!(newest.lines().count(), 2, "{newest}");
    assert!(newest.contains("create_device"), "{newest}");
}
