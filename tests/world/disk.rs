//! A directory in memory that fails, is cut off and forgets as real ones do.
//!
//! What has been synced is there after a power cut. Of what has not, a seed chooses: names that were
//! made, renamed or removed since the directory was last synced are there up to some point in their
//! order; of a file's bytes that were not synced some beginning is there, and perhaps zeros after it.
//! A killed process loses nothing it has written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use laghound::live::snapshot::disk::{Disk, DiskFile};
use laghound::sim::Random;

/// A step of saving, as the disk sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Remove,
    Create,
    Append,
    SyncFile,
    Rename,
    SyncDirectory,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Bytes that outlast a power cut.
    synced: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Make(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct State {
    /// Files by number, those that a name leads to.
    contents: BTreeMap<usize, Content>,
    /// Files ever made.
    made: usize,
    /// Names as processes see them.
    names: BTreeMap<String, usize>,
    /// Names that outlast a power cut.
    durable: BTreeMap<String, usize>,
    unsynced: Vec<Change>,
    steps: Vec<Step>,
    /// Steps until everything fails: the process is dead, or the disk is.
    steps_left: Option<usize>,
    fails: Option<(Step, io::ErrorKind)>,
    /// The disk says it has synced and has not.
    lies: bool,
}

impl State {
    fn make(&mut self, content: Content) -> usize {
        self.made += 1;
        self.contents.insert(self.made, content);
        self.made
    }

    /// What no name leads to takes no room; months of saves would fill the memory.
    fn forget_nameless(&mut self) {
        let State { contents, names, .. } = self;
        contents.retain(|number, _| names.values().any(|named| named == number));
    }
}

/// The directory; clones are the same one.
#[derive(Clone, Default)]
pub struct FaultyDisk(Rc<RefCell<State>>);

pub struct FaultyFile {
    disk: FaultyDisk,
    content: usize,
}

impl FaultyDisk {
    /// The process is killed when it has done so many steps more, the last of them by half.
    pub fn kill_after(&self, steps: usize) {
        self.0.borrow_mut().steps_left = Some(steps);
    }

    /// Every such step fails from now on.
    pub fn fail(&self, step: Step, kind: io::ErrorKind) {
        self.0.borrow_mut().fails = Some((step, kind));
    }

    /// The disk says it has synced and has not.
    pub fn lie(&self) {
        self.0.borrow_mut().lies = true;
    }

    /// Sound again; whatever is there stays.
    pub fn recover(&self) {
        let mut state = self.0.borrow_mut();
        (state.steps_left, state.fails, state.lies) = (None, None, false);
        state.steps.clear();
    }

    /// What is there outlasts a power cut.
    pub fn is_settled(&self) -> bool {
        self.0.borrow().unsynced.is_empty()
    }

    /// Steps since it last recovered.
    pub fn steps(&self) -> Vec<Step> {
        self.0.borrow().steps.clone()
    }

    /// The power goes and comes back.
    pub fn power_cut(&self, draw: &mut Random) {
        let mut state = self.0.borrow_mut();
        let kept = up_to(draw, state.unsynced.len());
        let changes: Vec<Change> = state.unsynced.drain(..).take(kept).collect();
        let mut names = std::mem::take(&mut state.durable);
        for change in changes {
            apply(&mut names, &change);
        }
        for content in state.contents.values_mut() {
            let written = content.synced + up_to(draw, content.bytes.len() - content.synced);
            let length = written + up_to(draw, content.bytes.len() - written);
            content.bytes.truncate(length);
            content.bytes[written..].fill(0);
            content.synced = length;
        }
        (state.names, state.durable) = (names.clone(), names);
    }

    /// Puts a file there that nobody saved.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        let synced = bytes.len();
        let number = state.make(Content { bytes, synced });
        state.names.insert(name.to_owned(), number);
        state.durable.insert(name.to_owned(), number);
    }

    /// What is in a file.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        state.names.get(name).map(|number| state.contents[number].bytes.clone())
    }

    /// Counts a step; `Err` if it does not happen, `Ok(true)` if it happens by half.
    fn step(&self, step: Step) -> io::Result<bool> {
        let mut state = self.0.borrow_mut();
        state.steps.push(step);
        if let Some((failing, kind)) = state.fails
            && failing == step
        {
            return Err(kind.into());
        }
        match &mut state.steps_left {
            None => Ok(false),
            Some(0) => Err(io::Error::other("the process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
        }
    }

    fn change(&self, change: Change) {
        let mut state = self.0.borrow_mut();
        apply(&mut state.names, &change);
        state.unsynced.push(change);
    }
}

fn up_to(draw: &mut Random, most: usize) -> usize {
    draw.between(0, u32::try_from(most).unwrap()) as usize
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Make(name, number) => {
            names.insert(name.clone(), *number);
        }
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.get(name).map(|bytes| bytes.len() as u64))
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.get(name).ok_or(io::ErrorKind::NotFound)?;
        bytes.truncate(usize::try_from(limit).unwrap());
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        self.step(Step::Create)?;
        if self.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = self.0.borrow_mut().make(Content::default());
        self.change(Change::Make(name.to_owned(), content));
        Ok(FaultyFile { disk: self.clone(), content })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(Step::Rename)?;
        self.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(Step::Remove)?;
        if self.get(name).is_some() {
            self.change(Change::Remove(name.to_owned()));
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Step::SyncDirectory)?;
        let mut state = self.0.borrow_mut();
        if !state.lies {
            state.durable = state.names.clone();
            state.unsynced.clear();
            state.forget_nameless();
        }
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let half = self.disk.step(Step::Append)?;
        let mut state = self.disk.0.borrow_mut();
        let written = if half { bytes.len() / 2 } else { bytes.len() };
        let content = state.contents.entry(self.content).or_default();
        content.bytes.extend_from_slice(&bytes[..written]);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(Step::SyncFile)?;
        let mut state = self.disk.0.borrow_mut();
        if !state.lies {
            let content = state.contents.entry(self.content).or_default();
            content.synced = content.bytes.len();
        }
        Ok(())
    }
}
