//! Who may speak to a listener, and how: TLS and credentials, from files.
//!
//! Files become one value, [`Access`], which whoever serves takes as it is at that moment: it is changed
//! under traffic, all or nothing. Who somebody is beyond being let in is nobody's business here.

mod auth;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use rustls::ServerConfig;

pub use auth::{AuthError, AuthFiles, Credentials, Denied, credential_lines};
pub use tls::{TlsError, TlsFiles};

/// Where a listener's certificate and credentials are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// TLS; without it whatever is sent can be read on the way.
    pub tls: Option<TlsFiles>,
    /// Tokens and passwords.
    pub auth: AuthFiles,
}

/// Why files are not used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Those of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Those of tokens and passwords.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// What a listener asks of those who speak to it.
#[derive(Clone, Default)]
pub struct Access {
    /// How connections are secured, if they are.
    pub tls: Option<Arc<ServerConfig>>,
    credentials: Option<Credentials>,
}

impl AccessFiles {
    /// Neither: whoever reaches the listener may do what it offers.
    pub fn is_open(&self) -> bool {
        self.tls.is_none() && self.auth.is_empty()
    }

    /// Whether clients must prove who they are, one way or the other.
    pub fn knows_clients(&self) -> bool {
        let by_certificate = self.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some());
        by_certificate || !self.auth.is_empty()
    }

    /// All files there are.
    pub fn paths(&self) -> Vec<PathBuf> {
        let tls = self.tls.iter().flat_map(TlsFiles::paths);
        tls.chain(self.auth.paths()).collect()
    }

    /// What the files say now.
    ///
    /// # Errors
    /// One of them is of no use.
    pub fn load(&self) -> Result<Access, AccessError> {
        let tls = self.tls.as_ref().map(TlsFiles::load).transpose()?;
        Ok(Access { tls, credentials: self.auth.load()? })
    }
}

impl Access {
    /// Whether a request with these headers is let in.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        self.credentials.as_ref().map_or(Ok(()), |credentials| credentials.check(headers))
    }
}
