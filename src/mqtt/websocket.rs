//! MQTT over WebSocket (MQTT 5.0 §6): binary messages become a stream of bytes, and the other way.
//!
//! Packets may be split over messages and joined in them as the client likes. Anything but a binary
//! message ends the stream; pings are answered underneath. What asks for no WebSocket is answered in
//! HTTP. Bounds: one incoming message of the size given, one outgoing chunk; idle, a read buffer of
//! 4 KiB.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        handshake::server::{ErrorResponse, Request, Response},
        http::{
            HeaderValue, StatusCode,
            header::{CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
        },
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::transport::WebSocketSettings;
use crate::origin;

const SUB_PROTOCOL: &str = "mqtt";
const HERE_IS_MQTT: &str = "MQTT over WebSocket is spoken here, sub-protocol \"mqtt\"\n";
const READ_BUFFER: usize = 4 * 1024;
/// Outgoing messages are joined up to this before they are written.
const WRITE_BUFFER: usize = 4 * 1024;
/// Largest outgoing message.
const CHUNK: usize = 16 * 1024;
/// An incoming message may hold this many bytes beside the largest packet.
const SLACK: usize = 64 * 1024;

/// The bytes within a WebSocket's binary messages.
pub(super) struct WebSocket<S> {
    messages: WebSocketStream<S>,
    /// What of the last message has not been read yet.
    incoming: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The opening handshake. A wrong path is answered 404, a web page of somewhere else 403, a
    /// client that does not offer the sub-protocol 400, and whoever asks for no WebSocket 426.
    ///
    /// # Errors
    /// When there is no WebSocket afterwards; what could be answered has been.
    pub(super) async fn accept(
        mut stream: S,
        settings: &WebSocketSettings,
        packet_size_max: usize,
    ) -> io::Result<Self> {
        let size_max = packet_size_max.saturating_add(SLACK);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(2 * (WRITE_BUFFER + CHUNK))
            .max_message_size(Some(size_max))
            .max_frame_size(Some(size_max));
        #[expect(clippy::result_large_err, reason = "the type is the callback's")]
        let answer = |request: &Request, response: Response| answer(request, response, settings);
        // Lent, not given: the handshake drops what is no WebSocket, without a word.
        let handshake = accept_hdr_async_with_config(&mut stream, answer, Some(config));
        if let Err(error) = handshake.await.map(drop) {
            if let Error::Protocol(mistake) = &error {
                stream.write_all(in_http(mistake).as_bytes()).await?;
            }
            stream.shutdown().await?;
            return Err(as_io(error));
        }
        let messages = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Ok(Self { messages, incoming: Bytes::new() })
    }

    /// Asks the client to close, and fails the read.
    fn reject(&mut self, context: &mut Context<'_>) -> io::Error {
        let frame = CloseFrame { code: CloseCode::Unsupported, reason: "binary only".into() };
        let mut messages = Pin::new(&mut self.messages);
        if messages.as_mut().start_send(Message::Close(Some(frame))).is_ok() {
            // What the socket does not take at once is lost with the connection.
            let _ = messages.poll_flush(context);
        }
        io::Error::new(io::ErrorKind::InvalidData, "a WebSocket message that is not binary")
    }
}

#[expect(clippy::result_large_err, reason = "the type is the callback's")]
fn answer(
    request: &Request,
    mut response: Response,
    settings: &WebSocketSettings,
) -> Result<Response, ErrorResponse> {
    let refusal = |status, text: &str| {
        let mut response = ErrorResponse::new(Some(format!("{text}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Err(response)
    };
    if request.uri().path() != settings.path {
        return refusal(StatusCode::NOT_FOUND, "there is no MQTT here");
    }
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let admits = |origin: &HeaderValue| {
        origin.to_str().is_ok_and(|origin| origin::admits(&settings.allow_origins, origin, host))
    };
    if !headers.get_all(ORIGIN).iter().all(admits) {
        return refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect");
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok());
    let is_offered = offered.any(|v| v.split(',').any(|name| name.trim() == SUB_PROTOCOL));
    if !is_offered {
        return refusal(StatusCode::BAD_REQUEST, "the sub-protocol \"mqtt\" is not offered");
    }
    let chosen = HeaderValue::from_static(SUB_PROTOCOL);
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

/// What somebody gets to read who sent something else than the handshake of a WebSocket.
fn in_http(mistake: &ProtocolError) -> String {
    let is_upgrade_missing = matches!(
        mistake,
        ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader
            | ProtocolError::MissingSecWebSocketKey
    );
    let head = if is_upgrade_missing {
        "426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13"
    } else {
        "400 Bad Request\r\nConnection: close"
    };
    let len = HERE_IS_MQTT.len();
    format!(
        "HTTP/1.1 {head}\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{HERE_IS_MQTT}"
    )
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Http(answer) => {
            let text = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            io::Error::other(format!("{}: {}", answer.status(), text.trim_end()))
        }
        error => io::Error::other(error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.incoming.is_empty() {
            // `incoming`, though empty, is dropped only after the next read has begun: the stream
            // would else keep the room of a large message for as long as the connection lasts.
            match ready!(Pin::new(&mut this.messages).poll_next(context)) {
                Some(Ok(Message::Binary(payload))) => this.incoming = payload,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {
                    this.incoming = Bytes::new();
                }
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    return Poll::Ready(Err(this.reject(context)));
                }
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = this.incoming.len().min(buffer.remaining());
        if let Some(bytes) = this.incoming.get(..taken) {
            buffer.put_slice(bytes);
            this.incoming.advance(taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>().min(CHUNK);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut messages = Pin::new(&mut self.messages);
        ready!(messages.as_mut().poll_ready(context)).map_err(as_io)?;
        let mut chunk = BytesMut::with_capacity(len);
        for slice in slices {
            let room = slice.len().min(len - chunk.len());
            chunk.extend_from_slice(slice.get(..room).unwrap_or_default());
        }
        messages.start_send(Message::Binary(chunk.freeze())).map_err(as_io)?;
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(context).map_err(as_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(context).map_err(as_io)
    }
}
