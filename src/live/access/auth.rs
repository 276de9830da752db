//! Who may speak to a listener: bearer tokens and passwords, from files.
//!
//! Looked at before anything of a request's body is read. Only digests are kept and compared, all of
//! them and in constant time, so that neither an answer nor its time tells how close a guess was; what
//! was sent or what is expected is never shown, logged or counted by value.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

/// Where a listener's credentials are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthFiles {
    /// Bearer tokens, one a line.
    pub bearer_tokens: Option<PathBuf>,
    /// `user:password`, one a line.
    pub passwords: Option<PathBuf>,
}

/// Why a file of credentials is not used. Says which file and line, nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It cannot be read.
    #[error("cannot read credentials from {file}: {source}")]
    Unreadable {
        /// Its path.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody could come in.
    #[error("{file} holds no credentials; write one a line")]
    Empty {
        /// Its path.
        file: String,
    },
    /// A line that is no credential.
    #[error("{file}:{line} is not {expected}")]
    Malformed {
        /// Its path.
        file: String,
        /// From 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
    },
}

/// The credentials that are accepted, as digests of the header that bears them.
#[derive(Clone, Default)]
pub struct Credentials {
    digests: Vec<[u8; 32]>,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential.
    Missing,
    /// Not one of those accepted, or more than one.
    Wrong,
}

impl AuthFiles {
    /// Whether everybody is let in.
    pub fn is_empty(&self) -> bool {
        self.bearer_tokens.is_none() && self.passwords.is_none()
    }

    /// All files there are.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.bearer_tokens.iter().chain(&self.passwords).cloned().collect()
    }

    /// What the files say now; `None` if there are none and everybody is let in.
    ///
    /// # Errors
    /// One of them cannot be read or is not what it should be.
    pub fn load(&self) -> Result<Option<Credentials>, AuthError> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut credentials = Credentials::default();
        if let Some(file) = &self.bearer_tokens {
            credentials.read(file, "a token without spaces", |line| {
                (!line.contains(char::is_whitespace)).then(|| format!("Bearer {line}"))
            })?;
        }
        if let Some(file) = &self.passwords {
            credentials.read(file, "user:password", |line| {
                line.contains(':').then(|| format!("Basic {}", STANDARD.encode(line)))
            })?;
        }
        Ok(Some(credentials))
    }
}

/// The lines of a file that hold a credential each, with their numbers: neither empty nor comments, and without
/// the space around.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn credential_lines(path: &Path) -> Result<Vec<(usize, String)>, AuthError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| AuthError::Unreadable { file: file.clone(), source })?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let held = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let held: Vec<_> = held.map(|(number, line)| (number, line.to_owned())).collect();
    if held.is_empty() { Err(AuthError::Empty { file }) } else { Ok(held) }
}

impl Credentials {
    fn read(
        &mut self,
        path: &Path,
        expected: &'static str,
        header: impl Fn(&str) -> Option<String>,
    ) -> Result<(), AuthError> {
        for (line, content) in credential_lines(path)? {
            let Some(header) = header(&content) else {
                let file = path.display().to_string();
                return Err(AuthError::Malformed { file, line, expected });
            };
            self.digests.push(sha_256(header.as_bytes()));
        }
        Ok(())
    }

    /// Whether the headers of a request bear one of them.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Denied::Missing)?;
        if values.next().is_some() {
            return Err(Denied::Wrong);
        }
        let given = sha_256(&canonical(value.as_bytes()));
        // All of them, whichever fits.
        let known = |found: Choice, digest: &[u8; 32]| found | digest.ct_eq(&given);
        let found = self.digests.iter().fold(Choice::from(0), known);
        if bool::from(found) { Ok(()) } else { Err(Denied::Wrong) }
    }
}

/// The scheme in its usual letters (it may be written in any), one space, the rest as it is.
fn canonical(value: &[u8]) -> Vec<u8> {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let usual = ["Bearer", "Basic"];
    let usual = usual.into_iter().find(|usual| scheme.eq_ignore_ascii_case(usual.as_bytes()));
    [usual.map_or(scheme, str::as_bytes), b" ", rest.trim_ascii()].concat()
}

fn sha_256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tempfile::TempDir;

    use super::*;

    fn credentials(tokens: &[&str], passwords: &[&str]) -> Credentials {
        let bearer = tokens.iter().map(|token| format!("Bearer {token}"));
        let basic = passwords.iter().map(|line| format!("Basic {}", STANDARD.encode(line)));
        Credentials { digests: bearer.chain(basic).map(|line| sha_256(line.as_bytes())).collect() }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |text: &&str| (AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(value) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn each_token_and_each_password_opens_and_nothing_else_does() {
        let credentials = credentials(&["old", "new"], &["prometheus:secret"]);
        let basic = format!("basic {}", STANDARD.encode("prometheus:secret"));
        for value in ["Bearer old", "bearer new", "BEARER  new", &basic] {
            assert_eq!(credentials.check(&headers(&[value])), Ok(()), "{value}");
        }
        let wrong = STANDARD.encode("prometheus:Secret");
        let million = format!("Bearer {}", "x".repeat(1_000_000));
        for value in [
            "",
            "Bearer",
            "Bearer ol",
            "Bearer oldnew",
            "Bearer OLD",
            "Basic old",
            "old",
            &format!("Basic {wrong}"),
            &million,
        ] {
            assert_eq!(credentials.check(&headers(&[value])), Err(Denied::Wrong));
        }
        assert_eq!(credentials.check(&headers(&[])), Err(Denied::Missing));
        let doubled = headers(&["Bearer old", "Bearer old"]);
        assert_eq!(credentials.check(&doubled), Err(Denied::Wrong));
    }

    fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn files_have_one_credential_a_line_and_may_have_comments() {
        let folder = TempDir::new().unwrap();
        let tokens = file(&folder, "tokens", "# rotated monthly\n\n one \ntwo\n");
        let lines = credential_lines(&tokens).unwrap();
        assert_eq!(lines, [(3, "one".to_owned()), (4, "two".to_owned())]);
        let files = AuthFiles { bearer_tokens: Some(tokens), passwords: None };
        let credentials = files.load().unwrap().unwrap();
        assert_eq!(credentials.digests.len(), 2);
        assert_eq!(credentials.check(&headers(&["Bearer one"])), Ok(()));
        assert_eq!(credentials.check(&headers(&["Bearer # rotated monthly"])), Err(Denied::Wrong));
        assert!(AuthFiles::default().load().unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
        let folder = TempDir::new().unwrap();
        let empty = file(&folder, "empty", "# nobody\n");
        let spaced = file(&folder, "spaced", "fine\nsecret with spaces\n");
        let plain = file(&folder, "plain", "a:b\nsecret\n");
        let missing = folder.path().join("missing");
        for (bearer_tokens, passwords, part) in [
            (Some(empty), None, "holds no credentials"),
            (Some(spaced), None, ":2 is not a token without spaces"),
            (None, Some(plain), ":2 is not user:password"),
            (Some(missing), None, "cannot read credentials from"),
        ] {
            let Err(error) = (AuthFiles { bearer_tokens, passwords }).load() else { panic!() };
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(part), "{shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
