//! `laghound incident ID`: one incident of a running instance, with what it rests on.

use super::args::{Format, IncidentArgs};
use super::remote::Remote;
use super::{CliError, print};
use crate::config::Environment;
use crate::publish::client::IncidentDocument;
use crate::publish::client_text::IncidentText;

/// Asks and prints.
///
/// # Errors
/// [`CliError`] if nobody answers, or there is no such incident.
pub fn run(args: &IncidentArgs, environment: Environment) -> Result<(), CliError> {
    let remote = Remote::of(&args.instance, environment)?;
    let path = format!("incidents/{}", args.id);
    match args.format {
        Format::Json => print(&format!("{}\n", remote.text(&path)?.trim_end())),
        Format::Text => {
            let document: IncidentDocument = remote.document(&path)?;
            print(&IncidentText(&document).to_string())
        }
    }
}
