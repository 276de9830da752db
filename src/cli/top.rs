//! `laghound top`: a live view of a running instance.
//!
//! Drawn on the terminal's other screen, so that what stood there before comes back in the end. An instance that
//! does not answer for a while is waited for, and that is said; one that never did is an error.

use std::io::IsTerminal;
use std::time::Duration;

use super::args::{Format, TopArgs};
use super::remote::Remote;
use super::serve::Signals;
use super::{CliError, print};
use crate::config::Environment;
use crate::publish::client::{Now, Operations};
use crate::publish::client_text::TopText;

/// The other screen, without a cursor; and back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the top; what is below the last line goes.
const HOME: &str = "\u{1b}[H";
const REST: &str = "\u{1b}[J";

/// Columns and lines where there is no terminal to ask.
const USUAL: (usize, usize) = (120, 60);

/// Shows the state of things again and again.
///
/// # Errors
/// [`CliError`] if nobody answers the first time.
pub fn run(args: &TopArgs, environment: Environment) -> Result<(), CliError> {
    let is_live = std::io::stdout().is_terminal() && args.format == Format::Text;
    let top = Top { remote: Remote::of(&args.instance, environment)?, args, is_live };
    // Before the screen is taken: a wrong address is to be read afterwards.
    let first = top.frame()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::runtime)?;
    if is_live {
        print(ENTER)?;
    }
    let result = runtime.block_on(top.watch(first));
    if is_live {
        print(LEAVE)?;
    }
    result
}

struct Top<'a> {
    remote: Remote,
    args: &'a TopArgs,
    is_live: bool,
}

impl Top<'_> {
    async fn watch(&self, first: String) -> Result<(), CliError> {
        let mut signals = Signals::new().map_err(CliError::runtime)?;
        let mut left = self.args.count.unwrap_or(if self.is_live { u64::MAX } else { 1 });
        let mut frame = first;
        loop {
            self.show(&frame)?;
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_nanos(self.args.interval.0)) => {}
                _ = signals.next() => return Ok(()),
            }
            frame = match self.frame() {
                Ok(frame) => frame,
                Err(error) if self.is_live => format!("{error}\n\nwaiting for it to come back\n"),
                Err(error) => return Err(error),
            };
        }
    }

    fn frame(&self) -> Result<String, CliError> {
        if self.args.format == Format::Json {
            return Ok(format!("{}\n", self.remote.text("now")?.trim_end()));
        }
        let now: Now = self.remote.document("now")?;
        let found: Operations = self.remote.document("operations?sort=rise&limit=100")?;
        let size = terminal_size::terminal_size().filter(|_| self.is_live);
        let (width, height) = size.map_or(USUAL, |(columns, rows)| {
            (usize::from(columns.0), usize::from(rows.0).saturating_sub(1))
        });
        let view = TopText { now: &now, operations: &found.operations, width, height };
        Ok(view.lines().join("\n") + "\n")
    }

    fn show(&self, frame: &str) -> Result<(), CliError> {
        if !self.is_live {
            return print(frame);
        }
        // Each line is cleared behind its end, so that nothing flickers.
        print(&format!("{HOME}{}{REST}", frame.replace('\n', "\u{1b}[K\n")))
    }
}
