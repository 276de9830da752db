//! Asks the API of a running instance, for the subcommands that show what it says.
//!
//! Plain HTTP, with a bearer token where one is asked for; it does not speak TLS. Answers are bounded in size
//! and time; a problem document becomes an error that says what it says.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use ureq::Agent;

use super::args::{ConfigArgs, InstanceArgs};
use super::{CliError, load};
use crate::config::Environment;
use crate::publish::client::Problem;

/// An answer takes milliseconds; the judge of a large system may be asked to wait for a slice.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, a trace of 5,000 spans, has some megabytes.
const MAX_ANSWER: u64 = 64 << 20;

/// A running instance.
pub struct Remote {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Remote {
    /// The instance that is named, else the one that the configuration of this machine would start.
    ///
    /// # Errors
    /// [`CliError::Usage`] if neither names an address.
    pub fn of(args: &InstanceArgs, environment: Environment) -> Result<Remote, CliError> {
        let mut remote = match &args.url {
            Some(url) => Remote::at(named(url)?),
            None => configured(environment)?,
        };
        if let Some(file) = &args.bearer_token_file {
            remote.token = Some(first_token(file)?);
        }
        Ok(remote)
    }

    fn at(base: String) -> Remote {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Remote { agent: config.into(), base, token: None }
    }

    /// The document at a path below `/api/v1/`, as it was sent.
    ///
    /// # Errors
    /// [`CliError::Usage`] if there is none, [`CliError::Runtime`] if nobody answers.
    pub fn text(&self, path: &str) -> Result<String, CliError> {
        let url = format!("{}/api/v1/{path}", self.base);
        let unreachable = |error: ureq::Error| {
            CliError::Runtime(anyhow!(
                "cannot ask {url}: {error}; is laghound running there? --url names another address"
            ))
        };
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = request.call().map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        let body = body.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let why = match serde_json::from_str::<Problem>(&body) {
            Ok(problem) => anyhow!("{}", problem.detail.escape_debug()),
            Err(_) if status == http::StatusCode::UNAUTHORIZED => {
                anyhow!("{url} asks for a token; --bearer-token-file names a file with one")
            }
            Err(_) => anyhow!("{url} answered {status}; is that laghound?"),
        };
        Err(if status.is_client_error() { CliError::Usage(why) } else { CliError::Runtime(why) })
    }

    /// The same, read.
    ///
    /// # Errors
    /// Those, and [`CliError::Runtime`] if it is not what laghound answers.
    pub fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let text = self.text(path)?;
        serde_json::from_str(&text).map_err(|error| {
            let base = &self.base;
            CliError::Runtime(anyhow!("{base} does not answer as laghound would: {error}"))
        })
    }
}

/// An address as typed; a bare `host:port` is one, too.
fn named(url: &str) -> Result<String, CliError> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    if !url.starts_with("http://") {
        let why = anyhow!("--url {url}: only http:// can be asked, where TLS is on, ask with curl");
        return Err(CliError::Usage(why));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The admin endpoint of the configuration, as this machine reaches it.
fn configured(environment: Environment) -> Result<Remote, CliError> {
    let admin = load(&ConfigArgs::default(), environment)?.config.admin;
    let endpoint = admin.endpoint;
    let reachable = endpoint.reachable().to_string();
    if reachable.ends_with(":0") {
        let why = anyhow!("admin.endpoint {endpoint} takes any port; --url says which it was");
        return Err(CliError::Usage(why));
    }
    if admin.tls_cert_file.is_some() {
        let why = anyhow!("admin.tls is on, and only http:// can be asked; ask with curl");
        return Err(CliError::Usage(why));
    }
    let mut remote = Remote::at(format!("http://{reachable}"));
    remote.token = admin.bearer_token_file.as_deref().map(first_token).transpose()?;
    Ok(remote)
}

fn first_token(file: &Path) -> Result<String, CliError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::Usage(anyhow!("cannot read {name}: {error}")))?;
    let mut lines = text.lines().map(str::trim);
    let token = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    token.map(str::to_owned).ok_or_else(|| CliError::Usage(anyhow!("{name} holds no token")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: Option<&str>, endpoint: Option<&str>) -> Result<String, String> {
        let environment =
            endpoint.map(|value| ("LAGHOUND_ADMIN_ENDPOINT".to_owned(), value.to_owned()));
        let args = InstanceArgs { url: url.map(str::to_owned), ..InstanceArgs::default() };
        Remote::of(&args, environment.into_iter().collect())
            .map(|remote| remote.base)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_instance_is_the_one_named_else_the_one_configured_else_the_default() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(base(None, None), ok("http://127.0.0.1:9479"));
        assert_eq!(base(None, Some("0.0.0.0:9000")), ok("http://127.0.0.1:9000"));
        assert_eq!(base(None, Some("[::]:9000")), ok("http://[::1]:9000"));
        assert_eq!(base(None, Some("10.1.2.3:9000")), ok("http://10.1.2.3:9000"));
        assert_eq!(base(Some("http://lag.example/eu/"), None), ok("http://lag.example/eu"));
        assert_eq!(base(Some("lag.example:80"), Some("[::]:1")), ok("http://lag.example:80"));
    }

    #[test]
    fn the_token_is_the_first_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens");
        std::fs::write(&file, "\n# of the week\n  new \nold\n").expect("is written");
        let of = |file: &Path| {
            let url = Some("http://lag.example".to_owned());
            let args = InstanceArgs { url, bearer_token_file: Some(file.to_owned()) };
            Remote::of(&args, Environment::default()).map(|remote| remote.token)
        };
        assert_eq!(of(&file).expect("is read"), Some("new".to_owned()));
        std::fs::write(&file, "\n").expect("is written");
        assert!(of(&file).is_err());
        assert!(of(&folder.path().join("none")).is_err());
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_bad_usage() {
        assert!(base(None, Some("127.0.0.1:0")).is_err_and(|why| why.contains("--url")));
        assert!(base(Some("https://lag.example"), None).is_err_and(|why| why.contains("http://")));
    }
}
