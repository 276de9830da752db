//! laghound says which service made requests slow.
//!
//! The critical path of a request partitions its duration. So when requests get slower, the rise is an
//! exact sum of rises, one per service, dependency and call gap; laghound learns what each part normally
//! costs and publishes whose the rise is. This page is the map of the house.
//!
//! ```text
//!  serve: OTLP gRPC / HTTP ─► otlp (decode) ─┐    replay: files ─► otlp::file ─┐    demo: sim ─► real OTLP ─► serve
//!                                            ▼                                  ▼
//!             by trace id ─► engine::shard 1..N   assemble ─► tree ─► self-time, critical path ─► sums per slice
//!                                            ▼   every second
//!             engine::judge (one)                 history ─► what is hot ─► whose it is ─► incidents
//!                                            ▼
//!             engine::snapshot ◄─► live::snapshot      all that was learned, to the disk and back
//!             engine::verdict (plain data) ─► publish: /metrics, API, page, reports, log
//! ```
//!
//! # Rooms
//!
//! | room | what lives there | may use |
//! |---|---|---|
//! | [`model`] | time, ids, names, spans: valid once they exist | nothing |
//! | [`engine`] | traces, baselines, detection, attribution, incidents | model |
//! | [`compare`] | two traces or two sets of them, and the cause of the difference | model, engine |
//! | [`otlp`] | everything that knows a wire format: decoding, receivers, recordings, sending | model |
//! | [`sim`] | simulated services, faults and their truth | model |
//! | [`publish`] | metrics, reports, log events, admin endpoint | model, verdicts of engine and compare |
//! | [`live`] | threads, clock, budget, books; the server; replay | all above |
//! | [`config`], [`cli`] | settings; one file per subcommand | all |
//!
//! A test (`tests/it/house.rs`) reads the `use` lines and fails on an import that this table forbids.
//!
//! # What is not there
//!
//! - No clock, no IO, no threads and no async in `model` and `engine`: time is an argument. That is why
//!   `replay`, `demo`, `serve` and the tests are the same program. `live::clock` alone reads a clock.
//! - No lock per span. Receivers and shards share the table of names, which each decoder asks once per
//!   name, and the books, which are opened once per batch.
//! - No order by hash or by number of interning in anything that leaves: ties break by name.
//! - No recursion over what strangers send; no queue, map or list without a bound.
//!
//! # Laws
//!
//! 1. accepted spans = analyzed + dropped by reason + pending, at every instant.
//! 2. The critical-path segments of an entry sum to its duration, in integer nanoseconds.
//! 3. Suspects' excess + unexplained = entries' excess.
//! 4. Everything in memory has a limit.
//! 5. Same input, same configuration: same bytes, for any number of shards.
//!
//! # Where to begin reading
//!
//! One span's way: [`otlp::Decoder`] → [`engine::shard::Shard::ingest`] → `engine::analyze` →
//! [`engine::judge::Judge::advance`] → [`engine::verdict`]. The numbers and their reasons are in
//! [`engine::params`].
#![warn(missing_docs)]

pub mod cli;
pub mod compare;
pub mod config;
pub mod engine;
pub mod live;
pub mod model;
pub mod otlp;
pub mod publish;
pub mod sim;
