//! Asks a server of this machine for a page, as Prometheus does.

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// What came back.
pub(crate) struct Page {
    pub(crate) status: http::StatusCode,
    /// As sent: compressed, if it is.
    pub(crate) body: Vec<u8>,
}

/// `GET path`, over a connection of its own.
pub(crate) async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Page> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().uri(path).header(HOST, format!("127.0.0.1:{port}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    drop(sender);
    connection.abort();
    Ok(Page { status: head.status, body })
}

/// What Prometheus sends.
pub(crate) const PROMETHEUS: [(&str, &str); 2] = [
    ("accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"),
    ("accept-encoding", "gzip"),
];
