//! `brooklet user`, `brooklet api-key`, `brooklet device`: who may do what, from the shell.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{
    console::{Console, Missing, escaped},
    csv, print, read_password,
};
use crate::config::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add {
        name: String,
        /// viewer, operator or admin
        #[arg(long, default_value = "viewer")]
        role: String,
        #[arg(long)]
        email: Option<String>,
        /// Instead of a password: its argon2id or bcrypt hash, of a user who moves here
        #[arg(long, value_name = "HASH")]
        password_hash: Option<String>,
    },
    /// Set a user's password; it is asked for, or read from standard input
    Passwd { name: String },
    /// List users
    List,
    /// Keep a user from signing in; sessions and connections end
    Disable { name: String },
    /// Let a user sign in again
    Enable { name: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an API key, and print it
    Add {
        name: String,
        /// What it allows, such as data:read; several times for several
        #[arg(long = "scope", required = true, value_name = "SCOPE")]
        scopes: Vec<String>,
        /// The only device that it speaks for; its scope is telemetry:write
        #[arg(long)]
        device: Option<String>,
        /// When it ends, RFC 3339
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// List API keys
    List,
    /// Take an API key away
    Revoke { id: i64 },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// List devices, and who is online
    List,
    /// Register a device
    Add {
        device: String,
        #[arg(long)]
        name: Option<String>,
        /// device or gateway
        #[arg(long)]
        kind: Option<String>,
        /// The gateway that speaks for it
        #[arg(long)]
        gateway: Option<String>,
    },
    /// Register the devices of a CSV file with the columns device, name, kind, gateway
    Import {
        file: PathBuf,
        /// Make a secret for each, and print device,secret
        #[arg(long)]
        credentials: bool,
    },
    /// Make a secret for a device, and print it: the password of its MQTT connection
    Credential {
        device: String,
        /// To rotate: seconds that the device's other secrets stay good
        #[arg(long, value_name = "SECONDS")]
        overlap: Option<u32>,
    },
}

/// Does `work` with a server that has a store already.
fn with(
    settings: Settings,
    work: impl FnOnce(&Console) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let console = Console::open(settings, Missing::Refuse)?;
    let result = work(&console);
    console.close();
    result
}

/// The same for what adds something, and makes a store where there is none.
fn adding(
    settings: Settings,
    work: impl FnOnce(&Console) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let console = Console::open(settings, Missing::Begin)?;
    let was_open = console.is_open();
    let result = work(&console);
    let is_closed = was_open && !console.is_open();
    console.close();
    if is_closed {
        eprintln!("From here on /api needs credentials: a user who signs in, or a key.");
    }
    result
}

pub(super) fn user(settings: Settings, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { name, role, email, password_hash } => {
            let mut body = json!({"name": name, "role": role, "email": email});
            let (field, value) = match password_hash {
                Some(hash) => ("password_hash", hash),
                None => ("password", password()?),
            };
            put(&mut body, field, Some(value));
            adding(settings, |console| console.ask("POST", "/api/users", Some(&body)).map(drop))?;
            print(&format!("The user {name} is there.\n"))
        }
        UserCommand::Passwd { name } => {
            let body = json!({"password": password()?});
            let path = format!("/api/users/{}/password", escaped(&name));
            with(settings, |console| console.ask("PUT", &path, Some(&body)).map(drop))?;
            print(&format!("{name} has another password, and is signed out everywhere.\n"))
        }
        UserCommand::List => with(settings, |console| {
            let columns = ["name", "role", "active", "email", "created_at"];
            print(&table(&console.list("/api/users")?, &columns))
        }),
        UserCommand::Disable { name } => {
            set_active(settings, &name, false)?;
            print(&format!("{name} can't sign in any more.\n"))
        }
        UserCommand::Enable { name } => {
            set_active(settings, &name, true)?;
            print(&format!("{name} can sign in.\n"))
        }
    }
}

fn set_active(settings: Settings, name: &str, active: bool) -> anyhow::Result<()> {
    let (path, body) = (format!("/api/users/{}", escaped(name)), json!({"active": active}));
    with(settings, |console| console.ask("PATCH", &path, Some(&body)).map(drop))
}

fn password() -> anyhow::Result<String> {
    String::from_utf8(read_password()?).context("a password is UTF-8")
}

pub(super) fn key(settings: Settings, command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Add { name, scopes, device, expires_at } => {
            let mut body = json!({"name": name, "scopes": scopes});
            put(&mut body, "device", device);
            put(&mut body, "expires_at", expires_at);
            adding(settings, |console| {
                let made = console.ask("POST", "/api/keys", Some(&body))?;
                print(&format!("{}\n", text(&made, "key")))
            })
        }
        KeyCommand::List => with(settings, |console| {
            let columns = ["id", "name", "prefix", "scopes", "device", "expires_at", "used_at"];
            print(&table(&console.list("/api/keys")?, &columns))
        }),
        KeyCommand::Revoke { id } => with(settings, |console| {
            console.ask("DELETE", &format!("/api/keys/{id}"), None)?;
            print(&format!("The key {id} is good for nothing any more.\n"))
        }),
    }
}

