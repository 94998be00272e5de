//! What an operator types, and what is said to mistakes.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use tempfile::TempDir;

use crate::harness::{Brooklet, command};

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[test]
fn mistakes_are_one_sentence_and_exit_with_2() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("broker.toml"), "[mqtt]\nlistn = []\n").unwrap();
    let output = command(folder.path()).args(["config", "check"]).output().unwrap();
    let expected =
        "brooklet: broker.toml line 2: there is no key \"listn\"; do you mean \"listen\"?";
    assert_eq!(told(&output), (Some(2), expected.to_owned()));
    let output = command(folder.path()).args(["--config", "none.toml"]).output().unwrap();
    let (code, text) = told(&output);
    assert_eq!(code, Some(2));
    assert!(text.contains("can't read the configuration none.toml"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_and_a_database_in_use_are_said() {
    let brooklet = Brooklet::start().await;
    let folder = TempDir::new().unwrap();
    let taken = format!("[\"{}\"]", brooklet.mqtt);
    let output = command(folder.path()).env("BROOKLET__MQTT__LISTEN", taken).output().unwrap();
    let (code, text) = told(&output);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("another program listens there"), "{text}");
    let output = command(brooklet.folder())
        .env("BROOKLET__MQTT__LISTEN", "[\"127.0.0.1:0\"]")
        .env("BROOKLET__HTTP__LISTEN", "[\"127.0.0.1:0\"]")
        .output()
        .unwrap();
    let (code, text) = told(&output);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("another Brooklet has ./data/brooklet.db open"), "{text}");
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_behind() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (name, value, said) in [
        ("MQTT__LISTEN", taken.as_str(), "another program listens there"),
        ("HTTP__LISTEN", &taken, "another program listens there"),
        ("ALARMS__RULES", "[{ name = \"hot\" }]", "alarms.rules[0]"),
        ("NOTIFICATIONS__TARGETS", "[{ name = \"ops\" }]", "notifications.targets[0]"),
        ("INGEST__ROUTES", "[{ topic = \"a/#/b\", kind = \"data\" }]", "ingest.routes"),
    ] {
        let folder = TempDir::new().unwrap();
        let output = command(folder.path())
            .env("BROOKLET__MQTT__LISTEN", "127.0.0.1:0")
            .env("BROOKLET__HTTP__LISTEN", "127.0.0.1:0")
            .env(format!("BROOKLET__{name}"), value)
            .output()
            .unwrap();
        let (code, text) = told(&output);
        assert_eq!(code, Some(2), "{name}: {text}");
        assert!(text.contains(said), "{name}: {text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn a_folder_that_can_not_be_written_is_said() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("file");
    fs::write(&target, "").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = command(folder.path()).env("BROOKLET__DATA_DIR", "file/data").output().unwrap();
    let (code, text) = told(&output);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("can't open the database file/data/brooklet.db"), "{text}");
}

#[test]
fn a_newer_database_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let migrate = || command(folder.path()).arg("migrate").output().unwrap();
    assert!(migrate().status.success());
    let database = rusqlite::Connection::open(folder.path().join("data/brooklet.db")).unwrap();
    let row = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    database.execute(row, []).unwrap();
    let (code, text) = told(&migrate());
    assert_eq!(code, Some(2));
    assert!(text.contains("m9999_future"), "{text}");
}

#[test]
fn secrets_are_masked() {
    let hash = brooklet::access::hash_password(b"x").unwrap();
    let folder = TempDir::new().unwrap();
    let output = command(folder.path())
        .env("BROOKLET__HTTP__API_KEYS", r#"[{ name = "k", key = "a-secret-of-ours" }]"#)
        .env("BROOKLET__ACCESS__USERS", format!("[{{ name = \"u\", password = \"{hash}\" }}]"))
        .args(["config", "print"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.matches("********").count(), 2, "{text}");
    assert!(!text.contains("a-secret-of-ours") && !text.contains("$argon2id$"), "{text}");
}

#[test]
fn a_password_becomes_a_hash() {
    let folder = TempDir::new().unwrap();
    // A configuration that is wrong does not matter here.
    fs::write(folder.path().join("broker.toml"), "wrong").unwrap();
    let hash = |input: &[u8]| {
        let mut child = command(folder.path())
            .arg("hash-password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    let (with, without) = (hash(b"secret\n"), hash(b"secret"));
    for output in [&with, &without] {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = argon2::PasswordHash::new(text.trim_end()).unwrap();
        let argon2 = argon2::Argon2::default();
        argon2::PasswordVerifier::verify_password(&argon2, b"secret", &hash).unwrap();
    }
    assert_ne!(with.stdout, without.stdout, "each has its own salt");
    assert_eq!(told(&hash(b"\n")), (Some(2), "brooklet: the password is empty".to_owned()));
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_said() {
    let authority = crate::certificates::Authority::new();
    authority.renew("other");
    let folder = TempDir::new().unwrap();
    let (certificate, key) = (authority.path("server.pem"), authority.path("other.key"));
    let text = format!(
        "[[mqtt.listeners]]\naddress = \"127.0.0.1:0\"\ntransport = \"tls\"\n\
         certificate = {certificate:?}\nkey = {key:?}\n"
    );
    let check = |text: &str| {
        fs::write(folder.path().join("broker.toml"), text).unwrap();
        told(&command(folder.path()).args(["config", "check"]).output().unwrap())
    };
    let expected = format!(
        "brooklet: broker.toml line 5: can't use the key {}: it does not belong to the certificate {}",
        key.display(),
        certificate.display()
    );
    assert_eq!(check(&text), (Some(2), expected));
    assert_eq!(check(&text.replace("other.key", "server.key")).0, Some(0));
    let (_, told) = check(&text.replace("other.key", "server.pem"));
    assert!(told.ends_with("server.pem: it holds no private key in PEM form"), "{told}");
}
