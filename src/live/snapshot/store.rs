//! One snapshot in one directory: saved so that there is always the old one or the new one, and loaded
//! without trusting it.
//!
//! Saving: a new file beside it, written, synced, renamed over it, the directory synced. Whatever stops
//! that midway leaves the old file as it was. Loading: what is no sound snapshot is renamed out of the
//! way, kept for whoever wants to know, and the process starts cold. Encoding and deciding when are not
//! done here.

use std::io;

use super::disk::{Disk, DiskFile};
use super::image::{Defect, Image, MAX_FILE_BYTES};
use crate::model::Timestamp;

/// The snapshot.
pub const FILE: &str = "laghound.snapshot";
/// The next one in the making.
pub const DRAFT: &str = "laghound.snapshot.draft";
/// Files set aside that are kept: enough to see whether it happens again and again.
pub const MAX_SET_ASIDE: usize = 3;

/// The snapshot of a directory.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
}

/// What a directory holds.
#[derive(Debug)]
pub enum Found {
    /// No snapshot.
    Nothing,
    /// A sound one, as far as the file tells.
    Image(Image),
    /// One that is not, and the name it has now; `None` if it could not be renamed.
    SetAside(Defect, Option<String>),
    /// It could not be read.
    Unreadable(io::Error),
}

/// Where saving stopped.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct SaveError {
    /// What was being done.
    pub step: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl<D: Disk> Store<D> {
    /// The snapshot of a directory that nobody else saves in.
    pub fn new(disk: D) -> Store<D> {
        Store { disk }
    }

    /// Puts `image` in the place of the snapshot there is. Once this has returned, it outlasts a power
    /// cut.
    ///
    /// # Errors
    /// The step that failed. What was there before still is, unless only the last step failed.
    pub fn save(&self, image: &Image) -> Result<(), SaveError> {
        let at = |step| move |source| SaveError { step, source };
        self.disk.remove(DRAFT).map_err(at("remove an unfinished draft"))?;
        let written = self.write_draft(image);
        if written.is_err() {
            // Only tidiness: the next save begins with this as well.
            let _ = self.disk.remove(DRAFT);
        }
        written?;
        self.disk.rename(DRAFT, FILE).map_err(at("put the draft in place"))?;
        self.disk.sync().map_err(at("sync the directory"))
    }

    fn write_draft(&self, image: &Image) -> Result<(), SaveError> {
        let at = |step| move |source| SaveError { step, source };
        let mut file = self.disk.create(DRAFT).map_err(at("create a draft"))?;
        file.append(image.bytes()).map_err(at("write the draft"))?;
        file.sync().map_err(at("sync the draft"))
    }

    /// What there is. `now` only gives a name to what has to be set aside.
    pub fn load(&self, now: Timestamp) -> Found {
        match self.read() {
            Ok(None) => Found::Nothing,
            Ok(Some(Ok(image))) => Found::Image(image),
            Ok(Some(Err(defect))) => Found::SetAside(defect, self.set_aside(defect, now)),
            Err(error) => Found::Unreadable(error),
        }
    }

    fn read(&self) -> io::Result<Option<Result<Image, Defect>>> {
        // The length first: a file of ten gigabytes is not read to find out that it is none of ours.
        match self.disk.length(FILE)? {
            None => Ok(None),
            Some(length) if length > MAX_FILE_BYTES => Ok(Some(Err(Defect::TooLarge))),
            Some(_) => Ok(Some(Image::open(self.disk.read(FILE, MAX_FILE_BYTES + 1)?))),
        }
    }

    /// Gets the snapshot out of the way of the next; returns its new name. Also for a caller who found
    /// that the content makes no sense.
    pub fn set_aside(&self, defect: Defect, now: Timestamp) -> Option<String> {
        let name = format!("{FILE}.{}-{:010}", defect.as_str(), now.0 / 1_000_000_000);
        self.disk.rename(FILE, &name).ok()?;
        let mut kept: Vec<String> = self.disk.names().unwrap_or_default();
        kept.retain(|name| set_aside_at(name).is_some());
        kept.sort_by_key(|name| set_aside_at(name));
        let surplus = kept.len().saturating_sub(MAX_SET_ASIDE);
        for name in &kept[..surplus] {
            // What cannot be removed now is tried again the next time.
            let _ = self.disk.remove(name);
        }
        Some(name)
    }
}

/// When a file was set aside, if it was.
fn set_aside_at(name: &str) -> Option<u64> {
    let (_, second) = name.strip_prefix(FILE)?.strip_prefix('.')?.rsplit_once('-')?;
    second.parse().ok()
}
