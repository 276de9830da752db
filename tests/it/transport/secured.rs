//! The commands that ask a running instance, where it speaks TLS and wants to know who asks.

use std::path::{Path, PathBuf};
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::process::{Serving, laghound, text};

/// Certificates and credentials in files.
struct Files {
    folder: TempDir,
}

impl Files {
    /// An authority, two identities that it vouches for, somebody else's authority, and credentials.
    fn new() -> Files {
        let files = Files { folder: TempDir::new().unwrap() };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        files.write("other.pem", &other.pem());
        let key = KeyPair::generate().unwrap();
        files.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        for (name, usage) in [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            files.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files.write("token", "s3cret\n");
        files.write("users", "anna:s3cret\n");
        files.write("wrong", "anna:guess\n");
        files
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.at(name), content).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A flag whose value is one of the files.
    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", Path::display(&self.at(name)))
    }

    fn serving(&self, more: &[&str]) -> Serving {
        let mut flags = vec![
            self.flag("admin.tls.cert_file", "server.pem"),
            self.flag("admin.tls.key_file", "server.key"),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        Serving::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = laghound(arguments).output().unwrap();
    (status.code(), format!("{}{}", text(&stdout), text(&stderr)))
}

#[test]
fn health_and_suspects_are_asked_over_tls() {
    let files = Files::new();
    let serving = files.serving(&[]);
    let url = format!("https://{}", serving.admin);
    let (ca, other) = (files.flag("ca-file", "ca.pem"), files.flag("ca-file", "other.pem"));
    // As a probe asks, and as somebody who wants to know whom.
    assert_eq!(run(&["health", "--endpoint", &url]), (Some(0), "ready\n".to_owned()));
    assert_eq!(run(&["health", "--endpoint", &url, &ca]), (Some(0), "ready\n".to_owned()));
    assert_eq!(run(&["health", "--endpoint", &url, &other]).0, Some(1));
    assert_eq!(run(&["health", "--endpoint", &serving.admin.to_string()]).0, Some(1), "plain");

    for command in [&["suspects"][..], &["top", "--count=1"], &["suspects", "--format=json"]] {
        let ask = |more: &[&str]| run(&[command, &["--url", &url], more].concat());
        let (code, shown) = ask(&[&ca]);
        assert_eq!(code, Some(0), "{shown}");
        let (code, shown) = ask(&[&other]);
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("cannot ask https://"), "{shown}");
        let (code, shown) = ask(&[]);
        assert_eq!(code, Some(2), "{shown}");
        assert!(shown.contains("--ca-file"), "{shown}");
    }
    let (code, shown) = run(&["incident", "7", "--url", &url, &ca]);
    assert_eq!(code, Some(2));
    assert!(shown.contains("there is no incident 7"), "{shown}");
}

#[test]
fn where_certificates_of_clients_are_asked_for_one_is_shown() {
    let files = Files::new();
    let serving = files.serving(&[&files.flag("admin.tls.client_ca_file", "ca.pem")]);
    let url = format!("https://{}", serving.admin);
    let ca = files.flag("ca-file", "ca.pem");
    let client = [files.flag("cert-file", "client.pem"), files.flag("key-file", "client.key")];
    let wrong = [files.flag("cert-file", "server.pem"), files.flag("key-file", "server.key")];
    for command in [&["health", "--endpoint", &url][..], &["suspects", "--url", &url]] {
        let ask = |more: &[&str]| run(&[command, &[&*ca], more].concat());
        let (code, shown) = ask(&[&client[0], &client[1]]);
        assert_eq!(code, Some(0), "{shown}");
        assert_eq!(ask(&[]).0, Some(1), "none");
        assert_eq!(ask(&[&wrong[0], &wrong[1]]).0, Some(1), "one that is not for clients");
        assert_eq!(ask(&[&client[0]]).0, Some(2), "without its key");
    }
}

#[test]
fn where_credentials_are_asked_for_a_token_or_a_password_is_shown() {
    let files = Files::new();
    let serving = files.serving(&[
        &files.flag("admin.auth.bearer_token_file", "token"),
        &files.flag("admin.auth.password_file", "users"),
    ]);
    let url = format!("https://{}", serving.admin);
    let ca = files.flag("ca-file", "ca.pem");
    let ask = |credential: &[&str]| run(&[&["suspects", "--url", &url, &ca], credential].concat());
    assert_eq!(ask(&[&files.flag("bearer-token-file", "token")]).0, Some(0));
    assert_eq!(ask(&[&files.flag("password-file", "users")]).0, Some(0));
    for wrong in [&[][..], &[&*files.flag("password-file", "wrong")]] {
        let (code, shown) = ask(wrong);
        assert_eq!(code, Some(2), "{shown}");
        assert!(shown.contains("--bearer-token-file or --password-file"), "{shown}");
        assert!(!shown.contains("guess"), "{shown}");
    }
    // Probes need no credential.
    assert_eq!(run(&["health", "--endpoint", &url, &ca]).0, Some(0));
}

#[tokio::test]
async fn the_grpc_service_is_behind_the_same_credentials_and_says_how_it_is() {
    use laghound::publish::api::v1::ListSuspectsRequest;
    use laghound::publish::api::v1::query_service_client::QueryServiceClient;
    use tonic::{Code, Request};
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let files = Files::new();
    let serving = Serving::start(&[&files.flag("admin.auth.bearer_token_file", "token")]);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", serving.admin));
    let channel = endpoint.unwrap().connect().await.unwrap();
    let bearing = |token: &str| {
        let value = format!("Bearer {token}").parse::<tonic::metadata::MetadataValue<_>>().unwrap();
        move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", value.clone());
            Ok(request)
        }
    };
    let mut stranger = QueryServiceClient::with_interceptor(channel.clone(), bearing("guess"));
    let refused = stranger.list_suspects(ListSuspectsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let mut known = QueryServiceClient::with_interceptor(channel.clone(), bearing("s3cret"));
    let list = known.list_suspects(ListSuspectsRequest::default()).await.unwrap().into_inner();
    assert_eq!((list.total, list.suspects.len()), (0, 0));
    let mut health = HealthClient::with_interceptor(channel, bearing("s3cret"));
    let service = laghound::publish::api::QUERY_SERVICE.to_owned();
    let status = health.check(HealthCheckRequest { service }).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
}
