//! What can be typed: subcommands, their flags, and a flag for every setting.
//!
//! The flags of the settings are made from the table in `config`. Nothing is done here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command as Clap, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{KEYS, parse_duration};
use crate::model::{Nanos, TraceId};

/// Says which service made requests slow.
///
/// laghound takes OpenTelemetry traces, learns what every operation normally costs, and names the
/// service that a slowdown belongs to: as Prometheus metrics, live, or from recorded traces.
#[derive(Debug, Parser)]
#[command(name = "laghound", version, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed while running; 2 bad usage, bad \
    configuration or unreadable input.\n\n\
    'laghound COMMAND --help' shows a command's examples and, where it takes a configuration, \
    every setting.";

/// The subcommands.
// What stands above a variant would replace, in the help, what its struct says.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(ServeArgs),
    Demo(DemoArgs),
    Replay(ReplayArgs),
    Compare(CompareArgs),
    Suspects(SuspectsArgs),
    Incident(IncidentArgs),
    Top(TopArgs),
    CheckConfig(CheckConfigArgs),
    Health(HealthArgs),
}

/// Receive traces, publish suspects: the sidecar.
///
/// Takes OTLP over gRPC and HTTP, and serves /metrics for Prometheus. Runs until SIGTERM or SIGINT,
/// then drains and exits with 0. Needs no configuration to start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound serve
  laghound serve --config laghound.yaml
  laghound serve --receiver.grpc.endpoint 127.0.0.1:14317 --log.format json
  LAGHOUND_ADMIN_ENDPOINT=0.0.0.0:9479 laghound serve")]
pub struct ServeArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Watch laghound find a fault: nothing to install.
///
/// Starts the same server as 'serve' and a simulated shop of services that sends it real OTLP over
/// loopback. One of them turns slow; the verdict comes up in the terminal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound demo
  laghound demo --duration 3m --seed 7
  laghound demo --admin.endpoint 127.0.0.1:0
  laghound demo --to http://127.0.0.1:4317 --duration 10m")]
