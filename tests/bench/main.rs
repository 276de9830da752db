//! The load bench: laghound beside the OpenTelemetry Collector and two servers that do nothing, under the
//! same load on the same CPUs at the same time. Prints Markdown.
//!
//! `tests/bench/run.sh` builds everything and starts it. What is printed are CPU seconds of the machine it
//! ran on; only ratios within one run mean something. It is no test: nothing here passes or fails, except
//! that a bench that cannot measure says so.

// Time is what is measured, and a bench that cannot go on says why and ends.
#![allow(clippy::disallowed_methods)]
// All counts are the bench's own, and small.
#![allow(clippy::cast_possible_truncation)]

mod api;
mod baseline;
mod client;
mod count;
mod curves;
mod day;
mod footprint;
mod load;
mod measure;
mod memory;
mod payload;
mod process;
mod recording;
mod report;
mod scenarios;
mod scrape;
mod scrapes;
mod servers;
mod svg;
mod template;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::measure::{Times, measure};
use crate::report::Results;
use crate::servers::Programs;

/// As the baseline servers would be built; the generator shares it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures servers under load.
    Servers(ServersArgs),
    /// Cost against keys, open traces, trace size, batch size and threads.
    Curves {
        /// The laghound to be measured.
        #[arg(long)]
        laghound: PathBuf,
        /// Only curves whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Where the pictures go.
        #[arg(long)]
        pictures: PathBuf,
    },
    /// A day in simulated time.
    Day {
        #[arg(long, default_value_t = 24)]
        hours: usize,
        /// Spans a second.
        #[arg(long, default_value_t = 800.0)]
        rate: f64,
        /// Where the picture goes.
        #[arg(long)]
        pictures: PathBuf,
    },
    /// What `/metrics` costs.
    Scrapes {
        /// The laghound to be measured.
        #[arg(long)]
        laghound: PathBuf,
        /// Operations.
        #[arg(long, default_values_t = [10_000, 100_000])]
        keys: Vec<usize>,
        /// Seconds of load before scraping, so that all have a baseline.
        #[arg(long, default_value_t = 150)]
        learn: u64,
    },
    /// What readers of the API cost those who send.
    Api {
        /// The laghound to be measured.
        #[arg(long)]
        laghound: PathBuf,
        /// Readers.
        #[arg(long, default_value_t = 10)]
        readers: usize,
        /// Milliseconds after which each asks again.
        #[arg(long, default_value_t = 1_000)]
        every: u64,
        /// Spans a second.
        #[arg(long, default_value_t = 50_000.0)]
        rate: f64,
        /// Stretches with readers, and as many without.
        #[arg(long, default_value_t = 7)]
        pairs: usize,
        /// Seconds of each.
        #[arg(long, default_value_t = 15)]
        stretch: u64,
    },
    /// Bytes of a buffered span and of a key.
    Memory,
    /// Idle memory and CPU, the time until ready, the size of the binary.
    Footprint {
        /// The laghound to be measured.
        #[arg(long)]
        laghound: PathBuf,
    },
    /// How fast recordings are replayed.
    Replay {
        /// The laghound to be measured.
        #[arg(long)]
        laghound: PathBuf,
    },
    /// One point of it, in a process of its own.
    #[command(hide = true)]
    MemoryPoint { fill: memory::Fill, amount: usize },
    /// Work for callgrind to count: so many messages of 512 spans.
    Count {
        piece: count::Piece,
        messages: usize,
        /// Operations.
        #[arg(long, default_value_t = 1_000)]
        keys: usize,
        /// Traces under way at a time.
        #[arg(long, default_value_t = 1_000)]
        open: usize,
        /// Spans a second of simulated time.
        #[arg(long, default_value_t = 50_000.0)]
        rate: f64,
    },
    /// Decodes and drops. Started by the bench itself.
    #[command(hide = true)]
    ServeDecode { grpc: u16, http: u16 },
    /// Drops. Started by the bench itself.
    #[command(hide = true)]
    ServeRaw { grpc: u16 },
}

#[derive(clap::Args)]
struct ServersArgs {
    /// The laghound to be measured.
    #[arg(long)]
    laghound: PathBuf,
    /// The Collector; without one its rows are left out.
    #[arg(long)]
    collector: Option<PathBuf>,
    /// Rounds; every server takes its turn in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load before anything counts.
    #[arg(long, default_value_t = 8.0)]
    warm: f64,
    /// Seconds that count.
    #[arg(long, default_value_t = 15.0)]
    window: f64,
    /// Only the row of this name, or the rows whose names contain it.
    #[arg(long)]
    only: Option<String>,
    /// Only servers whose name contains this.
    #[arg(long)]
    server: Option<String>,
    /// A minute: that the bench works, not what is measured.
    #[arg(long)]
    smoke: bool,
}