pub(super) fn device(settings: Settings, command: DeviceCommand) -> anyhow::Result<()> {
    match command {
        DeviceCommand::List => with(settings, |console| {
            let columns = ["device", "name", "kind", "gateway", "approval", "online", "last_seen"];
            print(&table(&console.list("/api/devices")?, &columns))
        }),
        DeviceCommand::Add { device, name, kind, gateway } => {
            let mut body = json!({"device": device});
            put(&mut body, "name", name);
            put(&mut body, "kind", kind);
            put(&mut body, "gateway", gateway);
            adding(settings, |console| console.ask("POST", "/api/devices", Some(&body)).map(drop))?;
            print(&format!("The device {device} is there.\n"))
        }
        DeviceCommand::Import { file, credentials } => {
            let shown = file.display();
            let text = fs::read_to_string(&file).with_context(|| format!("can't read {shown}"))?;
            let devices = devices(&text).with_context(|| format!("{shown}"))?;
            adding(settings, |console| import(console, &devices, credentials))
        }
        DeviceCommand::Credential { device, overlap } => {
            with(settings, |console| print(&format!("{}\n", secret(console, &device, overlap)?)))
        }
    }
}

pub(super) fn audit(settings: Settings, limit: usize) -> anyhow::Result<()> {
    with(settings, |console| {
        let columns = ["at", "actor_kind", "actor", "action", "resource", "address", "detail"];
        print(&table(&console.newest("/api/audit", limit)?, &columns))
    })
}

fn secret(console: &Console, device: &str, overlap: Option<u32>) -> anyhow::Result<String> {
    let path = format!("/api/devices/{}/credentials", escaped(device));
    let mut body = json!({"kind": "secret"});
    put(&mut body, "overlap_seconds", overlap);
    Ok(text(&console.ask("POST", &path, Some(&body))?, "secret"))
}

const COLUMNS: [&str; 4] = ["device", "name", "kind", "gateway"];

/// Bodies that register the devices of a CSV file, whose first line names its columns.
fn devices(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut rows = csv::rows(text)?.into_iter();
    let (_, columns) = rows.next().context("it is empty")?;
    if let Some(odd) = columns.iter().find(|column| !COLUMNS.contains(&column.as_str())) {
        bail!("line 1: there is no column {odd:?}; there are {}", COLUMNS.join(", "));
    }
    if !columns.iter().any(|column| column == "device") {
        bail!("line 1: there is no column device");
    }
    rows.map(|(line, fields)| {
        if fields.len() != columns.len() {
            bail!("line {line}: {} fields, where line 1 has {}", fields.len(), columns.len());
        }
        let given = columns.iter().zip(fields).filter(|(_, field)| !field.is_empty());
        let body: Map<_, _> = given.map(|(name, field)| (name.clone(), field.into())).collect();
        Ok(Value::Object(body))
    })
    .collect()
}

/// Registers what is not there yet; one that can't be is told, and the others go on.
fn import(console: &Console, devices: &[Value], credentials: bool) -> anyhow::Result<()> {
    let (mut added, mut failed) = (0, 0);
    for body in devices {
        let device = text(body, "device");
        let made = console.ask("POST", "/api/devices", Some(body)).and_then(|_| {
            added += 1;
            if credentials {
                print(&format!("{device},{}\n", secret(console, &device, None)?))?;
            }
            Ok(())
        });
        if let Err(error) = made {
            failed += 1;
            eprintln!("{device}: {error:#}");
        }
    }
    eprintln!("{added} devices added");
    if failed > 0 {
        bail!("{failed} devices were not added");
    }
    Ok(())
}

fn put<T: Into<Value>>(body: &mut Value, field: &str, value: Option<T>) {
    if let (Some(body), Some(value)) = (body.as_object_mut(), value) {
        body.insert(field.to_owned(), value.into());
    }
}

/// A field as a person reads it; empty where it is missing.
fn text(item: &Value, field: &str) -> String {
    match item.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}

fn table(items: &[Value], columns: &[&str]) -> String {
    let head: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let rows = items.iter().map(|item| columns.iter().map(|c| text(item, c)).collect());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns.len()).filter_map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_devices_becomes_bodies() {
        let text = "device,name,gateway\nesp,\"Hall, 3\",\r\ngw-1,,\n\n";
        let bodies = devices(text).unwrap();
        assert_eq!(
            bodies,
            [json!({"device": "esp", "name": "Hall, 3"}), json!({"device": "gw-1"})]
        );
        for (wrong, told) in [
            ("", "it is empty"),
            ("name\nx", "line 1: there is no column device"),
            ("device,colour\n", "line 1: there is no column \"colour\""),
            ("device,name\nesp\n", "line 2: 1 fields, where line 1 has 2"),
        ] {
            let error = devices(wrong).unwrap_err().to_string();
            assert!(error.starts_with(told), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn a_table_has_straight_columns() {
        let items = [json!({"name": "ann", "active": true}), json!({"name": "johannes"})];
        assert_eq!(
            table(&items, &["name", "active"]),
            "NAME      ACTIVE\nann       true\njohannes\n"
        );
    }
}
