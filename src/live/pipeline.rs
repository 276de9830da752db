//! The threads between the receivers and the verdict: one per shard, and the judge.
//!
//! A request's spans are dealt out to the shards by trace id, one send per shard. Every second each
//! shard hands what it has added up to the judge; the judge goes by the slowest of them. The judge
//! leaves what it knows on the board for everyone to read. Receivers never wait: a request either has
//! a permit or is refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::books::Books;
use super::budget::Permit;
use super::clock::Clock;
use super::lanes::Lanes;
use super::marks::{Marks, Reached};
use super::snapshot::image::Image;
use super::snapshot::saver::Saver;
use crate::engine::EngineParams;
use crate::engine::account::Account;
use crate::engine::aggregate::Delta;
use crate::engine::evidence::OperationDetail;
use crate::engine::judge::Judge;
use crate::engine::reservoir::{KeepLimits, Reservoir};
use crate::engine::sampler::Samples;
use crate::engine::shard::Shard;
use crate::engine::snapshot;
use crate::engine::verdict::{Board, Event};
use crate::model::{Interner, Nanos, SpanRecord, Timestamp};
use crate::publish::api::{Beat, Busy, OperationName};
use crate::publish::log;

/// How often shards hand over and the judge looks whether a slice is over.
const TICK: Nanos = Nanos::from_secs(1);

/// Spans on their way to a shard.
struct Parcel {
    records: Vec<SpanRecord>,
    arrived: Timestamp,
    /// Shared by the parcels of one request; given back when the last of them has been taken in.
    _permit: Arc<Permit>,
}

/// What a shard hands to the judge.
struct HandOver {
    shard: usize,
    at: Timestamp,
    delta: Delta,
    samples: Samples,
}

/// What the judge is told or asked.
enum ToJudge {
    HandOver(HandOver),
    /// What is normal for an operation?
    Ask(OperationName, SyncSender<Option<OperationDetail>>),
}

/// What all threads share.
struct Shared {
    clock: Arc<Clock>,
    names: Arc<Interner>,
    books: Arc<Books>,
    board: ArcSwap<Board>,
    /// Counts the boards, for those who wait for the next.
    beats: watch::Sender<Beat>,
    /// Traces kept for people to look at.
    kept: Mutex<Reservoir>,
    /// Bytes the judge holds for baselines and windows.
    baseline_bytes: AtomicU64,
    /// Requests of which something was beyond the limits of the call graph.
    folded: AtomicU64,
    /// Hand-overs judged: moves about every second, as long as everybody works.
    hand_overs: AtomicU64,
    /// How far the analysis has come.
    marks: Marks,
    /// One of the threads has ended, by order or by a panic: the analysis is not whole any more.
    ended: AtomicBool,
}

