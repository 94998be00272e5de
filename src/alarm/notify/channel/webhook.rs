//! A POST to a URL. Redirects that keep the method (307, 308) are followed, three at most, to public
//! addresses only unless the target says otherwise or they stay at its origin; the address that was
//! checked is the one that is connected to. The secrets of a target go to its own origin only.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use url::{Host, Url};

use super::{Failure, Message, signature::signature};
use crate::{
    alarm::notify::{Look, Secret, WebhookSettings, address, render::alertmanager},
    mqtt::UnixMicros,
    tls::{TlsClient, TrustedCertificates},
};

const REDIRECTS_MAX: usize = 3;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;
/// Bytes of an answer's body that are read, for the server's sake; they are not looked at.
const BODY_MAX: usize = 64 * 1024;
/// For one of a name's addresses, when there are more.
const CONNECT_TIME: Duration = Duration::from_secs(3);

pub(super) struct Webhook {
    tls: Arc<TlsClient>,
}

impl Webhook {
    pub(super) fn new(tls: Arc<TlsClient>) -> Self {
        Self { tls }
    }

    pub(super) async fn send(
        &self,
        settings: &WebhookSettings,
        message: &Message,
        look: &Look,
        now: UnixMicros,
    ) -> Result<(), Failure> {
        let first = Url::parse(&settings.url)
            .map_err(|error| Failure::permanent(format!("the URL can't be used: {error}")))?;
        let body = Bytes::from(alertmanager::body(message, look));
        let headers = headers(settings, &message.key, &body, now);
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let is_elsewhere = url.origin() != first.origin();
            let stream = connect(&url, is_elsewhere && !settings.allow_private).await?;
            let mut headers = headers.clone();
            if is_elsewhere {
                remove_secrets(&mut headers, settings);
            }
            let response = self.exchange(&url, stream, headers, body.clone(), settings).await?;
            match next_hop(&url, response.status(), response.headers())? {
                None => return outcome(response.status(), response.headers()),
                Some(next) => url = next,
            }
        }
        Err(Failure::temporary(format!("more than {REDIRECTS_MAX} redirects")))
    }

    async fn exchange(
        &self,
        url: &Url,
        stream: TcpStream,
        headers: HeaderMap,
        body: Bytes,
        settings: &WebhookSettings,
    ) -> Result<Response<()>, Failure> {
        let request = request(url, headers, body)?;
        if url.scheme() != "https" {
            return post(request, stream).await;
        }
        let trusted = settings.ca.as_deref().map(TrustedCertificates::read).transpose();
        let trusted = trusted.map_err(|what| Failure::permanent(format!("ca: {what}")))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match self.tls.connect(host, trusted.as_ref(), stream).await {
            Ok(stream) => post(request, stream).await,
            Err(error) => Err(Failure::temporary(format!("TLS with {host}: {error}"))),
        }
    }
}

fn headers(settings: &WebhookSettings, key: &str, body: &Bytes, now: UnixMicros) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Some(value)) = (name, secret_value("", value)) {
            headers.insert(name, value);
        }
    }
    let mut set = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    let bearer = settings.bearer.as_ref().and_then(|token| secret_value("Bearer ", token));
    set(header::AUTHORIZATION, bearer);
    set(header::CONTENT_TYPE, Some(HeaderValue::from_static("application/json")));
    let agent = concat!("brooklet/", env!("CARGO_PKG_VERSION"));
    set(header::USER_AGENT, Some(HeaderValue::from_static(agent)));
    set(HeaderName::from_static("idempotency-key"), HeaderValue::try_from(key).ok());
    let timestamp = now.div_euclid(1_000_000).to_string();
    let signed = settings.secret.as_ref();
    let signed = signed.and_then(|secret| signature(secret.reveal(), &timestamp, body));
    let signed = signed.and_then(|signed| HeaderValue::try_from(signed).ok());
    set(HeaderName::from_static("x-brooklet-signature"), signed);
    let timestamp = HeaderValue::try_from(timestamp).ok();
    set(HeaderName::from_static("x-brooklet-timestamp"), timestamp);
    headers
}

fn secret_value(prefix: &str, secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", secret.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn remove_secrets(headers: &mut HeaderMap, settings: &WebhookSettings) {
    headers.remove(header::AUTHORIZATION);
    for name in settings.headers.keys() {
        headers.remove(name.as_str());
    }
}

