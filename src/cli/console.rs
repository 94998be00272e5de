//! Speaks to the server of this data directory: the one that runs, or else one that is started for the
//! moment, on free ports of this machine and open to nobody.
//!
//! Either way a change goes over the HTTP surface, with the key that the server has left in its data
//! directory: checked, noted in the audit log and in force at once, like anybody else's.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::{
    access::CONSOLE_FILE,
    app::{App, AppError, Running},
    clock::Clock,
    config::{Anonymous, DatabasePlace, Settings},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Entries that the server gives at a time.
const PAGE_MAX: usize = 1000;
const HEAD_BYTES_MAX: u64 = 64 * 1024;
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A server that can be spoken to.
pub(super) struct Console {
    address: SocketAddr,
    key: String,
    /// Started for this command alone.
    own: Option<(tokio::runtime::Runtime, Running)>,
    /// Whether the configuration lets everybody in until somebody is known.
    opens_to_strangers: bool,
}

/// What becomes of a command where there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It adds something: a store is made for it.
    Begin,
    /// It reads or changes what is there: in the wrong folder it says so.
    Refuse,
}

/// The file of the store that is not there yet. What a server has is asked there.
///
/// # Errors
/// What of `database.url` is not understood.
pub(super) fn absent_file(settings: &Settings) -> anyhow::Result<Option<PathBuf>> {
    match settings.database_place().map_err(AppError::Settings)? {
        DatabasePlace::File(path) if !path.exists() => Ok(Some(path)),
        DatabasePlace::File(_) | DatabasePlace::Server(_) => Ok(None),
    }
}

/// # Errors
/// When there is no store to be read.
pub(super) fn refuse_absent(settings: &Settings) -> anyhow::Result<()> {
    match absent_file(settings)? {
        Some(path) => bail!("no store at {}; pass --config", path.display()),
        None => Ok(()),
    }
}

impl Console {
    /// # Errors
    /// When no server answers and none can be started.
    pub(super) fn open(settings: Settings, missing: Missing) -> anyhow::Result<Self> {
        let http = &settings.http;
        let opens_to_strangers = http.allow_anonymous == Anonymous::Loopback
            && http.is_local()
            && http.api_keys.is_empty();
        if let Some(console) = Self::running(&settings.data_dir, opens_to_strangers) {
            return Ok(console);
        }
        let absent = absent_file(&settings)?;
        if let (Some(path), Missing::Refuse) = (&absent, missing) {
            bail!("no store at {}; start Brooklet first, or pass --config", path.display());
        }
        let folder = settings.data_dir.clone();
        let runtime = super::runtime()?;
        let running = runtime.block_on(start(settings))?;
        if let Some(path) = absent {
            eprintln!("There was no store at {}: one was made.", path.display());
        }
        let (address, key) = read(&folder).context("the server can't be spoken to")?;
        Ok(Self { address, key, own: Some((runtime, running)), opens_to_strangers })
    }

    fn running(folder: &Path, opens_to_strangers: bool) -> Option<Self> {
        let (address, key) = read(folder)?;
        let console = Self { address, key, own: None, opens_to_strangers };
        // A server that was killed leaves its file behind.
        let answer = console.send("GET", "/api/auth/me", None).ok()?;
        (answer.status == 200 && answer.body.get("kind")? == "console").then_some(console)
    }

    /// Whether whoever reaches the server may use `/api`, because nobody is known to it yet.
    pub(super) fn is_open(&self) -> bool {
        let nobody = |path| self.newest(path, 1).is_ok_and(|known| known.is_empty());
        self.opens_to_strangers && nobody("/api/users") && nobody("/api/keys")
    }

