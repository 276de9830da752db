//! `laghound demo`: a newcomer watches a fault being found, with nothing installed.
//!
//! The same server as `serve`, and a simulated shop that sends it real OTLP over loopback, in real
//! time. After two thirds of the time one of its services turns slow. The server is not told; the view
//! shows what it says. In the end both are held against each other. With `--to` there is only the shop,
//! for a Collector or a laghound that runs somewhere else.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::anyhow;

use super::args::DemoArgs;
use super::serve::Signals;
use super::{CliError, load, logging, print};
use crate::config::{Environment, Loaded};
use crate::engine::EngineParams;
use crate::engine::verdict::Board;
use crate::live::access::AccessFiles;
use crate::live::clock::Clock;
use crate::live::server::{Addresses, Server, Settings, StartError};
use crate::live::simulated::exported;
use crate::model::Nanos;
use crate::otlp::send::{SendError, Sender};
use crate::publish::terminal::View;
use crate::sim::{Fault, Scenario, SimSpan, Slowdown, Truth, What, shop};

/// Runs the demo.
///
/// # Errors
/// [`CliError::Usage`] for a bad configuration or too short a time, [`CliError::Runtime`] if the server
/// cannot start or the verdict was not the truth.
pub fn run(args: &DemoArgs, environment: Environment) -> Result<(), CliError> {
    let mut loaded = load(&args.config, environment)?;
    if args.duration < SHORTEST {
        let error =
            anyhow!("--duration {}: takes at least {SHORTEST}, to learn first", args.duration);
        return Err(CliError::Usage(error));
    }
    if !is_set(&loaded, "log.level") {
        // The view says it all; what is logged would tear it apart.
        loaded.config.log.level = crate::config::LogLevel::Error;
    }
    logging::init(&loaded.config.log);
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::runtime)?;
    let result = runtime.block_on(async {
        match &args.to {
            Some(endpoint) => only_the_shop(args, endpoint).await,
            None => demo(args, &loaded).await,
        }
    });
    runtime.shutdown_background();
    result
}

/// Below this there is no learning from so little.
const SHORTEST: Nanos = Nanos::from_secs(30);
/// The time for which the engine's own defaults are made: a minute to learn, half a minute to tell.
const USUAL: Nanos = Nanos::from_secs(90);

async fn demo(args: &DemoArgs, loaded: &Loaded) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(CliError::runtime)?;
    let server = start(args, loaded).await.map_err(CliError::runtime)?;
    let show = Show::new(Play::new(args), server.addresses());
    print(&show.introduction())?;
    let outcome = tokio::select! {
        outcome = show.run(&server) => outcome,
        _ = signals.next() => Err(CliError::Runtime(anyhow!("stopped before the verdict"))),
    };
    server.stop(loaded.config.shutdown.grace).await;
    outcome
}

/// The shop's traces for somebody else.
async fn only_the_shop(args: &DemoArgs, endpoint: &str) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(CliError::runtime)?;
    let play = Play::new(args);
    let after = play.fault_after.0 / 1_000_000_000;
    print(&format!("The shop's traces go to {endpoint}. After {after} s {}.\n", play.what))?;
    tokio::select! {
        outcome = play.perform(endpoint, |_| Ok(())) => outcome,
        _ = signals.next() => Ok(()),
    }
}

