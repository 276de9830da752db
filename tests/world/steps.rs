//! What may happen next in a world, with odd and hostile things in between.

use laghound::model::{AttrSetId, Span, SpanId, TraceId};
use laghound::model::{Nanos, SpanKind, SpanRecord, Timestamp};
use laghound::otlp::{Batch, Decoder};
use std::io::ErrorKind;
use std::sync::Arc;

use super::choice::Choice;
use super::disk::Step as DiskStep;
use super::{World, laws};
use laghound::sim::Random;

const SECOND: Nanos = Nanos::from_secs(1);
const HOUR: Nanos = Nanos::from_secs(3600);
const YEAR: Nanos = Nanos::from_secs(365 * 86_400);

/// Does one thing, chosen by `choice`, and checks the laws.
pub fn step(world: &mut World, choice: &mut impl Choice) {
    world.steps += 1;
    match choice.below(100) {
        0..=44 => world.pass(1 + u64::from(choice.below(20))),
        45..=59 => strangers(world, choice),
        60..=64 => again(world, choice),
        65..=69 => garbage(world, choice),
        70..=74 => world.tick(),
        75..=79 => laws::scrape(world),
        80..=84 => jump(world, choice),
        85..=88 => slow(world, choice),
        89..=93 => save(world, choice),
        94..=95 => restart(world, choice),
        96..=98 => kill(world, choice),
        _ => idle(world, choice),
    }
    laws::check(world);
}

/// Spans with ids, parents, names and times of every kind.
fn strangers(world: &mut World, choice: &mut impl Choice) {
    let spans: Vec<SpanRecord> =
        (0..choice.below(12)).filter_map(|_| stranger(world, choice)).collect();
    world.ingest(&spans);
}

fn stranger(world: &World, choice: &mut impl Choice) -> Option<SpanRecord> {
    const SERVICES: [&str; 10] = ["shop", "cart", "stock", "a", "b", "c", "d", "", "e\"\\\n", "é"];
    const NAMES: [&str; 8] = ["GET /", "GET /cart", "GET", "x", "y", "z", "", "\u{202e}\0{}"];
    let names = &world.life.names;
    let service = names.service(choice.one_of(&SERVICES).as_bytes());
    let kind = choice.one_of(&SpanKind::ALL);
    let made_up = format!("made up in step {}", world.steps);
    let name = if choice.happens(50) { made_up.as_str() } else { choice.one_of(&NAMES) };
    let key = names.key(service, name.as_bytes(), kind);
    let peer = choice.happens(200).then(|| names.string(choice.one_of(&SERVICES).as_bytes()));
    let attrs = match choice.below(6) {
        0 => {
            let pod = names.string(b"k8s.pod.name");
            names.attr_set(&mut [(pod, names.string(choice.one_of(&NAMES).as_bytes()))])
        }
        _ => AttrSetId::EMPTY,
    };
    let (start, end) = times(world.now, choice);
    let span = Span {
        id: SpanId::new(1 + u64::from(choice.below(8)))?,
        // Half are roots; of the others some are their own parent, or have none that exists.
        parent: SpanId::new(u64::from(choice.below(18).saturating_sub(9))),
        start,
        end,
        key,
        peer,
        attrs,
        failed: choice.happens(100),
    };
    // Few traces, so that ids meet; the last ones are those of the well-behaved.
    let trace = u128::from(choice.below(40)) << 8 | u128::from(choice.below(2));
    Some(SpanRecord { trace: TraceId::new(trace)?, span })
}

fn times(now: Timestamp, choice: &mut impl Choice) -> (Timestamp, Timestamp) {
    let lately = |choice: &mut dyn FnMut(u32) -> u32| {
        let end = now.saturating_sub(Nanos::from_millis(u64::from(choice(20_000))));
        (end.saturating_sub(Nanos::from_millis(u64::from(choice(5_000)))), end)
    };
    match choice.below(24) {
        0 => (Timestamp(0), now),
        1 => (Timestamp(0), Timestamp(0)),
        2 => (now, Timestamp(u64::MAX)),
        3 => (Timestamp(u64::MAX), Timestamp(u64::MAX)),
        4 => (now + SECOND, now + Nanos::from_secs(u64::from(choice.below(100)))),
        5 => (now.saturating_sub(HOUR), now),
        6 => (now.saturating_sub(YEAR), now.saturating_sub(HOUR)),
        7 => (now.saturating_sub(Nanos::from_secs(400)), now.saturating_sub(Nanos::from_secs(200))),
        8 => (now, now),
        _ => lately(&mut |count| choice.below(count)),
    }
    .ordered()
}

