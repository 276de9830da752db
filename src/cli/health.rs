//! `laghound health`: is the server ready? For health checks of containers, which have no curl.
//!
//! Asks `/readyz` of the admin endpoint, as a probe would. Starts nothing, changes nothing.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::args::HealthArgs;
use super::door::{Trust, agent};
use super::{CliError, load, print};
use crate::config::Environment;

/// Prints what the server says; exit code 0 if it is ready.
///
/// # Errors
/// [`CliError::Runtime`] if it is not ready or cannot be asked, [`CliError::Usage`] for a bad
/// configuration.
pub fn run(args: &HealthArgs, environment: Environment) -> Result<(), CliError> {
    let endpoint = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => configured(args, environment)?,
    };
    let is_secured = endpoint.starts_with("https://");
    // Without a word about whom to trust it asks as the probe of a kubelet does.
    let trust = match &args.tls.ca_file {
        _ if !is_secured => Trust::Plain,
        Some(file) => Trust::Authorities(file.clone()),
        None => Trust::Anybody,
    };
    let agent = agent(&trust, &args.tls, Duration::from_nanos(args.timeout.0))?;
    let answer = ask(&agent, &endpoint).map_err(CliError::Runtime)?;
    print(&answer)
}

/// Where the configuration's own server listens.
fn configured(args: &HealthArgs, environment: Environment) -> Result<String, CliError> {
    let admin = load(&args.config, environment)?.config.admin;
    let scheme = if admin.tls_cert_file.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", admin.endpoint.reachable()))
}

/// What a server that is ready says.
fn ask(agent: &ureq::Agent, endpoint: &str) -> anyhow::Result<String> {
    /// `/readyz` answers a line or two.
    const LONGEST_ANSWER: u64 = 64 * 1024;
    let base = endpoint.trim_end_matches('/');
    let scheme = if base.contains("://") { "" } else { "http://" };
    let context = || format!("cannot ask {endpoint}");
    let mut response = agent.get(format!("{scheme}{base}/readyz")).call().with_context(context)?;
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
    let body = body.with_context(context)?;
    understand(response.status(), &body).with_context(|| format!("{endpoint} is not ready"))?;
    Ok(body)
}

/// Only a status of 200 is ready.
fn understand(status: http::StatusCode, body: &str) -> anyhow::Result<()> {
    if status == http::StatusCode::OK {
        return Ok(());
    }
    let body = body.trim().replace('\n', " ");
    if body.is_empty() {
        bail!("status {}", status.as_u16());
    }
    Err(anyhow!("status {}: {body}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::super::args::TlsArgs;
    use super::*;

    fn asked(endpoint: &str) -> Result<String, String> {
        let agent = agent(&Trust::Plain, &TlsArgs::default(), Duration::from_secs(5));
        ask(&agent.expect("needs no file"), endpoint).map_err(|error| format!("{error:#}"))
    }

    /// What is made of this answer.
    fn told(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let told = asked(&endpoint);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
        told
    }

    #[test]
    fn only_status_200_is_ready() {
        let ready = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(told(ready).unwrap(), "ready\n");
        let not = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready:\nshutting down\n";
        let error = told(not).unwrap_err();
        assert!(error.ends_with("status 503: not ready: shutting down"), "{error}");
        let moved =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(told(moved).unwrap_err().ends_with("status 302"));
        for odd in ["", "SSH-2.0-x\r\n", "200"] {
            assert!(told(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn who_is_not_there_is_not_ready() {
        // Bound and dropped: nobody listens there.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = asked(&free.to_string()).unwrap_err();
        assert!(error.contains(&free.to_string()), "{error}");
    }
}