/// The same server on ports that are free: nobody else sends to it, and the usual ones may be taken.
async fn start(args: &DemoArgs, loaded: &Loaded) -> Result<Server, StartError> {
    let mut settings = loaded.config.server_settings();
    // What a simulated shop taught it must not be taken for what is normal elsewhere.
    settings.state = None;
    // Nobody else's spans, either.
    settings.kafka = None;
    // The shop bears no credentials.
    settings.receiver_access = AccessFiles::default();
    settings.engine = in_time(settings.engine, args.duration);
    for (key, addr) in [
        ("receiver.grpc.endpoint", &mut settings.grpc),
        ("receiver.http.endpoint", &mut settings.http),
    ] {
        if !is_set(loaded, key) {
            *addr = ANY_PORT.to_owned();
        }
    }
    let elsewhere = Settings { admin: ANY_PORT.to_owned(), ..settings.clone() };
    match Server::start(settings).await {
        Err(StartError::Bind { key: "admin.endpoint", .. })
            if !is_set(loaded, "admin.endpoint") =>
        {
            Server::start(elsewhere).await
        }
        started => started,
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

fn is_set(loaded: &Loaded, key: &str) -> bool {
    loaded.changed().iter().any(|changed| changed.key == key)
}

/// Windows and deadlines shrink with a demo that is shorter than usual.
fn in_time(mut engine: EngineParams, duration: Nanos) -> EngineParams {
    let share = (duration.as_secs_f64() / USUAL.as_secs_f64()).min(1.0);
    let scaled = |time: Nanos| Nanos::from_secs_f64(time.as_secs_f64() * share);
    engine.detection.slice = scaled(engine.detection.slice);
    engine.detection.settle = scaled(engine.detection.settle);
    engine.assembly.grace = scaled(engine.assembly.grace);
    engine
}

/// What happens in the shop.
struct Play {
    clock: Clock,
    scenario: Scenario,
    truth: Truth,
    what: String,
    fault_after: Nanos,
}

impl Play {
    fn new(args: &DemoArgs) -> Play {
        let clock = Clock::start();
        let seconds = args.duration.0 / 1_000_000_000;
        let fault_after = seconds * 2 / 3;
        let (service, add_ms) = CULPRITS[usize::try_from(args.seed).unwrap_or(0) % CULPRITS.len()];
        let what = What::SlowService { service: service.into(), by: Slowdown::ms(add_ms) };
        let fault = Fault::new(what, fault_after, seconds + 60);
        let scenario =
            Scenario::new(shop(), seconds).fault(fault).seed(args.seed).start(clock.now());
        let truth =
            scenario.truths().into_iter().next().unwrap_or_else(|| unreachable!("one fault"));
        let what = format!("each call of {service} takes {add_ms} ms longer");
        let fault_after = Nanos::from_secs(fault_after);
        Play { clock, scenario, truth, what, fault_after }
    }

    /// Sends everything when it is due; `look` is called after each batch.
    async fn perform(
        &self,
        endpoint: &str,
        mut look: impl FnMut(Nanos) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let connected = Sender::connect(endpoint, true).await;
        let mut sender = connected.map_err(|error| match error {
            SendError::Endpoint(_) => CliError::usage(error),
            error => CliError::runtime(error),
        })?;
        for batch in self.scenario.batches().map_err(CliError::runtime)? {
            let wait = batch.arrival.since(self.clock.now());
            if wait > Nanos::ZERO {
                tokio::time::sleep(Duration::from_nanos(wait.0)).await;
            }
            send(&mut sender, &batch.spans).await.map_err(CliError::runtime)?;
            look(self.clock.elapsed())?;
            if self.clock.elapsed() >= self.scenario.duration {
                break;
            }
        }
        Ok(())
    }
}

/// What is shown, and what is behind it.
struct Show {
    play: Play,
    addresses: Addresses,
    is_terminal: bool,
}

impl Show {
    fn new(play: Play, addresses: Addresses) -> Show {
        Show { play, addresses, is_terminal: std::io::stdout().is_terminal() }
    }

    fn introduction(&self) -> String {
        let Addresses { grpc, http, admin } = self.addresses;
        format!(
            "A simulated shop of eleven services sends its traces to laghound.\n\
             After {} s one service turns slow; laghound is not told which.\n\n  \
             OTLP     grpc://{grpc}  http://{http}/v1/traces\n  \
             metrics  http://{admin}/metrics\n  \
             page     http://{admin}/\n\n",
            self.play.fault_after.0 / 1_000_000_000
        )
    }

    async fn run(&self, server: &Server) -> Result<(), CliError> {
        let endpoint = format!("http://{}", self.addresses.grpc);
        let mut screen = Screen::new(self.is_terminal);
        let look = |elapsed| screen.show(&self.view(&server.board()).lines(), elapsed);
        self.play.perform(&endpoint, look).await?;
        let board = server.board();
        screen.show_last(&self.view(&board).lines())?;
        self.conclude(&board)
    }

    fn view<'a>(&'a self, board: &'a Board) -> View<'a> {
        let play = &self.play;
        let elapsed = play.clock.elapsed();
        let is_faulty = elapsed >= play.fault_after;
        View {
            elapsed,
            learning: play.fault_after,
            phase: if is_faulty { &play.what } else { "the shop as it always is" },
            board,
            width: width(),
            colour: self.is_terminal && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Was it right? And how to go on.
    fn conclude(&self, board: &Board) -> Result<(), CliError> {
        let first = board.open.iter().flat_map(|incident| incident.suspects.first()).next();
        let Play { scenario, truth: real, what, .. } = &self.play;
        let truth = real.culprit().map_or("", |name| name);
        let Some(first) = first else {
            let error = anyhow!("no verdict in {}; it was {truth}", scenario.duration);
            return Err(CliError::Runtime(error));
        };
        if !real.accepts(&first.service, first.kind.as_str()) {
            let error = anyhow!("laghound says {}, but it was {truth}", first.service);
            return Err(CliError::Runtime(error));
        }
        print(&format!(
            "\nThe truth: {}. laghound says: {}. Right.\n\n\
             With your own traffic:\n  \
             laghound serve                         takes OTLP on 127.0.0.1:4317 and :4318\n  \
             OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317  for any OpenTelemetry SDK\n  \
             curl -s http://127.0.0.1:9479/metrics | grep laghound_suspect\n",
            what, first.service
        ))
    }
}

/// Who turns slow, by seed, and by how much.
const CULPRITS: [(&str, u64); 4] =
    [("pricing", 120), ("cart", 150), ("catalog", 120), ("payments", 400)];

async fn send(sender: &mut Sender, spans: &[SimSpan]) -> Result<(), SendError> {
    sender.send(exported(spans)).await.map(|_sent| ())
}

/// Where the view is drawn: over itself on a terminal, line by line elsewhere.
struct Screen {
    is_terminal: bool,
    lines: usize,
    shown_at: Option<Nanos>,
    last: Vec<String>,
}

impl Screen {
    const EVERY: Nanos = Nanos::from_millis(250);

    fn new(is_terminal: bool) -> Screen {
        Screen { is_terminal, lines: 0, shown_at: None, last: Vec::new() }
    }

    fn show(&mut self, lines: &[String], elapsed: Nanos) -> Result<(), CliError> {
        let is_due = self.shown_at.is_none_or(|at| elapsed - at >= Screen::EVERY);
        if !is_due {
            return Ok(());
        }
        self.shown_at = Some(elapsed);
        if self.is_terminal {
            return self.draw(lines);
        }
        // Elsewhere only what is new: the first line is a clock, a learning bar only creeps on.
        let body: Vec<String> = lines.iter().skip(1).map(|line| without_numbers(line)).collect();
        if body != self.last {
            self.last = body;
            self.write(lines)?;
        }
        Ok(())
    }

    fn show_last(&mut self, lines: &[String]) -> Result<(), CliError> {
        if self.is_terminal { self.draw(lines) } else { self.write(lines) }
    }

    /// Back to where the view began, then each line anew.
    fn draw(&mut self, lines: &[String]) -> Result<(), CliError> {
        let mut out = String::new();
        if self.lines > 0 {
            out.push_str(&format!("\u{1b}[{}A\u{1b}[J", self.lines));
        }
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
        self.lines = lines.len();
        print(&out)
    }

    fn write(&mut self, lines: &[String]) -> Result<(), CliError> {
        print(&(lines.join("\n") + "\n"))?;
        std::io::stdout().flush().map_err(CliError::runtime)
    }
}

/// The kinds of things said, without how much.
fn without_numbers(line: &str) -> String {
    line.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '#' | '-' | '.' | ' ')).collect()
}

/// Columns of the terminal, as far as known.
fn width() -> usize {
    const USUAL_WIDTH: usize = 100;
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(USUAL_WIDTH)
}
