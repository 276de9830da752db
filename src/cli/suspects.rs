//! `laghound suspects`: who is suspected right now, as a running instance says.

use super::args::{Format, SuspectsArgs};
use super::remote::Remote;
use super::{CliError, print};
use crate::config::Environment;
use crate::publish::client::Now;
use crate::publish::client_text::SuspectsText;

/// Asks and prints.
///
/// # Errors
/// [`CliError`] if nobody answers.
pub fn run(args: &SuspectsArgs, environment: Environment) -> Result<(), CliError> {
    let remote = Remote::of(&args.instance, environment)?;
    match args.format {
        Format::Json => print(&format!("{}\n", remote.text("suspects?limit=1000")?.trim_end())),
        Format::Text => {
            let now: Now = remote.document("now")?;
            print(&SuspectsText(&now).to_string())
        }
    }
}