/// A span does not end before it starts; the decoders see to that.
trait Ordered {
    fn ordered(self) -> Self;
}

impl Ordered for (Timestamp, Timestamp) {
    fn ordered(self) -> (Timestamp, Timestamp) {
        (self.0.min(self.1), self.0.max(self.1))
    }
}

/// What was sent before, once more: the answer was lost.
fn again(world: &mut World, choice: &mut impl Choice) {
    let sent = world.sent.clone();
    let chosen: Vec<SpanRecord> = sent.into_iter().filter(|_| choice.happens(500)).collect();
    world.ingest(&chosen);
}

/// Bytes that may or may not be OTLP/JSON.
fn garbage(world: &mut World, choice: &mut impl Choice) {
    const SCRAPS: [&str; 14] = [
        "{\"resourceSpans\":[",
        "]}",
        "{\"scopeSpans\":[{\"spans\":[",
        "{\"traceId\":\"",
        "0af7651916cd43dd8448eb211c80319c",
        "\",\"spanId\":\"",
        "b7ad6b7169203331",
        "\",\"startTimeUnixNano\":",
        "1790000000000000000",
        ",\"endTimeUnixNano\":\"",
        "}",
        "]",
        ",",
        "null",
    ];
    let text: String = (0..choice.below(20)).map(|_| choice.one_of(&SCRAPS)).collect();
    let mut batch = Batch::default();
    let life = &world.life;
    let mut decoder = Decoder::new(Arc::clone(&life.names), Arc::clone(&life.rules));
    let limits = laghound::otlp::CostLimits { spans: 100, elements: 1_000 };
    // All or nothing: a request that is no request leaves nothing behind.
    if decoder.json(text.as_bytes(), &limits, &mut batch).is_ok() {
        world.ingest(&batch.spans);
    }
}

/// The clock is set, forward or back; time as the process sees it may even go back here, which the
/// real clock does not do.
fn jump(world: &mut World, choice: &mut impl Choice) {
    world.now = match choice.below(12) {
        0 => world.now + HOUR,
        1 => world.now.saturating_sub(HOUR),
        2 => world.now + Nanos::from_secs(u64::from(choice.below(900))),
        3 if choice.below(8) == 0 => world.now + YEAR,
        3 | 4 => world.now.saturating_sub(Nanos::from_secs(u64::from(choice.below(60)))),
        _ => world.now + SECOND,
    };
    world.tick();
}

/// A service gets slow, or is itself again.
fn slow(world: &mut World, choice: &mut impl Choice) {
    world.traffic.slow_ms = match world.traffic.slow_ms {
        0 => u64::from(choice.one_of(&[20u32, 100, 1_000])),
        _ => 0,
    };
    world.pass(30);
}

/// A snapshot is saved, on a disk that may just then be broken.
fn save(world: &mut World, choice: &mut impl Choice) {
    const STEPS: [DiskStep; 6] = [
        DiskStep::Remove,
        DiskStep::Create,
        DiskStep::Append,
        DiskStep::SyncFile,
        DiskStep::Rename,
        DiskStep::SyncDirectory,
    ];
    const KINDS: [ErrorKind; 3] =
        [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other];
    if choice.happens(300) {
        world.disk.fail(choice.one_of(&STEPS), choice.one_of(&KINDS));
    }
    world.save();
    world.disk.recover();
}

/// The process is told to end, and another starts.
fn restart(world: &mut World, choice: &mut impl Choice) {
    world.stop();
    let shards = 1 + choice.below(3) as usize;
    world.start(downtime(choice), shards);
}

/// The process is killed, perhaps in the middle of a save, perhaps with the whole machine.
fn kill(world: &mut World, choice: &mut impl Choice) {
    if choice.happens(700) {
        world.disk.kill_after(choice.below(7) as usize);
        world.save();
    }
    if choice.happens(500) {
        let seed = u64::from(choice.below(u32::MAX));
        world.disk.power_cut(&mut Random::new(seed, 0));
    }
    let shards = 1 + choice.below(3) as usize;
    world.start(downtime(choice), shards);
}

fn downtime(choice: &mut impl Choice) -> Nanos {
    match choice.below(8) {
        0 => Nanos::ZERO,
        1 => HOUR,
        2 => Nanos::from_secs(u64::from(choice.below(90_000))),
        _ => Nanos::from_secs(u64::from(choice.below(120))),
    }
}

/// Nobody sends anything for a while.
fn idle(world: &mut World, choice: &mut impl Choice) {
    for _ in 0..choice.below(90) {
        world.now = world.now + SECOND;
        world.tick();
    }
}