pub struct DemoArgs {
    /// How long it runs.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = positive_duration)]
    pub duration: Nanos,
    /// Which traffic and which fault: the same number gives the same demo.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Send the shop's traces to this OTLP/gRPC endpoint, a Collector say, and start no server.
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Find slowdowns in recorded traces.
///
/// Runs the same engine over files, in the time of the recording and as fast as they can be read:
/// what would laghound have said? What a file is (OTLP as JSON or protobuf, plain, gzip or zstd) is
/// told by its content.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound replay traces.jsonl
  laghound replay --format json monday.json.gz tuesday.json.zst
  laghound replay --detection.sensitivity 2 traces.jsonl
  zcat traces.json.gz | laghound replay -")]
pub struct ReplayArgs {
    /// How the result is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Recorded spans; - reads standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Say what made the second trace slower than the first.
///
/// One trace against one trace, span by span; or, where a side holds several, one population against the
/// other, by entry operation. Takes OTLP (JSON or protobuf), Jaeger JSON and Zipkin JSON, plain, gzip or
/// zstd; what a file is, is told by its content. Exits with 0 whatever the verdict.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound compare normal.json spiked.json
  laghound compare --format json normal.json.gz - < spiked.json
  laghound compare --spiked-trace 4bf92f3577b34da6a3ce929d0e0e4736 normal.jsonl today.jsonl")]
pub struct CompareArgs {
    /// How the result is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Take only this trace of the baseline.
    #[arg(long, value_name = "ID", value_parser = trace_id)]
    pub baseline_trace: Option<TraceId>,
    /// Take only this trace of the spiked side.
    #[arg(long, value_name = "ID", value_parser = trace_id)]
    pub spiked_trace: Option<TraceId>,
    /// How it is normally; - reads standard input.
    #[arg(value_name = "BASELINE")]
    pub baseline: PathBuf,
    /// How it was when it was slow; - reads standard input.
    #[arg(value_name = "SPIKED")]
    pub spiked: PathBuf,
}

/// Who is suspected right now, as a running instance says.
///
/// Asks the admin endpoint of a 'laghound serve' and prints what its page shows. Exits with 0 whether
/// or not anybody is suspected.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound suspects
  laghound suspects --url http://laghound.example:9479 --format json
  laghound suspects --url https://laghound.example:9479 --ca-file ca.pem --bearer-token-file token")]
pub struct SuspectsArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// How the result is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// One incident of a running instance, with what it rests on.
///
/// Suspects, what got slower, self-times before and since, and the traces that were kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound incident 3
  laghound incident 3 --format json | jq .evidence.graph")]
pub struct IncidentArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// How the result is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Its number.
    #[arg(value_name = "ID")]
    pub id: u64,
}

/// Watch a running instance.
///
/// What is slow and whose it is, and the operations whose time rose most, again and again until SIGINT.
/// Where standard output is no terminal, once; as JSON, one document a line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound top
  laghound top --interval 10s --url http://laghound.example:9479
  laghound top --count 60 --format json > minutes.jsonl")]
pub struct TopArgs {
    /// Which instance.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// How the result is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// How often.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    pub interval: Nanos,
    /// Ends after so many; else never on a terminal, and after one elsewhere.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Which running instance is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct InstanceArgs {
    /// Address of its admin endpoint, with the prefix of a proxy if there is one; else the
    /// admin.endpoint that LAGHOUND_CONFIG or LAGHOUND_ADMIN_ENDPOINT names, else the default.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with the token that is shown to it, the first if there are several; without --url the
    /// configured admin.auth.bearer_token_file.
    #[arg(long, value_name = "FILE")]
    pub bearer_token_file: Option<PathBuf>,
    /// File with user:password that is shown to it, the first line if there are several; without --url
    /// the configured admin.auth.password_file.
    #[arg(long, value_name = "FILE", conflicts_with = "bearer_token_file")]
    pub password_file: Option<PathBuf>,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// How an instance is asked that speaks TLS.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Certificates of those who may vouch for it, PEM. Without it 'health' asks whoever answers, as a
    /// probe does; elsewhere the configured admin.tls.cert_file has to do.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Certificate that is shown to it, PEM.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// That certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

/// Check a configuration file.
///
/// Reads it as 'serve' would, with the environment and the flags given, and prints every setting
/// that differs from its default. Exits with 2 and shows the place if something is wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound check-config laghound.yaml
  laghound check-config /etc/laghound/laghound.yaml --log.level debug")]
pub struct CheckConfigArgs {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Settings to be tried with it.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Ask a running server whether it is ready.
///
/// For health checks of containers, which have no curl: asks /readyz of the admin endpoint. Exits with
/// 0 if it is ready, and with 1 if it is not or cannot be asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  laghound health
  laghound health --endpoint 127.0.0.1:9479
  laghound health --endpoint https://laghound.example:9479 --ca-file ca.pem")]
pub struct HealthArgs {
    /// Where it listens, https://HOST:PORT where it speaks TLS; else what the configuration says, which is
    /// to be the server's own.
    #[arg(long, value_name = "HOST:PORT")]
    pub endpoint: Option<String>,
    /// How long it may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = positive_duration)]
    pub timeout: Nanos,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where a command's configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file; else the one LAGHOUND_CONFIG names, else none is needed.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings by flag.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// The settings that were given by flag, in the order of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingArgs {
    /// Keys with their values, as typed.
    pub flags: Vec<(&'static str, String)>,
}

/// Other names of flags, as people know them from elsewhere.
const ALIASES: [(&str, &str); 1] = [("state-dir", "state.directory")];

const SETTINGS_HEADING: &str =
    "Settings (a flag beats its LAGHOUND_... variable, that beats the file, that the default)";

impl Args for SettingArgs {
    fn augment_args(command: Clap) -> Clap {
        let flags = KEYS.iter().map(|key| {
            let help = key.help();
            let notes = format!("[default: {}] [env: {}]", key.default_value(), key.variable());
            let alias = ALIASES.iter().find(|(_, of)| *of == key.name).map(|(alias, _)| *alias);
            Arg::new(key.name)
                .long(key.name)
                .visible_aliases(alias)
                .value_name(key.placeholder)
                .help(format!("{help} {notes}"))
                .help_heading(SETTINGS_HEADING)
                .hide_short_help(true)
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Clap) -> Clap {
        SettingArgs::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingArgs, clap::Error> {
        let given = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
        let flags = KEYS.iter().filter_map(|key| Some((key.name, given(key.name)?)));
        Ok(SettingArgs { flags: flags.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

fn positive_duration(text: &str) -> Result<Nanos, String> {
    match parse_duration(text) {
        Ok(Nanos::ZERO) => Err("no time at all; write 90s, for example".to_owned()),
        Ok(duration) => Ok(duration),
        Err(defect) => Err(defect.to_string()),
    }
}

/// Short ids are filled up with zeros on the left, as Jaeger and Zipkin write them.
fn trace_id(text: &str) -> Result<TraceId, String> {
    TraceId::from_hex(&format!("{text:0>32}")).map_err(|defect| defect.to_string())
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// What clap says of it; `--help` and `--version` count as such, with exit code 0.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command<T: Args>() -> Clap {
        T::augment_args(Clap::new("test"))
    }

    fn read<T: Args>(line: &[&str]) -> Result<T, clap::Error> {
        let line = std::iter::once("test").chain(line.iter().copied());
        T::from_arg_matches(&command::<T>().try_get_matches_from(line)?)
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
        command::<ServeArgs>().debug_assert();
        command::<DemoArgs>().debug_assert();
        command::<ReplayArgs>().debug_assert();
        command::<TopArgs>().debug_assert();
    }

    #[test]
    fn every_key_is_a_flag_with_its_help_default_and_variable() {
        let help = command::<ServeArgs>().term_width(0).render_long_help().to_string();
        for key in KEYS {
            let line = format!("--{} <{}>", key.name, key.placeholder);
            assert!(help.contains(&line), "{line}\n{help}");
            assert!(help.contains(&key.help()), "{}", key.name);
            assert!(help.contains(&format!("[default: {}]", key.default_value())));
            assert!(help.contains(&format!("[env: {}]", key.variable())));
        }
    }

    #[test]
    fn the_short_help_is_short() {
        let help = command::<ServeArgs>().render_help().to_string();
        assert!(help.contains("--config") && !help.contains("assembly.grace"));
    }

    #[test]
    fn settings_are_taken_from_flags_as_they_were_typed() {
        let line = ["--log.level=debug", "--assembly.grace", "many", "--config", "a.yaml"];
        let args: ServeArgs = read(&line).expect("is fine");
        let expected = [("assembly.grace", "many".to_owned()), ("log.level", "debug".to_owned())];
        assert_eq!(args.config.settings.flags, expected);
        assert_eq!(args.config.config, Some("a.yaml".into()));
    }

    #[test]
    fn demo_has_defaults_and_needs_some_time() {
        let args: DemoArgs = read(&[]).expect("needs nothing");
        assert_eq!((args.duration, args.seed), (Nanos::from_secs(90), 1));
        let args: DemoArgs = read(&["--duration", "2m", "--seed", "7"]).expect("is fine");
        assert_eq!((args.duration, args.seed), (Nanos::from_secs(120), 7));
        for duration in ["0s", "90", "soon"] {
            assert!(read::<DemoArgs>(&["--duration", duration]).is_err(), "{duration}");
        }
    }

    #[test]
    fn replay_takes_files_and_standard_input_in_order() {
        let args: ReplayArgs = read(&["b.json", "-", "--format", "json", "a"]).expect("is fine");
        assert_eq!(args.files, [PathBuf::from("b.json"), "-".into(), "a".into()]);
        assert_eq!(args.format, Format::Json);
        assert!(read::<ReplayArgs>(&[]).is_err(), "a file is needed");
        assert!(read::<ReplayArgs>(&["--format", "xml", "a"]).is_err());
    }

    #[test]
    fn help_and_version_are_no_errors_and_bad_usage_is_exit_code_2() {
        let code = |line: &[&str]| {
            let line = std::iter::once("laghound").chain(line.iter().copied()).map(OsString::from);
            parse(line).err().map(|error| error.exit_code())
        };
        for line in [&["--help"][..], &["--version"], &["check-config", "--help"]] {
            assert_eq!(code(line), Some(0), "{line:?}");
        }
        for line in [&[][..], &["--nonsense"], &["chek-config"], &["check-config"]] {
            assert_eq!(code(line), Some(2), "{line:?}");
        }
        assert_eq!(code(&["check-config", "a.yaml"]), None);
    }
}