    /// Asks for something that must succeed.
    ///
    /// # Errors
    /// What the server says is wrong.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        self.send(method, path, body)?.success()
    }

    /// All entries of a list, whatever its pages.
    ///
    /// # Errors
    /// As above.
    pub(super) fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        self.newest(path, usize::MAX)
    }

    /// The first entries of a list.
    ///
    /// # Errors
    /// As above.
    pub(super) fn newest(&self, path: &str, entries: usize) -> anyhow::Result<Vec<Value>> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let wanted = entries.saturating_sub(items.len()).clamp(1, PAGE_MAX);
            let page = self.ask("GET", &format!("{path}?limit={wanted}{next}"), None)?;
            items
                .extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(cursor) if items.len() < entries => {
                    next = format!("&cursor={}", escaped(cursor));
                }
                _ => return Ok(items),
            }
        }
    }

    /// Asks for something large, and hands it on as it comes.
    ///
    /// # Errors
    /// What the server says is wrong; when it ends before the end; what `to` says, as it says it.
    pub(super) fn download(&self, path: &str, to: &mut dyn Write) -> anyhow::Result<()> {
        let mut answer = BufReader::new(self.request("GET", path, None)?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let line = (&mut answer).take(HEAD_BYTES_MAX).read_line(&mut head)?;
            if line == 0 || head.len() as u64 > HEAD_BYTES_MAX {
                bail!("no HTTP server is at {}", self.address);
            }
        }
        if !head.starts_with("HTTP/1.1 200") {
            let mut text = head.into_bytes();
            answer.take(ANSWER_BYTES_MAX).read_to_end(&mut text)?;
            return self.understood(&text)?.success().map(drop);
        }
        loop {
            let mut size = String::new();
            (&mut answer).take(HEAD_BYTES_MAX).read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim_end(), 16)
                .map_err(|_| anyhow!("the answer was cut short"))?;
            let copied = io::copy(&mut (&mut answer).take(size), to)?;
            // Each piece ends a line.
            let end = io::copy(&mut (&mut answer).take(2), &mut io::sink())?;
            match size {
                0 => return Ok(()),
                _ if copied < size || end < 2 => bail!("the answer was cut short"),
                _ => {}
            }
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let stream = self.request(method, path, body)?;
        let mut text = Vec::new();
        let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut text);
        read.with_context(|| self.unreachable())?;
        self.understood(&text)
    }

    fn understood(&self, text: &[u8]) -> anyhow::Result<Answer> {
        Answer::parse(text).with_context(|| format!("no HTTP server is at {}", self.address))
    }

    fn unreachable(&self) -> String {
        format!("can't speak to the server at {}", self.address)
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<TcpStream> {
        let unreachable = || self.unreachable();
        let mut stream =
            TcpStream::connect_timeout(&self.address, PATIENCE).with_context(unreachable)?;
        stream.set_read_timeout(Some(PATIENCE)).with_context(unreachable)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).with_context(unreachable)?;
        Ok(stream)
    }

    /// # Errors
    /// None; a server of its own is stopped.
    pub(super) fn close(mut self) {
        if let Some((runtime, running)) = self.own.take() {
            runtime.block_on(running.stop());
            runtime.shutdown_background();
        }
    }
}

struct Answer {
    status: u16,
    /// Null where it is no JSON.
    body: Value,
}

impl Answer {
    /// What was asked for, or what the server says is wrong.
    fn success(self) -> anyhow::Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let text = |name: &str| self.body.get(name).and_then(Value::as_str);
        match text("detail").or_else(|| text("title")) {
            Some(detail) => bail!("{detail}"),
            None => bail!("the server answered {}", self.status),
        }
    }

    /// Of a connection that was closed after it, with a length and no chunks, as the server sends it.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = text.split_at_checked(end + 4)?;
        let head = std::str::from_utf8(head).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self { status, body: serde_json::from_slice(body).unwrap_or_default() })
    }
}

fn read(folder: &Path) -> Option<(SocketAddr, String)> {
    let text = fs::read_to_string(folder.join(CONSOLE_FILE)).ok()?;
    let mut lines = text.lines();
    Some((lines.next()?.parse().ok()?, lines.next()?.to_owned()))
}

async fn start(mut settings: Settings) -> anyhow::Result<Running> {
    let anywhere = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    settings.mqtt.listen.clone_from(&anywhere);
    settings.mqtt.listeners.clear();
    settings.mqtt.allow_anonymous = Anonymous::No;
    settings.http.listen = anywhere;
    settings.http.allow_anonymous = Anonymous::No;
    settings.log.http_access = false;
    App::build(settings, Clock::system()).await?.start().context("can't start")
}

/// A text as one segment of a path, or as a value of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = Answer::parse(b"HTTP/1.1 422 Unprocessable\r\na: b\r\n\r\n{\"x\":1}").unwrap();
        assert_eq!((answer.status, &answer.body["x"]), (422, &Value::from(1)));
        assert!(Answer::parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body.is_null());
        for no_answer in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n", b""] {
            assert!(Answer::parse(no_answer).is_none());
        }
    }

    #[test]
    fn odd_texts_stay_one_segment() {
        assert_eq!(escaped("a/b?c=%d e:ü"), "a%2Fb%3Fc%3D%25d%20e%3A%C3%BC");
    }
}
