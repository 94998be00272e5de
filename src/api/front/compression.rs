//! gzip for answers of text.
//!
//! A stream stays one: what comes in is packed and sent on at once. Small answers, and those that show
//! secrets next to what somebody else may have written, are left as they are. An ETag stays the same:
//! it names a version of the thing, for If-Match, not the bytes.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, combinators::BoxBody};
use poem::{
    Body, Response,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};

/// Answers shorter than this are not worth it.
const WORTH: u64 = 1 << 10;
/// What is packed at a time, so that others get their turn.
const PIECE: usize = 32 << 10;
const TEXT: [&str; 10] = [
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "application/javascript",
    "text/csv",
    "text/html",
    "text/css",
    "text/javascript",
    "text/plain",
    "image/svg+xml",
];

/// Whether the client takes gzip.
pub(in crate::api) fn is_accepted(headers: &HeaderMap) -> bool {
    let mut any = None;
    for line in headers.get_all(header::ACCEPT_ENCODING) {
        for word in line.to_str().unwrap_or_default().split(',') {
            let (coding, weight) = word.split_once(';').unwrap_or((word, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok());
            let is_wanted = weight.is_some_and(|weight: f32| weight > 0.0);
            match coding.trim() {
                name if name.eq_ignore_ascii_case("gzip") => return is_wanted,
                "*" => any = Some(is_wanted),
                _ => {}
            }
        }
    }
    any.unwrap_or(false)
}

/// Whether an answer may be packed at all.
pub(super) fn is_suitable(path: &str, response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    TEXT.contains(&kind)
        && !path.starts_with("/api/auth")
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The same answer, packed if that is worth it.
pub(super) fn packed(mut response: Response) -> Response {
    let body: BoxBody<Bytes, io::Error> = response.take_body().into();
    if body.size_hint().upper().is_some_and(|length| length < WORTH) {
        response.set_body(Body::from(body));
        return response;
    }
    let packing = Packing {
        body,
        rest: Bytes::new(),
        encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
    };
    response.set_body(Body::from(packing.boxed()));
    mark(&mut response);
    response
}

/// An answer whose packed form is there already.
pub(super) fn replaced(mut response: Response, packed: Bytes) -> Response {
    response.set_body(Body::from_bytes(packed));
    mark(&mut response);
    response
}

fn mark(response: &mut Response) {
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// Packs what never changes, once.
pub(super) fn pack_once(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

struct Packing {
    body: BoxBody<Bytes, io::Error>,
    /// Of the last piece that came.
    rest: Bytes,
    /// `None` once the end is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Packing {
    /// Packs some of what is there; nothing where the encoder keeps it for the next.
    fn pack(&mut self) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else { return Ok(Bytes::new()) };
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        encoder.write_all(&piece)?;
        if self.rest.is_empty() {
            encoder.flush()?;
        }
        Ok(std::mem::take(encoder.get_mut()).into())
    }
}

impl http_body::Body for Packing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if !self.rest.is_empty() {
                let packed = self.pack()?;
                if packed.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(Frame::data(packed))));
            }
            if self.encoder.is_none() {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let Some(encoder) = self.encoder.take() else { return Poll::Ready(None) };
                    return Poll::Ready(Some(encoder.finish().map(|end| Frame::data(end.into()))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gzip_is_used_where_it_is_asked_for() {
        for (line, is_wanted) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("br, gzip", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("*;q=0, gzip", true),
            ("br", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
            assert_eq!(is_accepted(&headers), is_wanted, "{line}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[test]
    fn only_text_is_packed_and_no_stream_of_events_and_no_secret() {
        for (path, kind, is_suited) in [
            ("/api/devices", "application/json; charset=utf-8", true),
            ("/api/devices/x", "application/problem+json", true),
            ("/api/data/export", "text/csv; charset=utf-8", true),
            ("/api/stream", "text/event-stream", false),
            ("/api/auth/login", "application/json", false),
            ("/api/file", "application/octet-stream", false),
        ] {
            let response = Response::builder().content_type(kind).body("x");
            assert_eq!(is_suitable(path, &response), is_suited, "{path} {kind}");
        }
        let packed = Response::builder().content_type("text/csv");
        let packed = packed.header(header::CONTENT_ENCODING, "gzip").body("x");
        assert!(!is_suitable("/api/data/export", &packed));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_the_same(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..20),
            times in 1_usize..60,
        ) {
            let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|piece| piece.repeat(times)).collect();
            let whole = pieces.concat();
            let stream = futures_util::stream::iter(pieces.into_iter().map(io::Result::Ok));
            let response = packed(Response::builder().body(Body::from_bytes_stream(stream)));
            prop_assert_eq!(&response.headers()["content-encoding"], "gzip");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes = runtime.block_on(response.into_body().into_bytes()).unwrap();
            let mut unpacked = Vec::new();
            GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
            prop_assert!(unpacked == whole);
        }
    }

    /// What has come can be read before the next comes.
    #[tokio::test]
    async fn a_stream_stays_a_stream() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        let response = packed(Response::builder().body(Body::from_bytes_stream(stream)));
        let mut body: BoxBody<Bytes, io::Error> = response.into_body().into();
        let mut seen = Vec::new();
        for line in ["one\n", "two\n"] {
            sender.send(Ok(Bytes::from_static(line.as_bytes()))).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            seen.extend_from_slice(&frame);
            let mut text = [0; 100];
            let mut reader = GzDecoder::new(&seen[..]);
            let mut length = 0;
            while let Ok(read @ 1..) = reader.read(&mut text[length..]) {
                length += read;
            }
            assert!(text[..length].ends_with(line.as_bytes()));
        }
    }
}
