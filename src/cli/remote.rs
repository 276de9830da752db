//! Asks the API of a running instance, for the subcommands that show what it says.
//!
//! Answers are bounded in size and time; a problem document becomes an error that says what it says. Nobody is shown
//! a credential who has not proved to be the instance, where TLS is spoken.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use ureq::Agent;

use super::args::{ConfigArgs, InstanceArgs};
use super::door::{Trust, agent, basic, bearer};
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
    authorization: Option<String>,
}

impl Remote {
    /// The instance that is named, else the one that the configuration of this machine would start.
    ///
    /// # Errors
    /// [`CliError::Usage`] if neither names an address.
    pub fn of(args: &InstanceArgs, environment: Environment) -> Result<Remote, CliError> {
        let Instance { base, authority, mut authorization } = match &args.url {
            Some(url) => Instance { base: named(url)?, ..Instance::default() },
            None => configured(environment)?,
        };
        if let Some(file) = &args.bearer_token_file {
            authorization = Some(bearer(file)?);
        } else if let Some(file) = &args.password_file {
            authorization = Some(basic(file)?);
        }
        let trust = match args.tls.ca_file.clone().or(authority) {
            _ if base.starts_with("http://") => Trust::Plain,
            Some(file) => Trust::Authorities(file),
            None => {
                let why = anyhow!("{base}: --ca-file is needed, a file of those who vouch for it");
                return Err(CliError::Usage(why));
            }
        };
        let agent = agent(&trust, &args.tls, PATIENCE)?;
        Ok(Remote { agent, base, authorization })
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
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
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
                anyhow!("{url} asks for a credential: --bearer-token-file or --password-file")
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

/// Where an instance is, and what it takes to be let in.
#[derive(Default)]
struct Instance {
    base: String,
    /// Who vouches for it.
    authority: Option<PathBuf>,
    authorization: Option<String>,
}

/// An address as typed; a bare `host:port` is one, too.
fn named(url: &str) -> Result<String, CliError> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let why = anyhow!("--url {url}: it is asked by http:// or https://");
        return Err(CliError::Usage(why));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The admin endpoint of the configuration, as this machine reaches it.
fn configured(environment: Environment) -> Result<Instance, CliError> {
    let admin = load(&ConfigArgs::default(), environment)?.config.admin;
    let endpoint = admin.endpoint;
    let reachable = endpoint.reachable().to_string();
    if reachable.ends_with(":0") {
        let why = anyhow!("admin.endpoint {endpoint} takes any port; --url says which it was");
        return Err(CliError::Usage(why));
    }
    let scheme = if admin.tls_cert_file.is_some() { "https" } else { "http" };
    let authorization = match (&admin.bearer_token_file, &admin.password_file) {
        (Some(file), _) => Some(bearer(file)?),
        (None, Some(file)) => Some(basic(file)?),
        (None, None) => None,
    };
    let base = format!("{scheme}://{reachable}");
    Ok(Instance { base, authority: admin.tls_cert_file, authorization })
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
    fn the_credential_is_the_one_named_else_the_one_configured() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("is written");
            path
        };
        let (token, password) = (file("token", "new\nold\n"), file("password", "a:b\n"));
        let of = |args: &InstanceArgs, environment: Environment| {
            Remote::of(args, environment).map(|remote| remote.authorization).expect("is fine")
        };
        let url = Some("http://lag.example".to_owned());
        let mut args = InstanceArgs { url, ..InstanceArgs::default() };
        assert_eq!(of(&args, Environment::default()), None);
        args.password_file = Some(password.clone());
        assert_eq!(of(&args, Environment::default()).as_deref(), Some("Basic YTpi"));
        let variable = |name: &str, file: &PathBuf| (name.to_owned(), file.display().to_string());
        let configured = [variable("LAGHOUND_ADMIN_AUTH_PASSWORD_FILE", &password)].into();
        assert_eq!(of(&InstanceArgs::default(), configured).as_deref(), Some("Basic YTpi"));
        let configured = [
            variable("LAGHOUND_ADMIN_AUTH_PASSWORD_FILE", &password),
            variable("LAGHOUND_ADMIN_AUTH_BEARER_TOKEN_FILE", &token),
        ];
        assert_eq!(of(&InstanceArgs::default(), configured.into()).as_deref(), Some("Bearer new"));
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_bad_usage() {
        assert!(base(None, Some("127.0.0.1:0")).is_err_and(|why| why.contains("--url")));
        assert!(base(Some("ftp://lag.example"), None).is_err_and(|why| why.contains("http://")));
        assert!(
            base(Some("https://lag.example"), None).is_err_and(|why| why.contains("--ca-file"))
        );
    }
}
