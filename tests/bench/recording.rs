//! What `laghound replay` takes of a core: spans a second, of OTLP protobuf and of OTLP/JSON.
//!
//! JSON is compared with a walk over the same bytes by `serde_json` that keeps nothing: every string is
//! borrowed where it can be, every number read, nothing built. Start and end of the process are in the
//! figure, so recordings are long enough for them not to matter.

use std::fmt::{self, Write as _};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::payload::{Shape, Stream};
use crate::process::{children_cpu_seconds, own_cpu_seconds};
use crate::report::judged;
use crate::servers::Programs;

const SHAPE: Shape = Shape { keys: 1_000, trace: 8, open: 2_000, batch: 512 };
const PROTOBUF_MESSAGES: usize = 2_000;
const JSON_MESSAGES: usize = 400;
/// When the recording begins, and how many spans a second it has.
const BEGIN_NANOS: u64 = 1_790_000_000_000_000_000;
const RATE: f64 = 20_000.0;

/// Makes the recordings, replays them, and says how fast.
pub(crate) fn run(programs: &Programs) -> anyhow::Result<String> {
    let protobuf = programs.scratch.join("recording.binpb");
    write(&protobuf, PROTOBUF_MESSAGES, |message| {
        let mut framed = u32::try_from(message.len())?.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        Ok(framed)
    })?;
    let json = programs.scratch.join("recording.json");
    write(&json, JSON_MESSAGES, |message| {
        let request = ExportTraceServiceRequest::decode(message)?;
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        Ok(line)
    })?;
    let spans = |messages: usize| (messages * SHAPE.batch) as f64;
    let of_protobuf = spans(PROTOBUF_MESSAGES) / replay(programs, &protobuf)? / 1e6;
    let of_json = replay(programs, &json)?;
    let walked = walk(&json)?;
    let mut out = String::from("| figure | measured | hold | stretch | |\n|---|---|---|---|---|\n");
    let held = if of_protobuf >= 2.0 { "holds" } else { "missed" };
    writeln!(
        out,
        "| replay of protobuf, M spans a CPU second | {of_protobuf:.2} | 2 | | {held} |"
    )?;
    let ratio = of_json / walked;
    let row = format!("replay of JSON, CPU of `serde_json` walking ({walked:.2} s)");
    writeln!(out, "| {row} | {ratio:.2} | 2 | | {} |", judged(ratio, 2.0, 0.0))?;
    Ok(out)
}

fn write(
    path: &Path,
    messages: usize,
    encode: impl Fn(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut stream = Stream::new(SHAPE, 1);
    for number in 1..=messages {
        let at = (number * SHAPE.batch) as f64 / RATE;
        let request = stream.next_request(BEGIN_NANOS + (at * 1e9) as u64);
        file.write_all(&encode(&request.message)?)?;
    }
    Ok(file.flush()?)
}

/// CPU seconds of a replay.
fn replay(programs: &Programs, recording: &PathBuf) -> anyhow::Result<f64> {
    let before = children_cpu_seconds();
    let mut command = Command::new(&programs.laghound);
    command.args(["replay", "--format", "json"]).arg(recording);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "replay of {} failed: {status}", recording.display());
    Ok(children_cpu_seconds() - before)
}

/// CPU seconds of a walk over the lines of a file.
fn walk(recording: &Path) -> anyhow::Result<f64> {
    let began = own_cpu_seconds();
    let mut file = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(recording)?);
    let (mut line, mut seen) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        seen += serde_json::from_slice::<Walked>(&line)?.0;
        line.clear();
    }
    std::hint::black_box(seen);
    Ok(own_cpu_seconds() - began)
}

/// How many values there were.
struct Walked(u64);

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Walked, D::Error> {
        from.deserialize_any(Walk).map(Walked)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }
    fn visit_bool<E>(self, _: bool) -> Result<u64, E> {
        Ok(1)
    }
    fn visit_i64<E>(self, _: i64) -> Result<u64, E> {
        Ok(1)
    }
    fn visit_u64<E>(self, _: u64) -> Result<u64, E> {
        Ok(1)
    }
    fn visit_f64<E>(self, _: f64) -> Result<u64, E> {
        Ok(1)
    }
    fn visit_str<E>(self, text: &str) -> Result<u64, E> {
        Ok(text.len() as u64)
    }
    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(1)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<u64, A::Error> {
        let mut seen = 0;
        while let Some(Walked(more)) = from.next_element()? {
            seen += more;
        }
        Ok(seen)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<u64, A::Error> {
        let mut seen = 0;
        while let Some((Walked(key), Walked(value))) = from.next_entry()? {
            seen += key + value;
        }
        Ok(seen)
    }
}