fn main() -> anyhow::Result<()> {
    process::end_servers_on_panic();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match cli.command {
            Command::Servers(args) => servers(args).await?,
            Command::Curves { laghound, only, rounds, pictures } => {
                let scratch = scratch()?;
                let programs = Programs { laghound, collector: None, scratch: scratch.clone() };
                println!("{}", curves::run(&programs, &only, rounds, &pictures).await);
                std::fs::remove_dir_all(scratch)?;
            }
            Command::Day { hours, rate, pictures } => {
                let (table, picture) = day::run(hours, rate);
                std::fs::write(pictures.join("day.svg"), picture)?;
                println!("{table}");
            }
            Command::Scrapes { laghound, keys, learn } => {
                let scratch = scratch()?;
                let programs = Programs { laghound, collector: None, scratch: scratch.clone() };
                for keys in keys {
                    let learn = Duration::from_secs(learn);
                    println!("{}", scrapes::run(&programs, keys, learn).await?);
                }
                std::fs::remove_dir_all(scratch)?;
            }
            Command::Api { laghound, readers, every, rate, pairs, stretch } => {
                let scratch = scratch()?;
                let programs = Programs { laghound, collector: None, scratch: scratch.clone() };
                let every = Duration::from_millis(every);
                let readers = api::Readers { count: readers, every };
                let stretch = Duration::from_secs(stretch);
                println!("{}", api::run(&programs, readers, rate, pairs, stretch).await?);
                std::fs::remove_dir_all(scratch)?;
            }
            Command::Memory => {
                println!("| figure | measured | hold | stretch | |\n|---|---|---|---|---|");
                for (name, fill, hold, stretch) in [
                    ("bytes a buffered span", memory::Fill::Spans, 64.0, 44.0),
                    ("bytes a key with all its windows", memory::Fill::Keys, 4096.0, 2048.0),
                ] {
                    let bytes = memory::slope(fill)?;
                    let judged = report::judged(bytes, hold, stretch);
                    println!("| {name} | {bytes:.0} | {hold} | {stretch} | {judged} |");
                }
            }
            Command::Footprint { laghound } => {
                let scratch = scratch()?;
                let programs = Programs { laghound, collector: None, scratch: scratch.clone() };
                println!("{}", footprint::run(&programs).await?);
                std::fs::remove_dir_all(scratch)?;
            }
            Command::Replay { laghound } => {
                let scratch = scratch()?;
                let programs = Programs { laghound, collector: None, scratch: scratch.clone() };
                println!("{}", recording::run(&programs)?);
                std::fs::remove_dir_all(scratch)?;
            }
            Command::MemoryPoint { fill, amount } => memory::point(fill, amount),
            Command::Count { piece, messages, keys, open, rate } => {
                count::run(piece, messages, keys, open, rate);
            }
            Command::ServeDecode { grpc, http } => baseline::serve_decode(grpc, http).await,
            Command::ServeRaw { grpc } => baseline::serve_raw(grpc).await,
        }
        anyhow::Ok(())
    })
}

async fn servers(args: ServersArgs) -> anyhow::Result<()> {
    check_payload();
    let scratch = scratch()?;
    let programs =
        Programs { laghound: args.laghound, collector: args.collector, scratch: scratch.clone() };
    let (rows, rounds, times) = if args.smoke {
        let times = Times { warm: Duration::from_secs(1), window: Duration::from_secs(2) };
        (scenarios::smoke(), 1, times)
    } else {
        let seconds = Duration::from_secs_f64;
        (
            scenarios::all(),
            args.rounds,
            Times { warm: seconds(args.warm), window: seconds(args.window) },
        )
    };
    // A whole name is that one; a part of a name is all that have it.
    let is_whole = |filter: &str| rows.iter().any(|row| row.name == filter);
    let wanted = |filter: &Option<String>, name: &str| {
        let matches = |filter: &String| match is_whole(filter) {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        filter.as_ref().is_none_or(matches)
    };
    let mut results = Results::default();
    for round in 1..=rounds {
        for row in rows.iter().filter(|row| wanted(&args.only, row.name)) {
            for &kind in row.kinds.iter().filter(|kind| wanted(&args.server, kind.name())) {
                if kind.is_collector() && programs.collector.is_none() {
                    continue;
                }
                let figures =
                    measure(kind, &programs, row.settings, row.shape, row.way, times).await;
                eprintln!(
                    "round {round}/{rounds}  {:<28} {:<24} {:.3} CPU s/M, {:.0} k spans/s",
                    row.name,
                    kind.name(),
                    figures.cpu,
                    figures.rate / 1e3
                );
                anyhow::ensure!(figures.rate > 0.0, "{} took no spans", kind.name());
                results.add(row.name, kind, figures);
            }
        }
    }
    std::fs::remove_dir_all(&scratch)?;
    if args.smoke {
        println!("That the bench works, at a few seconds a row: these figures say nothing.\n");
    } else {
        println!("## What was to be shown\n\n{}", results.goals());
    }
    println!("## All figures\n\n{}", results.table());
    println!("## laghound by thread\n\n{}", results.threads());
    Ok(())
}

/// A directory for configurations and logs.
fn scratch() -> std::io::Result<PathBuf> {
    let scratch = std::env::temp_dir().join(format!("laghound-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    Ok(scratch)
}

/// The payload is what it is said to be: valid, and of the size that the figures are about.
fn check_payload() {
    for shape in scenarios::all().iter().map(|row| row.shape) {
        let mut stream = payload::Stream::new(shape, 1);
        let request = stream.next_request(load::unix_nanos());
        let bytes = payload::check(&request);
        // With few keys names are short, and in small batches the resource is shared by few.
        if shape.batch >= 512 && shape.keys == payload::Shape::USUAL.keys {
            let error = bytes.abs_diff(payload::SPAN_BYTES);
            assert!(error <= 3, "{bytes} bytes a span instead of {}", payload::SPAN_BYTES);
        }
        eprintln!("{} keys, {} spans a request: {bytes} bytes a span", stream.keys(), shape.batch);
    }
}
