//! How a running instance is reached: plain or over TLS, and with which credential.
//!
//! Everything comes from files named on the command line or in the configuration; nothing of what is in them is
//! ever shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::default_provider;
use ureq::Agent;
use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
};

use super::CliError;
use super::args::TlsArgs;
use crate::live::access::credential_lines;

/// Whom to take for an instance.
pub(super) enum Trust {
    /// Who shows a certificate that these vouch for.
    Authorities(PathBuf),
    /// Whoever answers: nothing is told to it but that somebody asked.
    Anybody,
    /// Nobody: it is asked without TLS.
    Plain,
}

/// What asks, within a time.
///
/// # Errors
/// [`CliError::Usage`] if a file is of no use.
pub(super) fn agent(trust: &Trust, tls: &TlsArgs, patience: Duration) -> Result<Agent, CliError> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    let mut secured = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
        .client_cert(client(tls)?);
    match trust {
        Trust::Plain => return Ok(config.build().into()),
        Trust::Anybody => secured = secured.disable_verification(true),
        Trust::Authorities(file) => {
            secured = secured.root_certs(RootCerts::new_with_certs(&certificates(file)?));
        }
    }
    config = config.tls_config(secured.build());
    Ok(config.build().into())
}

/// The certificate that is shown, if one is.
fn client(tls: &TlsArgs) -> Result<Option<ClientCert>, CliError> {
    let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) else { return Ok(None) };
    Ok(Some(ClientCert::new_with_certs(&certificates(certificate)?, private_key(key)?)))
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, CliError> {
    let found = items(file, |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    })?;
    if found.is_empty() { Err(useless(file, "there is no certificate in it")) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKey<'static>, CliError> {
    let found = items(file, |item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    })?;
    found.into_iter().next().ok_or_else(|| useless(file, "there is no private key in it"))
}

fn items<T>(
    file: &Path,
    wanted: impl Fn(PemItem<'static>) -> Option<T>,
) -> Result<Vec<T>, CliError> {
    let pem = std::fs::read(file).map_err(|error| useless(file, &error.to_string()))?;
    let read: Result<Vec<PemItem<'static>>, ureq::Error> = parse_pem(&pem).collect();
    let read = read.map_err(|error| useless(file, &error.to_string()))?;
    Ok(read.into_iter().filter_map(wanted).collect())
}

fn useless(file: &Path, why: &str) -> CliError {
    CliError::Usage(anyhow!("cannot use {}: {why}", file.display()))
}

/// The header that the first credential of a file becomes.
///
/// # Errors
/// [`CliError::Usage`] if there is none in it.
pub(super) fn bearer(file: &Path) -> Result<String, CliError> {
    Ok(format!("Bearer {}", first(file)?))
}

/// The same of a file of `user:password` lines.
///
/// # Errors
/// [`CliError::Usage`] if there is none in it.
pub(super) fn basic(file: &Path) -> Result<String, CliError> {
    Ok(format!("Basic {}", STANDARD.encode(first(file)?)))
}

fn first(file: &Path) -> Result<String, CliError> {
    let lines = credential_lines(file).map_err(CliError::usage)?;
    let (_, first) = lines.into_iter().next().expect("a file without any is an error");
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_credential_of_a_file_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("credentials");
        std::fs::write(&file, "\n# of the week\n  a:b \nold\n").expect("is written");
        assert_eq!(bearer(&file).expect("is read"), "Bearer a:b");
        // RFC 4648 of `a:b`.
        assert_eq!(basic(&file).expect("is read"), "Basic YTpi");
        std::fs::write(&file, "\n").expect("is written");
        assert!(bearer(&file).is_err());
        assert!(basic(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_file_that_is_not_what_it_should_be_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        for content in
            [&b"no PEM"[..], b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(&file, content).expect("is written");
            let trust = Trust::Authorities(file.clone());
            let made = agent(&trust, &TlsArgs::default(), Duration::from_secs(1));
            let error = made.expect_err("is refused");
            assert!(error.to_string().contains("ca.pem") && error.exit_code() == 2, "{error}");
        }
        let tls =
            TlsArgs { cert_file: Some(file.clone()), key_file: Some(file), ..TlsArgs::default() };
        assert!(agent(&Trust::Anybody, &tls, Duration::from_secs(1)).is_err());
    }
}
