//! A changed configuration is taken over while serving: on SIGHUP, and when a file it is made of changes.
//!
//! All or nothing: what is wrong with it is said, and the old one stays. What cannot change while serving
//! is named, and takes effect at the next start. Files are looked at every ten seconds, by content: that
//! sees through the links by which Kubernetes exchanges mounted files, and misses nothing.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foldhash::quality::FixedState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{interval, sleep};
use tracing::{error, info, warn};

use super::args::ConfigArgs;
use super::load;
use super::logging::Level;
use crate::config::{Environment, KEYS, Loaded};
use crate::live::server::Server;

/// Everything that reading the configuration again takes.
pub(super) struct Reload {
    args: ConfigArgs,
    environment: Environment,
    level: Level,
    hangup: Signal,
    /// What the process was started with.
    started: Loaded,
    /// Files it is made of now.
    files: Vec<PathBuf>,
    /// What they said when they were last looked at.
    seen: u64,
}

impl Reload {
    /// Begins with what `loaded` was made of.
    pub(super) fn new(
        args: &ConfigArgs,
        environment: Environment,
        loaded: Loaded,
        level: Level,
    ) -> std::io::Result<Reload> {
        let files = files(args, &environment, &loaded);
        Ok(Reload {
            args: args.clone(),
            environment,
            level,
            hangup: signal(SignalKind::hangup())?,
            started: loaded,
            seen: fingerprint(&files),
            files,
        })
    }

    /// Follows the configuration for as long as it is polled.
    pub(super) async fn follow(mut self, server: &Server) -> Infallible {
        const EVERY: Duration = Duration::from_secs(10);
        let mut ticks = interval(EVERY);
        loop {
            let asked = tokio::select! {
                _ = self.hangup.recv() => true,
                _ = ticks.tick() => false,
            };
            let now = self.look().await;
            if asked || now != self.seen {
                self.seen = if asked { now } else { self.settled(now).await };
                self.reload(server);
            }
        }
    }

    /// Whoever writes a file may be halfway through.
    async fn settled(&self, mut last: u64) -> u64 {
        const PAUSE: Duration = Duration::from_millis(200);
        const LOOKS: usize = 25;
        for _ in 0..LOOKS {
            sleep(PAUSE).await;
            let now = self.look().await;
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    async fn look(&self) -> u64 {
        let files = self.files.clone();
        // A disk that hangs must not hang whoever serves.
        tokio::task::spawn_blocking(move || fingerprint(&files)).await.unwrap_or(self.seen)
    }

    fn reload(&mut self, server: &Server) {
        let changed = load(&self.args, self.environment.clone()).and_then(|loaded| {
            let settings = loaded.config.server_settings();
            server.change(&settings).map_err(super::CliError::usage)?;
            Ok(loaded)
        });
        server.note_reload(changed.is_ok());
        match changed {
            Err(error) => {
                error!(%error, "the configuration cannot be taken over; the old one stays");
            }
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
                self.level.set(loaded.config.log.level);
                for key in at_start_only(&self.started, &loaded) {
                    warn!(key, "changed; takes effect at the next start");
                }
                info!("the configuration is taken over");
                self.files = files(&self.args, &self.environment, &loaded);
                self.seen = fingerprint(&self.files);
            }
        }
    }
}

/// Settings that differ and cannot change while serving.
fn at_start_only(started: &Loaded, loaded: &Loaded) -> Vec<&'static str> {
    let differ = KEYS.iter().filter(|key| key.value(&started.config) != key.value(&loaded.config));
    differ.map(|key| key.name).filter(|name| !is_followed(name)).collect()
}

fn is_followed(name: &str) -> bool {
    // The receivers' own share of this one is fixed at the start.
    let connections = name.starts_with("connections.") && name != "connections.request_timeout";
    connections || name.contains(".tls.") || name.contains(".auth.") || name == "log.level"
}

fn files(args: &ConfigArgs, environment: &Environment, loaded: &Loaded) -> Vec<PathBuf> {
    let config = super::config_path(args, environment);
    let access = [loaded.config.receiver_access(), loaded.config.admin_access()];
    config.into_iter().chain(access.iter().flat_map(|access| access.paths())).collect()
}

/// A number that changes with what the files say, or with whether they can be read.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    for file in files {
        match read(file) {
            Ok(content) => hasher.write(&content),
            Err(_) => hasher.write_u8(0),
        }
        hasher.write_u8(1);
    }
    hasher.finish()
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    /// Certificates, keys, tokens and configurations take some kilobytes.
    const LONGEST: u64 = 4 << 20;
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn loaded(flags: &[(&'static str, &str)]) -> Loaded {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Sources { flags, ..Sources::default() }.resolve().expect("is fine")
    }

    #[test]
    fn what_cannot_change_while_serving_is_named() {
        let old = loaded(&[]);
        let new = loaded(&[
            ("connections.max", "3000"),
            ("connections.request_timeout", "11s"),
            ("log.level", "debug"),
            ("receiver.auth.bearer_token_file", "/a"),
            ("admin.endpoint", "127.0.0.1:1"),
        ]);
        assert_eq!(at_start_only(&old, &new), ["admin.endpoint", "connections.request_timeout"]);
        assert!(at_start_only(&new, &new).is_empty());
    }

    #[test]
    fn a_file_that_changes_comes_or_goes_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("a"), folder.path().join("b")];
        let mut seen = vec![fingerprint(&files)];
        for (file, content) in
            [(0, Some("1")), (1, Some("1")), (0, Some("2")), (0, None), (1, Some(""))]
        {
            match content {
                Some(content) => std::fs::write(&files[file], content).unwrap(),
                None => std::fs::remove_file(&files[file]).unwrap(),
            }
            seen.push(fingerprint(&files));
        }
        assert_eq!(seen[5], fingerprint(&files), "the same as long as nothing changes");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
}
