//! What a process begins with: what was learned before it, or nothing, and why.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{info, warn};

use super::disk::{Directory, LockError};
use super::image::{Defect, Image};
use super::saver::{Figures, Home, Saver};
use super::store::Found;
use crate::engine::EngineParams;
use crate::engine::judge::Judge;
use crate::engine::snapshot::{self, LoadError};
use crate::live::clock::Clock;
use crate::model::{Interner, Nanos, Timestamp};

/// Where and how often what is learned is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// The directory.
    pub directory: PathBuf,
    /// Time between two saves.
    pub interval: Nanos,
}

/// What the analysis begins with.
pub struct Beginning {
    /// Who knows what was learned.
    pub judge: Judge,
    /// The way to the disk, if anything is to be saved.
    pub saver: Option<Saver>,
    /// How saving goes.
    pub figures: Option<Arc<Figures>>,
}

/// Why a process does not begin.
#[derive(Debug, thiserror::Error)]
pub enum StateInUse {
    /// Two processes would overwrite each other's state.
    #[error(
        "another process uses the state directory {0}; stop it or set state.directory to another"
    )]
    Taken(String),
    /// No more threads.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Looks for what was learned before, and starts to save what will be.
///
/// # Errors
/// [`StateInUse`]. A directory that cannot be read or written to is no error: what can be done without it
/// is done, and what cannot is logged and counted.
pub fn begin(
    settings: Option<&StateSettings>,
    params: EngineParams,
    names: &Interner,
    clock: &Arc<Clock>,
) -> Result<Beginning, StateInUse> {
    let Some(StateSettings { directory, interval }) = settings else {
        return Ok(Beginning { judge: Judge::new(params), saver: None, figures: None });
    };
    let home = Home::open(Directory::new(directory)).map_err(|error| match error {
        LockError::Taken => StateInUse::Taken(directory.display().to_string()),
        LockError::Io(error) => StateInUse::Thread(error),
    })?;
    let (judge, result) = remembered(&home, params, names, clock.now());
    let figures = home.figures();
    figures.restored(result);
    let saver = home.saver(Arc::clone(clock), *interval)?;
    Ok(Beginning { judge, saver: Some(saver), figures: Some(figures) })
}

/// A judge with whatever could be had, and the value of the `result` label.
fn remembered(
    home: &Home,
    params: EngineParams,
    names: &Interner,
    now: Timestamp,
) -> (Judge, &'static str) {
    let cold = |result| (Judge::new(params), result);
    match home.load(now) {
        Found::Nothing => {
            info!("there is no snapshot: learning from the beginning");
            cold("nothing")
        }
        Found::Image(image) => match read(&image, params, names, now) {
            Ok((judge, true)) => {
                let seconds_old = now.since(image.saved_at()).0 / 1_000_000_000;
                info!(seconds_old, "snapshot restored");
                (judge, "restored")
            }
            Ok((judge, false)) => {
                warn!(
                    "the snapshot is too old to tell what is normal: learning from the beginning"
                );
                (judge, "too_old")
            }
            Err(error) => {
                let defect = defect(&error);
                warn!(%error, "the snapshot cannot be used");
                report(defect, home.store().set_aside(defect, now));
                cold(defect.as_str())
            }
        },
        Found::SetAside(defect, name) => {
            report(defect, name);
            cold(defect.as_str())
        }
        Found::Unreadable(error) => {
            warn!(%error, "the snapshot cannot be read: learning from the beginning");
            cold("unreadable")
        }
    }
}

fn read(
    image: &Image,
    params: EngineParams,
    names: &Interner,
    now: Timestamp,
) -> Result<(Judge, bool), LoadError> {
    let mut content = image.content()?;
    let restored = snapshot::load(params, names, &mut content, image.saved_at(), now)?;
    Ok((restored.judge, restored.baselines))
}

fn defect(error: &LoadError) -> Defect {
    match error {
        LoadError::Malformed(what) => Defect::Corrupt(what),
        LoadError::OtherUnits => Defect::OtherUnits,
        LoadError::Io(_) => Defect::Corrupt("its content cannot be unpacked"),
    }
}

fn report(defect: Defect, name: Option<String>) {
    let kept_as = name.as_deref().unwrap_or("nothing: it cannot be renamed");
    warn!(%defect, kept_as, "the snapshot is set aside: learning from the beginning");
}
