//! Standard error for log lines: so many a second, each one line.
//!
//! Whoever can make laghound log something can make it do so a hundred thousand times a second, or send a
//! line break and the line of its own choice after it. Lines beyond the limit are left out and counted;
//! errors are never left out. It knows nothing of what is logged.

use std::io::{self, Stderr, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::clock::Clock;

/// Lines left out so far, of all writers: there is one standard error.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Lines left out so far.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Makes the writers of a subscriber's lines.
pub struct LogLines {
    clock: Clock,
    /// Lines of one second, the second in the upper half.
    written: AtomicU64,
    max_a_second: u32,
}

impl LogLines {
    /// At most so many lines a second, errors apart.
    pub fn new(max_a_second: u32) -> LogLines {
        LogLines { clock: Clock::start(), written: AtomicU64::new(0), max_a_second }
    }

    fn has_room(&self, second: u64) -> bool {
        const COUNT: u64 = u32::MAX as u64;
        let count = |written: u64| {
            let is_new = written >> 32 != second & COUNT;
            let lines = if is_new { 0 } else { written & COUNT };
            (lines < u64::from(self.max_a_second)).then(|| (second & COUNT) << 32 | (lines + 1))
        };
        self.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }

    fn is_written(&self, level: Level) -> bool {
        let has_room = self.has_room(self.clock.elapsed().0 / 1_000_000_000);
        let is_written = has_room || level == Level::ERROR;
        if !is_written {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        is_written
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Some(io::stderr()))
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line {
        Line(self.is_written(*event.level()).then(io::stderr))
    }
}

/// Where one line goes, if anywhere.
pub struct Line(Option<Stderr>);

impl Write for Line {
    /// The formatter hands over an event as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(out) = &mut self.0 {
            out.write_all(&one_line(event))?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// The event without line breaks of its own.
fn one_line(event: &[u8]) -> Vec<u8> {
    let (inner, end) = match event.strip_suffix(b"\n") {
        Some(inner) => (inner, &b"\n"[..]),
        None => (event, &b""[..]),
    };
    let mut line = Vec::with_capacity(event.len());
    for byte in inner {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.extend_from_slice(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_as_many_again() {
        let lines = LogLines::new(3);
        for second in [7, 8, 9_000_000_000] {
            let written = (0..100).filter(|_| lines.has_room(second)).count();
            assert_eq!(written, 3, "second {second}");
        }
    }

    #[test]
    fn errors_are_never_left_out_and_what_is_left_out_is_counted() {
        let (lines, before) = (LogLines::new(0), left_out());
        assert!(lines.is_written(Level::ERROR));
        assert!(!lines.is_written(Level::WARN));
        assert!(left_out() > before);
    }

    #[test]
    fn nobody_adds_a_line_of_his_own() {
        let event = "WARN refused name=\"a\"\r\nERROR all is lost\n";
        assert_eq!(one_line(event.as_bytes()), b"WARN refused name=\"a\"\\r\\nERROR all is lost\n");
        assert_eq!(one_line("cut".as_bytes()), b"cut");
    }
}
