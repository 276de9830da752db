//! TLS as a listener speaks it: certificate, key, and whose certificates clients must show.
//!
//! Files become one configuration, which each new connection takes as it is at that moment: whoever
//! changes it does so under traffic. Nothing of a key is ever shown or logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Where a listener's certificate, its key and the authority of its clients are, PEM each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who issues the certificates that clients must show; without it they need none.
    pub client_authority: Option<PathBuf>,
}

/// Why files do not make a TLS configuration. Says which file, nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read, or is not PEM.
    #[error("cannot read {what} from {file}: {why}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Its path.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// The certificate and the key do not belong together, or are of no use.
    #[error("cannot use the certificate {certificate} with the key {key}: {why}")]
    Pair {
        /// The certificate's path.
        certificate: String,
        /// The key's path.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// No client could be verified.
    #[error("cannot verify clients with {file}: {why}")]
    ClientAuthority {
        /// The authority's path.
        file: String,
        /// What is wrong.
        why: String,
    },
}

impl TlsFiles {
    /// All files there are.
    pub fn paths(&self) -> Vec<PathBuf> {
        let optional = self.client_authority.iter().cloned();
        [self.certificate.clone(), self.key.clone()].into_iter().chain(optional).collect()
    }

    /// What the files say now.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not fit together.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(default_provider());
        let pair = |error: rustls::Error| TlsError::Pair {
            certificate: self.certificate.display().to_string(),
            key: self.key.display().to_string(),
            why: error.to_string(),
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let unusable = |why: String| TlsError::ClientAuthority {
                    file: file.display().to_string(),
                    why,
                };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file, "an authority's certificate")? {
                    roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| unusable(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(&self.certificate, "a certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unreadable("a private key", &self.key, &error))?;
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(file: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable(what, file, &error))?;
    if certificates.is_empty() {
        let file = file.display().to_string();
        return Err(TlsError::File { what, file, why: "there is none in it".to_owned() });
    }
    Ok(certificates)
}

fn unreadable(what: &'static str, file: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File { what, file: file.display().to_string(), why: error.to_string() }
}
