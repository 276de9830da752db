//! The program: what was typed goes to its subcommand, how that ended becomes the exit code.

use std::process::ExitCode;

use laghound::cli::args::{Command, parse};
use laghound::cli::{
    check_config, compare, demo, environment, health, incident, replay, serve, suspects, top,
};

fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed pipe must not turn into a panic.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Health(args) => health::run(&args, environment()),
        Command::CheckConfig(args) => check_config::run(args, environment()),
        Command::Serve(args) => serve::run(&args, environment()),
        Command::Demo(args) => demo::run(&args, environment()),
        Command::Replay(args) => replay::run(&args, environment()),
        Command::Compare(args) => compare::run(&args, &environment()),
        Command::Suspects(args) => suspects::run(&args, environment()),
        Command::Incident(args) => incident::run(&args, environment()),
        Command::Top(args) => top::run(&args, environment()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
