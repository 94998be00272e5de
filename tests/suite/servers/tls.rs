//! Connections to a server over TLS: its certificate is looked at, and nothing goes in the clear.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::{Kind, Server};
use crate::{
    certificates::Authority,
    harness::{Brooklet, command},
};

impl Server {
    /// Gives it a certificate, and Brooklet no way in without TLS.
    async fn wants_tls(&self, authority: &Authority) {
        let data = self.folder.path().join(self.kind.name());
        let owner = fs::metadata(&data).unwrap();
        for (from, to, mode) in
            [("server.pem", "server.crt", 0o644), ("server.key", "server.key", 0o600)]
        {
            let to = data.join(to);
            fs::copy(authority.path(from), &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
            give(&to, &owner);
        }
        if self.kind == Kind::Postgres {
            let rules = data.join("pg_hba.conf");
            fs::write(rules, "hostssl all all 127.0.0.1/32 trust\n").unwrap();
            self.sql(&["ALTER SYSTEM SET ssl = on"], &[]).await;
        } else {
            self.sql(&[], &["ALTER USER brooklet@'127.0.0.1' REQUIRE SSL"]).await;
        }
        self.kill();
        self.run_again();
    }
}

fn give(path: &Path, owner: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, chown};
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

async fn over_tls(kind: Kind) {
    let Some(server) = Server::start(kind).await else { return };
    let (known, stranger) = (Authority::new(), Authority::new());
    server.wants_tls(&known).await;
    let url = |authority: &Authority| {
        let ca = authority.path("ca.pem");
        let (mode, file) = match kind {
            Kind::Postgres => ("sslmode=verify-full", "sslrootcert"),
            Kind::MariaDb => ("ssl-mode=VERIFY_IDENTITY", "ssl-ca"),
        };
        format!("{}?{mode}&{file}={}", server.url, ca.display())
    };
    let off = match kind {
        Kind::Postgres => "sslmode=disable",
        Kind::MariaDb => "ssl-mode=DISABLED",
    };
    for refused in [url(&stranger), format!("{}?{off}", server.url)] {
        let folder = TempDir::new().unwrap();
        let output = command(folder.path())
            .arg("migrate")
            .env("BROOKLET__DATABASE__URL", &refused)
            .env("BROOKLET__DATABASE__STARTUP_TIMEOUT", "600ms")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{refused}");
        assert!(told.contains("the database"), "{told}");
    }
    let brooklet = Brooklet::with(&[("DATABASE__URL", &url(&known))]).await;
    let mut device = brooklet.connect("d").await;
    device.publish("devices/d/data", r#"{"t": 20.5}"#).await;
    assert_eq!(brooklet.latest("d").await[0].1, Some(20.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_spoken_to_over_tls() {
    over_tls(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_spoken_to_over_tls() {
    over_tls(Kind::MariaDb).await;
}
