//! `laghound health`: is the server ready? For health checks of containers, which have no curl.
//!
//! Asks `/readyz` of the admin endpoint, as a probe would. Starts nothing, changes nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::args::HealthArgs;
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
        None => load(&args.config, environment)?.config.admin.endpoint.reachable().to_string(),
    };
    let answer = ask(&endpoint, Duration::from_nanos(args.timeout.0)).map_err(CliError::Runtime)?;
    print(&answer)
}

/// What a server that is ready says.
fn ask(endpoint: &str, timeout: Duration) -> anyhow::Result<String> {
    let context = || format!("cannot ask {endpoint}");
    let addresses = endpoint.to_socket_addrs().with_context(context)?;
    let mut stream = connect(addresses, timeout).with_context(context)?;
    stream.set_read_timeout(Some(timeout)).with_context(context)?;
    stream.set_write_timeout(Some(timeout)).with_context(context)?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(context)?;
    /// `/readyz` answers a line or two.
    const LONGEST_ANSWER: u64 = 64 * 1024;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).with_context(context)?;
    understand(&String::from_utf8_lossy(&answer))
        .with_context(|| format!("{endpoint} is not ready"))
}

fn connect(
    addresses: impl Iterator<Item = SocketAddr>,
    timeout: Duration,
) -> anyhow::Result<TcpStream> {
    let mut last = anyhow!("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The body of an answer whose status is 200.
fn understand(answer: &str) -> anyhow::Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("it does not answer in HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("status {status}: {}", body.trim().replace('\n', " "));
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_200_is_ready() {
        let ready = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(understand(ready).unwrap(), "ready\n");
        let not = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready:\nshutting down\n";
        let error = understand(not).unwrap_err().to_string();
        assert_eq!(error, "status 503: not ready: shutting down");
        for odd in ["", "SSH-2.0-x\r\n", "200"] {
            assert!(understand(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn who_is_not_there_is_not_ready() {
        // Bound and dropped: nobody listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(&free.to_string(), Duration::from_secs(5)).unwrap_err();
        assert!(format!("{error:#}").contains(&free.to_string()), "{error:#}");
    }
}
