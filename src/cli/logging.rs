//! Where log events go: standard error, as text or as one JSON object a line.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::config::{Log, LogFormat, LogLevel};
use crate::live::log_lines::LogLines;

/// Changes what is logged while it goes on.
pub struct Level(Handle<LevelFilter, Registry>);

impl Level {
    /// From now on.
    pub fn set(&self, level: LogLevel) {
        // Fails only if nobody logs any more.
        let _ = self.0.reload(filter(level));
    }
}

/// Sends the process's events where the configuration says. The first call of a process counts.
pub fn init(log: &Log) -> Level {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(level);
    let lines = LogLines::new(u32::try_from(log.max_lines_per_second).unwrap_or(u32::MAX));
    let _ = match log.format {
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(lines).with_target(false);
            registry.with(layer.with_ansi(stderr().is_terminal())).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_target(false);
            registry.with(layer.with_writer(lines)).try_init()
        }
    };
    Level(handle)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
