//! `laghound serve`: the sidecar, until it is told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::args::ServeArgs;
use super::reload::Reload;
use super::{CliError, load, logging};
use crate::config::{Config, Environment};
use crate::live::panics;
use crate::live::server::Server;

/// Serves until SIGTERM or SIGINT, then ends in order; a second signal ends at once.
///
/// # Errors
/// [`CliError::Usage`] for a bad configuration, [`CliError::Runtime`] if it cannot start or does not
/// end within its grace.
pub fn run(args: &ServeArgs, environment: Environment) -> Result<(), CliError> {
    let loaded = load(&args.config, environment.clone())?;
    let level = logging::init(&loaded.config.log);
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    panics::end_the_process();
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::runtime)?;
    let result = runtime.block_on(async {
        let reload = Reload::new(&args.config, environment, loaded.clone(), level);
        serve(&loaded.config, reload.map_err(CliError::runtime)?).await
    });
    // What did not end within the grace is not waited for.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, reload: Reload) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(CliError::runtime)?;
    let server = Server::start(config.server_settings()).await.map_err(CliError::runtime)?;
    let name = tokio::select! {
        name = signals.next() => name,
        never = reload.follow(&server) => match never {},
        failed = server.failed() => return Err(CliError::runtime(failed)),
    };
    info!(signal = name, "stopping");
    tokio::select! {
        finished = server.stop(config.shutdown.grace) => {
            info!(finished, "stopped");
            Ok(())
        }
        name = signals.next() => {
            let error = anyhow::anyhow!("stopped at once by a second signal, {name}");
            Err(CliError::runtime(error))
        }
    }
}

/// The signals that end the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one and says which.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
