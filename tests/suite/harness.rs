//! Runs the real binary on free ports and a folder of its own, and sees that it ends well.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::wire::Client;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Brooklet {
    child: Option<Child>,
    /// The first of `mqtt.listen`.
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    /// The last of `http.listeners`.
    https: Option<SocketAddr>,
    /// Every MQTT listener, by transport, in the order of the configuration.
    listeners: Vec<(String, SocketAddr)>,
    /// Lines of the log so far.
    log: Arc<Mutex<Vec<Value>>>,
    folder: Arc<TempDir>,
    variables: Vec<(String, String)>,
    may_log_errors: bool,
}

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Brooklet {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With variables such as `("DEVICES__UNKNOWN", "pending")`.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self::launch(Arc::new(TempDir::new().unwrap()), variables).await
    }

    /// In a folder that is there, with what is in it.
    pub(crate) async fn at(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self::launch(Arc::new(folder), variables).await
    }

    async fn launch(folder: Arc<TempDir>, variables: Vec<(String, String)>) -> Self {
        let folder_path = folder.path().to_owned();
        let given = variables.clone();
        let (child, stderr) =
            tokio::task::spawn_blocking(move || spawn(&folder_path, &given)).await.unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, mut ready) = tokio::sync::mpsc::channel(4);
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if value["message"] == "listening" || value["message"] == "Brooklet is ready" {
                    let _ = sender.blocking_send(value.clone());
                }
                lines.lock().unwrap().push(value);
            }
        });
        let (mut listeners, mut http, mut https) = (Vec::new(), None, None);
        loop {
            let line = tokio::time::timeout(PATIENCE, ready.recv()).await;
            let Ok(Some(line)) = line else { panic!("did not start: {:?}", log.lock().unwrap()) };
            let Some(address) = line["address"].as_str() else { break };
            let address = address.parse().unwrap();
            match line["transport"].as_str() {
                Some(transport) => listeners.push((transport.to_owned(), address)),
                None if line["protocol"] == "https" => https = Some(address),
                None => http = Some(address),
            }
        }
        Self {
            child: Some(child),
            mqtt: listeners[0].1,
            http: http.unwrap(),
            https,
            listeners,
            log,
            folder,
            variables,
            may_log_errors: false,
        }
    }

    /// The test provokes errors in the log.
    pub(crate) fn may_log_errors(&mut self) {
        self.may_log_errors = true;
    }

    /// The first listener of `mqtt.listeners` with this transport.
    pub(crate) fn listener(&self, transport: &str) -> SocketAddr {
        let mut further = self.listeners.iter().skip(1);
        further.find(|(name, _)| name == transport).unwrap().1
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.https.unwrap()
    }

    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line of the log.
    pub(crate) async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log.lock().unwrap().iter().find(|line| wanted(line)) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "{:?}", self.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a line of `/metrics`, such as `name{label="value"}`; 0 where it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let response = self.request(Method::GET, "/metrics", None).await;
        let mut lines = response.text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or_default()
    }

    pub(crate) async fn until_metric(&self, series: &str, wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(series).await;
            if value == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{series} is {value}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        signal(self.pid(), rustix::process::Signal::HUP);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("data/brooklet.db")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts again on the same folder.
    pub(crate) async fn restart(mut self) -> Self {
        if self.child.is_some() {
            self.stop().await;
        }
        Self::launch(self.folder.clone(), self.variables.clone()).await
    }

    /// As [`Brooklet::restart`], with other variables.
    pub(crate) async fn restart_with(mut self, variables: &[(&str, &str)]) -> Self {
        self.variables =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.restart().await
    }

    /// SIGTERM; asserts that it ends by itself, in time, with 0.
    pub(crate) async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), rustix::process::Signal::TERM);
        let status = tokio::task::spawn_blocking(move || wait(&mut child)).await.unwrap();
        assert_eq!(status, Some(0), "{:?}", self.log.lock().unwrap());
        self.assert_clean_log();
    }

    fn assert_clean_log(&self) {
        let log = self.log.lock().unwrap();
        let text = |line: &Value| line.to_string();
        let panicked = log.iter().find(|line| text(line).contains("panicked"));
        assert!(panicked.is_none(), "{panicked:?}");
        if !self.may_log_errors {
            let error = log.iter().find(|line| line["level"] == "ERROR");
            assert!(error.is_none(), "{error:?}");
        }
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Response {
        self.request_with(method, path, body, &[]).await
    }

    pub(crate) async fn request_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut headers = headers.to_vec();
        let json = ("Content-Type", "application/json");
        headers.extend(body.is_some().then_some(json));
        let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
        self.send(method, path, body, &headers).await
    }

    /// A body of any kind.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Response {
        let url = format!("http://{}{path}", self.http);
        let mut request = reqwest::Client::new().request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Response { status, headers, body, text }
    }

    /// The body of a GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path, None).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text);
        response.body
    }

    /// The job that an answer tells of, once it has ended.
    pub(crate) async fn ended(&self, ordered: &Response) -> Value {
        assert_eq!(ordered.status, 202, "{}", ordered.text);
        let location = ordered.headers["location"].to_str().unwrap();
        let is_over =
            |job: &Value| ["done", "failed", "cancelled"].iter().any(|s| job["state"] == *s);
        self.eventually(location, is_over).await
    }

    /// The newest reading of each of a device's sensors, as (sensor, value, quality).
    pub(crate) async fn latest(&self, device: &str) -> Vec<(String, Option<f64>, String)> {
        let page = self.get(&format!("/api/data/latest?device_id={device}&limit=1000")).await;
        let mut latest: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                let text = |name: &str| r[name].as_str().unwrap().to_owned();
                (text("sensor"), r["value"].as_f64(), text("quality"))
            })
            .collect();
        latest.sort_by(|a, b| a.0.cmp(&b.0));
        latest
    }

    /// Asks again until `done` says so.
    pub(crate) async fn eventually(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = self.get(path).await;
            if done(&body) {
                return body;
            }
            assert!(Instant::now() < deadline, "{path}: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn connect(&self, client_id: &str) -> Client {
        Client::v5(self.mqtt, client_id).await
    }

    pub(crate) async fn connect_v4(&self, client_id: &str) -> Client {
        Client::v4(self.mqtt, client_id).await
    }
}

impl Drop for Brooklet {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if std::thread::panicking() {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        signal(child.id(), rustix::process::Signal::TERM);
        let status = wait(&mut child);
        assert_eq!(status, Some(0), "the stop: {:?}", self.log.lock().unwrap());
        self.assert_clean_log();
    }
}

fn spawn(folder: &Path, variables: &[(String, String)]) -> (Child, ChildStderr) {
    let mut command = command(folder);
    command
        .env("BROOKLET__MQTT__LISTEN", r#"["127.0.0.1:0"]"#)
        .env("BROOKLET__HTTP__LISTEN", r#"["127.0.0.1:0"]"#)
        .env("BROOKLET__LOG__FORMAT", "json")
        .env("BROOKLET__LOG__HTTP_ACCESS", "false");
    if let Some(url) = crate::servers::database(folder) {
        command.env("BROOKLET__DATABASE__URL", url);
    }
    for (name, value) in variables {
        command.env(format!("BROOKLET__{name}"), value);
    }
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    (child, stderr)
}

/// The binary, in a folder of its own, without variables of ours.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
    command.current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BROOKLET__")) {
        command.env_remove(name);
    }
    command
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    child.kill().unwrap();
    None
}