fn request(url: &Url, headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let wrong = |error: String| Failure::permanent(format!("the URL can't be used: {error}"));
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let mut request =
        Request::post(path).body(Full::new(body)).map_err(|error| wrong(error.to_string()))?;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(host).map_err(|error| wrong(error.to_string()))?;
    request.headers_mut().insert(header::HOST, host);
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(header::CONNECTION, close);
    Ok(request)
}

/// To one of the host's addresses. With `public_only` to none that is private: what is checked here
/// is what is connected to, so a name that changes its address in between gains nothing.
async fn connect(url: &Url, public_only: bool) -> Result<TcpStream, Failure> {
    let port = url.port_or_known_default().unwrap_or(80);
    let host = url.host_str().unwrap_or_default();
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(IpAddr::V4(address), port).into()],
        Some(Host::Ipv6(address)) => vec![(IpAddr::V6(address), port).into()],
        _ => lookup_host((host, port))
            .await
            .map_err(|error| Failure::temporary(format!("{host} has no address: {error}")))?
            .collect(),
    };
    if public_only && addresses.iter().any(|address| address::is_private(address.ip())) {
        let why = format!("a redirect leads to {host}, which has a private address");
        return Err(Failure::temporary(why));
    }
    let mut why = format!("{host} has no address");
    for address in &addresses {
        let connecting = TcpStream::connect(address);
        let is_only = addresses.len() == 1;
        let connected =
            if is_only { Ok(connecting.await) } else { timeout(CONNECT_TIME, connecting).await };
        match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("no connection to {host}:{port}: {error}"),
            Err(_) => why = format!("no connection to {host}:{port} in time"),
        }
    }
    Err(Failure::temporary(why))
}

async fn post<S>(request: Request<Full<Bytes>>, stream: S) -> Result<Response<()>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error: hyper::Error| Failure::temporary(format!("the exchange failed: {error}"));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(failed)?;
        Ok(read_to_end(response).await)
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        response = &mut exchange => response,
        ended = &mut connection => {
            ended.map_err(failed)?;
            exchange.await
        }
    }
}

/// What the body says or how it ends changes nothing any more.
async fn read_to_end(response: Response<Incoming>) -> Response<()> {
    let (head, body) = response.into_parts();
    let _ = Limited::new(body, BODY_MAX).collect().await;
    Response::from_parts(head, ())
}

/// Where a redirect leads.
fn next_hop(url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Failure> {
    if !matches!(status.as_u16(), 307 | 308) {
        return Ok(None);
    }
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
        return Err(Failure::temporary(format!("{status} without a usable Location")));
    };
    if url.scheme() == "https" && next.scheme() == "http" {
        return Err(Failure::temporary("a redirect leads from https to http"));
    }
    Ok(Some(next))
}

/// What is wrong with the message itself is final; whatever an operator or time may mend is not.
fn outcome(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    match status.as_u16() {
        200..=299 => Ok(()),
        400 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 422 | 431 => {
            Err(Failure::permanent(format!("refused with {status}")))
        }
        301..=303 => {
            let why =
                format!("answered with {status}, which would drop the body; use the final URL");
            Err(Failure::temporary(why))
        }
        _ => {
            let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Err(Failure::Temporary { why: format!("answered with {status}"), after })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        let after = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let outcome = |status: u16| super::outcome(StatusCode::from_u16(status).unwrap(), &after);
        for status in [200, 202, 204] {
            assert_eq!(outcome(status), Ok(()));
        }
        for status in [400, 410, 413, 422] {
            assert!(matches!(outcome(status), Err(Failure::Permanent { .. })), "{status}");
        }
        for status in [302, 401, 403, 404, 408, 500, 502] {
            assert!(matches!(outcome(status), Err(Failure::Temporary { .. })), "{status}");
        }
        for status in [429, 503] {
            let Err(Failure::Temporary { after, .. }) = outcome(status) else { panic!("{status}") };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn where_a_redirect_leads() {
        let hop = |from: &str, to: &'static str| {
            let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(to))]);
            next_hop(&Url::parse(from).unwrap(), StatusCode::TEMPORARY_REDIRECT, &headers)
        };
        let next = |from, to| hop(from, to).unwrap().unwrap().to_string();
        assert_eq!(next("http://a/x/y", "../z?q"), "http://a/z?q");
        assert_eq!(next("http://a/", "https://b/"), "https://b/");
        for to in ["http://a/", "file:///etc/passwd", "//"] {
            assert!(hop("https://a/", to).is_err(), "{to}");
        }
    }
}
