//! One connection that posts OTLP requests whose bodies were made before: HTTP/2 for gRPC, HTTP/1.1 else.
//!
//! A gRPC client library would encode and compress each message itself, at the moment of sending; this one
//! sends what it is given. It is made for this machine and servers that behave: what breaks, panics.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, TE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// OTLP over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

/// How bodies are compressed: the fastest level of each, as the sender's time is not what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// For want of room; may be sent again.
    Refused,
    Failed,
}

impl Compression {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compression::Plain => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    /// The body of a request with this message.
    pub(crate) fn pack(self, message: Vec<u8>, protocol: Protocol) -> Bytes {
        let packed = match self {
            Compression::Plain => message,
            Compression::Gzip => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(&message).expect("memory takes everything");
                encoder.finish().expect("memory takes everything")
            }
            Compression::Zstd => {
                zstd::encode_all(&message[..], 1).expect("memory takes everything")
            }
        };
        if protocol == Protocol::Http {
            return Bytes::from(packed);
        }
        let mut frame = BytesMut::with_capacity(packed.len() + 5);
        frame.put_u8(u8::from(self != Compression::Plain));
        frame.put_u32(u32::try_from(packed.len()).expect("requests are small"));
        frame.extend_from_slice(&packed);
        frame.freeze()
    }
}

/// The connection. Clones share it, if it is HTTP/2.
pub(crate) struct Client {
    protocol: Protocol,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    sender: Sender,
}

enum Sender {
    Two(http2::SendRequest<Full<Bytes>>),
    One(http1::SendRequest<Full<Bytes>>),
}

impl Clone for Client {
    fn clone(&self) -> Client {
        let sender = match &self.sender {
            Sender::Two(sender) => Sender::Two(sender.clone()),
            Sender::One(_) => panic!("an HTTP/1.1 connection has one request under way"),
        };
        let (protocol, uri, headers) = (self.protocol, self.uri.clone(), self.headers.clone());
        Client { protocol, uri, headers, sender }
    }
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) async fn connect(port: u16, protocol: Protocol, compression: Compression) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
        stream.set_nodelay(true).expect("a connected socket");
        let io = TokioIo::new(stream);
        let (sender, uri) = match protocol {
            Protocol::Grpc => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 16)
                    .handshake(io)
                    .await
                    .expect("the server speaks HTTP/2");
                tokio::spawn(connection);
                let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
                (Sender::Two(sender), format!("http://127.0.0.1:{port}{path}"))
            }
            Protocol::Http => {
                let (sender, connection) =
                    http1::handshake(io).await.expect("the server speaks HTTP/1.1");
                tokio::spawn(connection);
                (Sender::One(sender), "/v1/traces".to_owned())
            }
        };
        let uri = uri.parse().expect("a valid URI");
        Client { protocol, uri, headers: headers(protocol, compression, port), sender }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Posts a body made by [`Compression::pack`].
    pub(crate) async fn post(&mut self, body: Bytes) -> Answer {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().extend(self.headers.iter().cloned());
        let response = match &mut self.sender {
            Sender::Two(sender) => {
                sender.ready().await.expect("the server keeps the connection");
                sender.send_request(request).await
            }
            Sender::One(sender) => {
                sender.ready().await.expect("the server keeps the connection");
                sender.send_request(request).await
            }
        };
        let Ok(response) = response else { return Answer::Failed };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Answer::Failed };
        match self.protocol {
            Protocol::Http => match head.status {
                StatusCode::OK => Answer::Taken,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Answer::Refused,
                _ => Answer::Failed,
            },
            Protocol::Grpc => {
                // In the trailers, or in the headers of an answer that has nothing else.
                let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
                match status.or(head.headers.get("grpc-status")).map(HeaderValue::as_bytes) {
                    Some(b"0") => Answer::Taken,
                    // RESOURCE_EXHAUSTED and UNAVAILABLE.
                    Some(b"8" | b"14") => Answer::Refused,
                    _ => Answer::Failed,
                }
            }
        }
    }
}

fn headers(
    protocol: Protocol,
    compression: Compression,
    port: u16,
) -> Vec<(HeaderName, HeaderValue)> {
    let fixed = HeaderValue::from_static;
    let mut headers = match protocol {
        Protocol::Grpc => vec![(CONTENT_TYPE, fixed("application/grpc")), (TE, fixed("trailers"))],
        Protocol::Http => {
            let host = HeaderValue::try_from(format!("127.0.0.1:{port}")).expect("ASCII");
            vec![(CONTENT_TYPE, fixed("application/x-protobuf")), (HOST, host)]
        }
    };
    if compression != Compression::Plain {
        let name = match protocol {
            Protocol::Grpc => HeaderName::from_static("grpc-encoding"),
            Protocol::Http => CONTENT_ENCODING,
        };
        headers.push((name, fixed(compression.name())));
    }
    headers
}
