//! Everything from SQLite to PostgreSQL, to MariaDB and back to SQLite, and backups of servers.

use std::path::Path;

use reqwest::Method;
use tempfile::TempDir;

use super::{Kind, Server};
use crate::{
    harness::{Brooklet, PATIENCE},
    moving::{
        assert_goes_on, heir, old_statistics_go_along, printed, run, seen, succeeded, told, world,
    },
    people::ask,
};

const CLOSED: (&str, &str) = ("HTTP__ALLOW_ANONYMOUS", "false");

async fn on(server: &Server, of: &Path) -> Brooklet {
    Brooklet::at(heir(of), &[CLOSED, ("DATABASE__URL", &server.url)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_through_all_engines_comes_back_as_it_was() {
    let Some(postgres) = Server::start(Kind::Postgres).await else { return };
    let Some(mariadb) = Server::start(Kind::MariaDb).await else { return };
    let Some((mut brooklet, key)) = world().await else { return };
    let expected = seen(&brooklet, &key).await;
    brooklet.stop().await;
    let folder = brooklet.folder();
    let last = heir(folder);
    let file = format!("sqlite://{}", last.path().join("data/brooklet.db").display());
    let mut from: Option<&str> = None;
    for to in [&postgres.url, &mariadb.url, &file] {
        let text = succeeded(&run(folder, from, &["copy", "--to", to]));
        assert!(text.contains("\nAll "), "{text}");
        let occupied = run(folder, from, &["copy", "--to", to]);
        assert!(told(&occupied).contains("is not empty: device has 3 rows"), "{}", told(&occupied));
        from = Some(to);
    }
    // Those that have not met. What went through MariaDB has a zero without its sign.
    for (from, to) in [(None, &mariadb.url), (Some(file.as_str()), &mariadb.url)] {
        let text = succeeded(&run(folder, from, &["copy", "--verify", "--to", to]));
        assert!(text.ends_with(" is equal."), "{text}");
    }
    let text = run(folder, None, &["copy", "--verify", "--to", &file]);
    assert!(printed(&text).contains("\nNot equal: reading"), "{}", printed(&text));
    succeeded(&run(last.path(), None, &["verify"]));
    assert_goes_on(&Brooklet::at(last, &[CLOSED]).await, &key, &expected).await;
    for server in [&postgres, &mariadb] {
        assert_goes_on(&on(server, folder).await, &key, &expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_readings_that_are_gone_go_through_all_engines() {
    let Some(postgres) = Server::start(Kind::Postgres).await else { return };
    let Some(mariadb) = Server::start(Kind::MariaDb).await else { return };
    let folder = TempDir::new().unwrap();
    let file = format!("sqlite://{}", folder.path().join("last.db").display());
    old_statistics_go_along(&[postgres.url.clone(), mariadb.url.clone(), file]).await;
}

/// A backup of one server into the other, and into a file.
async fn backups(kind: Kind, other: Kind) {
    let Some(server) = Server::start(kind).await else { return };
    let Some(other) = Server::start(other).await else { return };
    let Some((mut brooklet, key)) = world().await else { return };
    let expected = seen(&brooklet, &key).await;
    brooklet.stop().await;
    let folder = brooklet.folder();
    let of_file = folder.join("file.backup");
    succeeded(&run(folder, None, &["backup", of_file.to_str().unwrap()]));
    let refused = run(folder, Some(&other.url), &["restore", of_file.to_str().unwrap()]);
    assert!(
        told(&refused).contains("`brooklet copy --to` moves to a server"),
        "{}",
        told(&refused)
    );
    succeeded(&run(folder, None, &["copy", "--to", &server.url]));

    let running = on(&server, folder).await;
    let by_command = folder.join("by-command.backup");
    succeeded(&run(running.folder(), Some(&server.url), &["backup", by_command.to_str().unwrap()]));
    let ordered = ask(&running, &key, Method::POST, "/api/backup", None).await;
    assert_eq!(ordered.status, 202, "{}", ordered.text);
    let location = ordered.headers["location"].to_str().unwrap().to_owned();
    let deadline = std::time::Instant::now() + PATIENCE;
    let job = loop {
        assert!(std::time::Instant::now() < deadline, "the backup does not end");
        let job = ask(&running, &key, Method::GET, &location, None).await.body;
        if job["finished_at"].is_string() {
            break job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(job["state"], "done", "{job}");
    let name = job["subject"].as_str().unwrap();
    let by_server = running.folder().join("data/backups").join(name);
    for file in [&by_command, &by_server] {
        let checked =
            succeeded(&run(folder, None, &["restore", "--verify", file.to_str().unwrap()]));
        assert!(checked.contains(" 20056 readings in a dump"), "{checked}");
        assert!(checked.ends_with("nothing is wrong"), "{checked}");
    }

    let elsewhere = TempDir::new().unwrap();
    let given = by_command.to_str().unwrap();
    let restored = run(elsewhere.path(), Some(&other.url), &["restore", given]);
    assert!(succeeded(&restored).contains("It is restored to "), "{}", printed(&restored));
    let again = run(elsewhere.path(), Some(&other.url), &["restore", given]);
    assert!(told(&again).contains("is not empty: "), "{}", told(&again));
    let copy = Brooklet::at(elsewhere, &[CLOSED, ("DATABASE__URL", &other.url)]).await;
    assert_goes_on(&copy, &key, &expected).await;

    let elsewhere = TempDir::new().unwrap();
    succeeded(&run(elsewhere.path(), None, &["restore", by_server.to_str().unwrap()]));
    succeeded(&run(elsewhere.path(), None, &["verify"]));
    // That the backup was ordered stands in the audit log, which comes last.
    let before = &expected[..expected.len() - 1];
    assert_goes_on(&Brooklet::at(elsewhere, &[CLOSED]).await, &key, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgresql_is_restored_to_mariadb_and_to_a_file() {
    backups(Kind::Postgres, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_mariadb_is_restored_to_postgresql_and_to_a_file() {
    backups(Kind::MariaDb, Kind::Postgres).await;
}
