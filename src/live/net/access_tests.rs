//! Who is let in: TLS, certificates of clients and credentials, over pipes.

use std::fs::write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tests::{World, answer, limits};
use crate::live::access::{Access, AccessFiles, AuthFiles, TlsFiles};

/// A certificate and its key, PEM.
struct Identity {
    certificate: String,
    key: String,
}

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// What a listener with this identity asks for.
fn access(server: &Identity, clients: Option<&Authority>) -> Access {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        write(&path, content).unwrap();
        path
    };
    let tls = TlsFiles {
        certificate: file("cert.pem", &server.certificate),
        key: file("key.pem", &server.key),
        client_authority: clients.map(|authority| file("ca.pem", &authority.pem)),
    };
    AccessFiles { tls: Some(tls), auth: AuthFiles::default() }.load().unwrap()
}

/// TLS over a pipe, by somebody who trusts `authority` and shows `client`.
async fn connect(
    pipe: DuplexStream,
    authority: &Authority,
    client: Option<&Identity>,
) -> std::io::Result<TlsStream<DuplexStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, pipe).await
}

/// The first line of the answer to a request for `/`, or `None` if there is none.
async fn ask(mut stream: TlsStream<DuplexStream>) -> Option<String> {
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    Some(String::from_utf8(head.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn with_tls_what_is_no_tls_reaches_nobody() {
    let authority = Authority::new();
    let world = World::with(limits(), access(&authority.sign(|_| {}), None));
    let mut plain = world.connect();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    plain.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP"));
    let secured = connect(world.connect(), &authority, None).await.unwrap();
    assert_eq!(ask(secured).await.unwrap(), "HTTP/1.1 200");
    assert_eq!(world.handled.load(Ordering::Relaxed), 1);
    assert_eq!(world.ledger().closed["tls"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_finished_is_given_up() {
    let world = World::with(limits(), access(&Authority::new().sign(|_| {}), None));
    let mut half = world.connect();
    // The begin of a ClientHello of 512 bytes.
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).await.unwrap();
    assert_eq!(world.happened(), [("handshake_timeout", 1)]);
}

#[tokio::test(start_paused = true)]
async fn of_clients_only_those_with_a_good_certificate_come_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.sign(|_| {});
    let world = World::with(limits(), access(&server, Some(&authority)));
    let expired = authority.sign(|params| params.not_after = date_time_ymd(2000, 1, 1));
    let future = authority.sign(|params| params.not_before = date_time_ymd(3000, 1, 1));
    let purpose = authority.sign(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let strange = other.sign(|_| {});
    for (refused, client) in
        (1..).zip([None, Some(&expired), Some(&future), Some(&purpose), Some(&strange)])
    {
        // In TLS 1.3 the client is done before the server has looked at its certificate.
        if let Ok(stream) = connect(world.connect(), &authority, client).await {
            assert_eq!(ask(stream).await, None, "client {refused}");
        }
        world.settle().await;
        assert_eq!(world.ledger().closed["tls"], refused);
    }
    assert_eq!(world.handled.load(Ordering::Relaxed), 0);
    let good = authority.sign(|_| {});
    let stream = connect(world.connect(), &authority, Some(&good)).await.unwrap();
    assert_eq!(ask(stream).await.unwrap(), "HTTP/1.1 200");
}

#[tokio::test(start_paused = true)]
async fn a_new_certificate_holds_for_the_next_connection_and_the_old_one_goes_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let world = World::with(limits(), access(&old.sign(|_| {}), None));
    let under_way = connect(world.connect(), &old, None).await.unwrap();
    world.access.store(Arc::new(access(&new.sign(|_| {}), None)));
    assert!(connect(world.connect(), &old, None).await.is_err());
    let next = connect(world.connect(), &new, None).await.unwrap();
    assert_eq!(ask(next).await.unwrap(), "HTTP/1.1 200");
    assert_eq!(ask(under_way).await.unwrap(), "HTTP/1.1 200");
}

fn with_token(token: &str) -> Access {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokens");
    write(&path, token).unwrap();
    let auth = AuthFiles { bearer_tokens: Some(path), passwords: None };
    AccessFiles { tls: None, auth }.load().unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_the_token_a_request_is_answered_before_its_body_is_asked_for() {
    let world = World::with(limits(), with_token("right"));
    let long = "x".repeat(1_000_000);
    for (headers, status) in [
        ("", "401"),
        ("authorization: Bearer wrong\r\n", "401"),
        ("authorization: Bearer right\r\nauthorization: Bearer right\r\n", "401"),
        (&format!("authorization: Bearer {long}\r\n"), "431"),
    ] {
        let mut stream = world.connect();
        let head =
            format!("POST /length HTTP/1.1\r\nhost: a\r\n{headers}content-length: 9\r\n\r\n");
        // The end of a head that is too long is not waited for.
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let write = async {
            let _ = writer.write_all(head.as_bytes()).await;
        };
        let mut first = [0; 12];
        let (_, read) = tokio::join!(write, reader.read_exact(&mut first));
        read.unwrap();
        assert!(first.ends_with(status.as_bytes()), "{}", String::from_utf8_lossy(&first));
    }
    assert_eq!(world.handled.load(Ordering::Relaxed), 0);
    let denied = world.ledger().denied;
    assert_eq!((denied["missing"], denied["wrong"]), (1, 2));

    let mut stream = world.connect();
    let head = "POST /length HTTP/1.1\r\nhost: a\r\nauthorization: Bearer right\r\ncontent-length: 3\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await, ("http/1.1 200 ok".to_owned(), "3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_exchanged_on_a_living_connection_and_probes_need_none() {
    let world = World::with(limits(), with_token("old"));
    let mut stream = world.connect();
    let mut ask = async |path: &str, token: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        answer(&mut stream).await.0
    };
    assert_eq!(ask("/", "old").await, "http/1.1 200 ok");
    world.access.store(Arc::new(with_token("new\nold")));
    assert_eq!(ask("/", "old").await, "http/1.1 200 ok");
    assert_eq!(ask("/", "new").await, "http/1.1 200 ok");
    world.access.store(Arc::new(with_token("new")));
    assert_eq!(ask("/", "old").await, "http/1.1 401 unauthorized");
    assert_eq!(ask("/livez", "none").await, "http/1.1 200 ok");
}
