//! Saves images on a thread of its own, so that a disk that hangs holds up nothing else.
//!
//! Whoever has the state decides when one is [due](Saver::is_due), takes the image and hands it over.
//! One image waits at most: while the disk is still busy with the last, the next is given up and counted.
//! What happened is in the [`Figures`], for `/metrics`.

use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tracing::{debug, info, warn};

use super::disk::{Directory, Lock, LockError};
use super::image::Image;
use super::store::{Found, Store};
use crate::live::clock::Clock;
use crate::model::{Nanos, Timestamp};
use crate::publish::ledger::SnapshotFigures;

/// Reasons for which an image is not saved.
pub mod failure {
    /// The file system refused a step.
    pub const IO: &str = "io";
    /// The last one was still being written.
    pub const BUSY: &str = "busy";
    /// Another process has the directory.
    pub const LOCKED: &str = "locked";
    /// It could not be put together.
    pub const ENCODE: &str = "encode";
    /// All of them.
    pub const ALL: [&str; 4] = [BUSY, ENCODE, IO, LOCKED];
}

/// How saving goes; shared with whoever shows it.
#[derive(Debug)]
pub struct Figures(Mutex<SnapshotFigures>);

impl Default for Figures {
    /// Nothing saved, every reason of failure at zero.
    fn default() -> Figures {
        let failures = failure::ALL.map(|reason| (reason, 0)).into();
        Figures(Mutex::new(SnapshotFigures { failures, ..SnapshotFigures::default() }))
    }
}

impl Figures {
    /// As they stand.
    pub fn read(&self) -> SnapshotFigures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What became of the snapshot found at the start: one of the values of the `result` label.
    pub fn restored(&self, result: &'static str) {
        self.change(|figures| figures.restored = Some(result));
    }

    fn failed(&self, reason: &'static str) {
        self.change(|figures| *figures.failures.entry(reason).or_default() += 1);
    }

    fn change(&self, change: impl FnOnce(&mut SnapshotFigures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A directory in which this process may save.
#[derive(Debug)]
pub struct Home {
    directory: Directory,
    lock: Option<Lock>,
    figures: Arc<Figures>,
}

impl Home {
    /// Makes the directory if need be and locks it. A directory that cannot be made, written to or
    /// locked for any reason but that somebody else has it is no reason not to start: what is wrong is
    /// logged, and counted at every save.
    ///
    /// # Errors
    /// [`LockError::Taken`]: two processes would overwrite each other's state.
    pub fn open(directory: Directory) -> Result<Home, LockError> {
        let path = directory.path().display().to_string();
        if let Err(error) = directory.make() {
            warn!(path, %error, "the state directory cannot be made");
        }
        let lock = match Lock::take(&directory) {
            Ok(lock) => Some(lock),
            Err(LockError::Taken) => return Err(LockError::Taken),
            Err(LockError::Io(error)) => {
                warn!(path, %error, "the state directory cannot be locked");
                None
            }
        };
        Ok(Home { directory, lock, figures: Arc::default() })
    }

    /// What is saved there.
    pub fn load(&self, now: Timestamp) -> Found {
        Store::new(self.directory.clone()).load(now)
    }

    /// The snapshot's place, for setting it aside.
    pub fn store(&self) -> Store<Directory> {
        Store::new(self.directory.clone())
    }

    /// How saving goes.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Starts to save there, every `interval`.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn saver(self, clock: Arc<Clock>, interval: Nanos) -> io::Result<Saver> {
        let figures = Arc::clone(&self.figures);
        let (images, received) = mpsc::sync_channel(1);
        let due = clock.elapsed() + interval;
        let writer = Writer { home: self, clock: Arc::clone(&clock) };
        let thread = thread::Builder::new().name("snapshot".to_owned());
        let thread = thread.spawn(move || writer.run(&received))?;
        Ok(Saver { images, thread, figures, clock, interval, due })
    }
}

/// The way to the thread that saves.
#[derive(Debug)]
pub struct Saver {
    images: SyncSender<Image>,
    thread: JoinHandle<()>,
    figures: Arc<Figures>,
    clock: Arc<Clock>,
    interval: Nanos,
    due: Nanos,
}

impl Saver {
    /// Whether it is time for the next image.
    pub fn is_due(&self) -> bool {
        self.clock.elapsed() >= self.due
    }

    /// Has an image taken and saved. Does not wait for the disk.
    pub fn save(&mut self, take: impl FnOnce() -> io::Result<Image>) {
        let Some(image) = self.take(take) else { return };
        match self.images.try_send(image) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.figures.failed(failure::BUSY);
                warn!("the last snapshot is still being written; this one is given up");
            }
            Err(TrySendError::Disconnected(_)) => self.figures.failed(failure::IO),
        }
    }

    /// Has the last image taken and saved, and waits until it is. The process's end bounds the wait.
    pub fn finish(mut self, take: impl FnOnce() -> io::Result<Image>) {
        if let Some(image) = self.take(take)
            && self.images.send(image).is_err()
        {
            self.figures.failed(failure::IO);
        }
        drop(self.images);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }

    fn take(&mut self, take: impl FnOnce() -> io::Result<Image>) -> Option<Image> {
        let began = self.clock.elapsed();
        let image = take();
        let ended = self.clock.elapsed();
        self.due = ended + self.interval;
        match image {
            Ok(image) => {
                self.figures.change(|figures| figures.encoding = ended - began);
                Some(image)
            }
            Err(error) => {
                self.figures.failed(failure::ENCODE);
                warn!(%error, "the learned state cannot be put into a snapshot");
                None
            }
        }
    }
}

/// The thread.
struct Writer {
    home: Home,
    clock: Arc<Clock>,
}

impl Writer {
    fn run(mut self, images: &Receiver<Image>) {
        let store = self.home.store();
        // The last one, which is what counts once there are no more.
        let mut saved = false;
        while let Ok(image) = images.recv() {
            saved = false;
            let ours = self.home.is_ours();
            let path = self.home.directory.path().display();
            if !ours {
                self.home.figures.failed(failure::LOCKED);
                warn!(%path, "another process uses the state directory; nothing is saved");
                continue;
            }
            let began = self.clock.elapsed();
            match store.save(&image) {
                Ok(()) => {
                    saved = true;
                    let writing = self.clock.elapsed() - began;
                    self.home.figures.saved(&image, writing);
                    debug!(%path, bytes = image.bytes().len(), "snapshot saved");
                }
                Err(error) => {
                    self.home.figures.failed(failure::IO);
                    warn!(%path, %error, "the snapshot was not saved; the last one still is");
                }
            }
        }
        info!(saved, "snapshots ended");
    }
}

impl Home {
    /// Whether it may be written to. A directory that was not there at the start is locked once it is.
    fn is_ours(&mut self) -> bool {
        if self.lock.is_none() {
            match Lock::take(&self.directory) {
                Ok(lock) => self.lock = Some(lock),
                Err(LockError::Taken) => return false,
                // No directory, which the save will say, or no locks there, which was said.
                Err(LockError::Io(_)) => {}
            }
        }
        true
    }
}

impl Figures {
    fn saved(&self, image: &Image, writing: Nanos) {
        self.change(|figures| {
            figures.saved_at = Some(image.saved_at());
            figures.bytes = image.bytes().len() as u64;
            figures.writing = writing;
        });
    }
}