/// Held by each thread while it runs.
struct Presence(Arc<Shared>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// The way in, and the board.
pub struct Pipeline {
    shared: Arc<Shared>,
    /// `None` once closed. Read by every request, written once.
    lanes: ArcSwapOption<Vec<Sender<Parcel>>>,
    /// Who takes which.
    dealer: Lanes,
    /// `None` once closed: the judge ends when nobody can reach it any more.
    to_judge: ArcSwapOption<SyncSender<ToJudge>>,
}

/// The running threads; ends them in order.
pub struct Threads {
    shards: Vec<JoinHandle<()>>,
    judge: JoinHandle<()>,
}

impl Pipeline {
    /// Starts `threads` shards and a judge.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(
        params: EngineParams,
        threads: usize,
        clock: Arc<Clock>,
        names: Arc<Interner>,
        books: Arc<Books>,
        keep: KeepLimits,
        beginning: (Judge, Option<Saver>),
    ) -> std::io::Result<(Pipeline, Threads)> {
        let (judge, saver) = beginning;
        let judge = judge.forgetting();
        let (beats, _) = watch::channel(Beat::default());
        let shared = Arc::new(Shared {
            clock,
            books,
            beats,
            kept: Mutex::new(Reservoir::new(keep)),
            // What fired when the last process ended fires from the first scrape on.
            board: ArcSwap::from_pointee(judge.board(&names)),
            baseline_bytes: AtomicU64::new(judge.bytes() as u64),
            folded: AtomicU64::new(0),
            hand_overs: AtomicU64::new(0),
            marks: Marks::new(threads),
            ended: AtomicBool::new(false),
            names,
        });
        // Two hand-overs per shard may wait; a judge that falls behind further stops the shards, and
        // through their permits the receivers.
        let (to_judge, from_shards) = mpsc::sync_channel(2 * threads);
        let mut lanes = Vec::with_capacity(threads);
        let mut shards = Vec::with_capacity(threads);
        for index in 0..threads {
            let (lane, parcels) = mpsc::channel();
            lanes.push(lane);
            let worker = ShardWorker {
                index,
                shard: Shard::new(&params, threads).sampling(),
                settled: Account::default(),
                reached: Reached::default(),
                shared: Arc::clone(&shared),
                to_judge: to_judge.clone(),
            };
            let thread = thread::Builder::new().name(format!("shard-{index}"));
            shards.push(thread.spawn(move || worker.run(&parcels))?);
        }
        let judge = JudgeWorker {
            judge,
            saver,
            reached: vec![Timestamp::default(); threads],
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new().name("judge".to_owned());
        let judge = thread.spawn(move || judge.run(&from_shards))?;
        let lanes = ArcSwapOption::from_pointee(lanes);
        let to_judge = ArcSwapOption::from_pointee(to_judge);
        Ok((
            Pipeline { shared, lanes, dealer: Lanes::default(), to_judge },
            Threads { shards, judge },
        ))
    }

    /// Hands over the spans of one request, all or nothing. The permit is held until they have been
    /// taken in; that is what bounds the lanes. `enter` is called once they are sure to be taken, before a
    /// shard can have them.
    ///
    /// # Errors
    /// If the shards have stopped: the process is on its way out.
    pub fn send(
        &self,
        mut records: Vec<SpanRecord>,
        permit: Permit,
        enter: impl FnOnce(),
    ) -> Result<(), Stopped> {
        let permit = Arc::new(permit);
        let arrived = self.shared.clock.now();
        let behind = self.shared.clock.behind();
        if behind.0 > 0 {
            for span in records.iter_mut().map(|record| &mut record.span) {
                (span.start, span.end) = (span.start + behind, span.end + behind);
            }
        }
        let lanes = self.lanes.load();
        let lanes = lanes.as_deref().ok_or(Stopped)?;
        let count = lanes.len();
        enter();
        let parcel = |records| Parcel { records, arrived, _permit: Arc::clone(&permit) };
        if let [lane] = lanes.as_slice() {
            return lane.send(parcel(records)).map_err(|_| Stopped);
        }
        // Mostly they are shared out evenly; a little more room costs less than growing.
        let room = records.len() / count + records.len() / 8 + 8;
        let mut dealt: Vec<Vec<SpanRecord>> =
            std::iter::repeat_with(|| Vec::with_capacity(room)).take(count).collect();
        for record in records {
            dealt[self.dealer.of(record.trace, count)].push(record);
        }
        for (lane, records) in lanes.iter().zip(dealt) {
            if !records.is_empty() {
                lane.send(parcel(records)).map_err(|_| Stopped)?;
            }
        }
        Ok(())
    }

    /// Takes no more; the threads end once they are done with what they have.
    pub fn close(&self) {
        self.lanes.store(None);
        self.to_judge.store(None);
    }

    /// Lets go those who wait for the next board: there may be none.
    pub fn release(&self) {
        self.shared.beats.send_modify(|beat| beat.ending = true);
    }

    /// Spans are still being analyzed.
    pub fn is_running(&self) -> bool {
        self.lanes.load().is_some() && !self.shared.ended.load(Ordering::Relaxed)
    }

    /// A number that moves about every second, as long as everybody works.
    pub fn progress(&self) -> u64 {
        self.shared.hand_overs.load(Ordering::Relaxed)
    }

    /// Everything that was sent before this is done with: analyzed, or dropped and counted. A call of
    /// [`Pipeline::send`] counts as before it if the clock was so early after it had returned.
    pub fn analyzed_before(&self) -> Timestamp {
        self.shared.marks.analyzed_before()
    }

    /// The verdicts as of the last slice.
    pub fn board(&self) -> Arc<Board> {
        self.shared.board.load_full()
    }

    /// Tells of every board.
    pub fn beats(&self) -> watch::Receiver<Beat> {
        self.shared.beats.subscribe()
    }

    /// Kept traces. Held for as short as possible: the judge adds to them.
    pub fn kept(&self) -> MutexGuard<'_, Reservoir> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// What is normal for an operation; `None` if there is none of that name.
    ///
    /// # Errors
    /// If the judge does not answer within `patience`.
    pub fn ask(
        &self,
        which: OperationName,
        patience: Duration,
    ) -> Result<Option<OperationDetail>, Busy> {
        let (reply, answer) = mpsc::sync_channel(1);
        let to_judge = self.to_judge.load_full().ok_or(Busy)?;
        to_judge.try_send(ToJudge::Ask(which, reply)).map_err(|_| Busy)?;
        drop(to_judge);
        answer.recv_timeout(patience).map_err(|_| Busy)
    }

    /// Bytes held for baselines and windows as of the last slice.
    pub fn baseline_bytes(&self) -> u64 {
        self.shared.baseline_bytes.load(Ordering::Relaxed)
    }

    /// Requests so far of which something was beyond the limits of nodes and paths.
    pub fn folded(&self) -> u64 {
        self.shared.folded.load(Ordering::Relaxed)
    }

    /// The account of all spans.
    pub fn books(&self) -> &Books {
        &self.shared.books
    }

    /// The names in use.
    pub fn names(&self) -> &Arc<Interner> {
        &self.shared.names
    }
}

/// The shards have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the analysis has stopped")]
pub struct Stopped;

impl Threads {
    /// Waits until everything handed in has been analyzed and judged. The pipeline must be gone.
    pub fn join(self) {
        for shard in self.shards {
            // A thread that panicked has said so; there is nothing left to wait for.
            let _ = shard.join();
        }
        let _ = self.judge.join();
    }
}

struct ShardWorker {
    index: usize,
    shard: Shard,
    /// The account as last entered in the books.
    settled: Account,
    /// What has come out of the lane.
    reached: Reached,
    shared: Arc<Shared>,
    to_judge: SyncSender<ToJudge>,
}

impl ShardWorker {
    /// Parcels between two looks at the clock, beyond the first: some milliseconds of work.
    const AT_ONCE: usize = 32;

    fn run(mut self, parcels: &Receiver<Parcel>) {
        let _presence = Presence(Arc::clone(&self.shared));
        let mut next_tick = self.shared.clock.now() + TICK;
        loop {
            let now = self.shared.clock.now();
            if now >= next_tick {
                let delta = self.shard.tick(now, &self.shared.names);
                self.hand_over(now, delta);
                self.shared.marks.publish(self.index, self.reached.mark(self.shard.oldest()));
                next_tick = now + TICK;
            }
            match parcels.recv_timeout(Duration::from_nanos(next_tick.since(now).0)) {
                Ok(parcel) => {
                    self.take_in(&parcel);
                    // What waits already is entered in the books together: of small requests there are many.
                    let waiting = parcels.try_iter().take(Self::AT_ONCE);
                    waiting.for_each(|parcel| self.take_in(&parcel));
                    self.settle();
                }
                Err(RecvTimeoutError::Timeout) => self.reached.empty(now),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let delta = self.shard.finish(&self.shared.names);
        self.hand_over(self.shared.clock.now(), delta);
        self.shared.marks.end(self.index);
    }

    fn take_in(&mut self, parcel: &Parcel) {
        let Parcel { records, arrived, _permit } = parcel;
        self.shard.ingest(records, *arrived, &self.shared.names);
        // As much goes as comes, and a little more: nothing piles up for the tick.
        self.shard.close_some(*arrived, 2 * records.len(), &self.shared.names);
        self.reached.parcel(*arrived);
    }

    fn hand_over(&mut self, at: Timestamp, delta: Delta) {
        self.settle();
        let samples = self.shard.take_samples();
        let hand_over = HandOver { shard: self.index, at, delta, samples };
        // If the judge is gone the process is ending.
        let _ = self.to_judge.send(ToJudge::HandOver(hand_over));
    }

    fn settle(&mut self) {
        let account = self.shard.account();
        self.shared.books.settle(&self.settled, &account);
        self.settled = account;
    }
}

/// What the judge knows, to be saved.
fn image(judge: &Judge, shared: &Shared) -> std::io::Result<Image> {
    Image::take(shared.clock.now(), |out| snapshot::save(judge, &shared.names, out))
}

struct JudgeWorker {
    judge: Judge,
    saver: Option<Saver>,
    /// The time each shard has reached.
    reached: Vec<Timestamp>,
    shared: Arc<Shared>,
}

impl JudgeWorker {
    fn run(mut self, incoming: &Receiver<ToJudge>) {
        let _presence = Presence(Arc::clone(&self.shared));
        while let Ok(message) = incoming.recv() {
            match message {
                ToJudge::HandOver(hand_over) => self.take_in(hand_over),
                ToJudge::Ask(which, reply) => {
                    let names = &self.shared.names;
                    let detail =
                        self.judge.operation(&which.service, &which.name, which.kind, names);
                    // Whoever asked may have lost patience.
                    let _ = reply.try_send(detail);
                }
            }
        }
        let events = self.judge.finish(self.shared.clock.now(), &self.shared.names);
        self.publish();
        self.tell(events);
        if let Some(saver) = self.saver.take() {
            saver.finish(|| image(&self.judge, &self.shared));
        }
    }

    fn take_in(&mut self, hand_over: HandOver) {
        let HandOver { shard, at, delta, samples } = hand_over;
        self.judge.merge(shard, delta, &self.shared.names);
        self.reached[shard] = at;
        let slowest = self.reached.iter().min().copied().unwrap_or_default();
        let before = self.judge.ticks();
        let events = self.judge.advance(slowest, &self.shared.names);
        if self.judge.ticks() > before {
            self.publish();
        }
        self.keep(samples);
        self.give_names_back();
        self.tell(events);
        self.shared.hand_overs.fetch_add(1, Ordering::Relaxed);
        if let Some(saver) = self.saver.as_mut().filter(|saver| saver.is_due()) {
            saver.save(|| image(&self.judge, &self.shared));
        }
    }

    fn keep(&self, samples: Samples) {
        // Not those of the board, whose times may be the wall clock's.
        let open = self.judge.open_incidents();
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.absorb(samples, &open, &self.shared.names);
    }

    fn give_names_back(&mut self) {
        let Some(mut held) = self.judge.take_held() else { return };
        let kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.hold(&mut held);
        drop(kept);
        self.shared.names.give_back(&held);
    }

    fn publish(&self) {
        self.shared.baseline_bytes.store(self.judge.bytes() as u64, Ordering::Relaxed);
        self.shared.folded.store(self.judge.folded(), Ordering::Relaxed);
        let mut board = self.judge.board(&self.shared.names);
        // As the wall clock tells it, which is what everybody else goes by.
        board.set_back(self.shared.clock.behind());
        self.shared.board.store(Arc::new(board));
        self.shared.beats.send_modify(|beat| beat.boards += 1);
    }

    fn tell(&self, events: Vec<Event>) {
        let behind = self.shared.clock.behind();
        for mut event in events {
            event.set_back(behind);
            log::emit(&event);
        }
    }
}
