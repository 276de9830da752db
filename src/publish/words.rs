//! Numbers, times and names as people read them.
//!
//! Names come from strangers: on a terminal or in a log line a control character moves the cursor and
//! a direction override turns the sentence round, so both are shown as escapes. The JSON documents
//! and the metrics do not use this: they have escapes of their own and carry the names unchanged.

use std::fmt;

use crate::model::{Nanos, Timestamp};

/// Longest name shown, in characters; what follows becomes `…`.
const NAME_CHARS: usize = 80;

/// A name made safe for a terminal and short enough for a line.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut safe = String::with_capacity(self.0.len().min(4 * NAME_CHARS));
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(NAME_CHARS) {
            if is_unsafe(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
        }
        if chars.next().is_some() {
            safe.push('…');
        }
        out.pad(&safe)
    }
}

/// Text of another process, made safe for a terminal.
pub(super) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// Controls, line separators, and what is invisible or changes the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{61c}' | '\u{feff}')
}

/// Seconds in the unit people would choose.
pub(super) fn duration(seconds: f64) -> Nanos {
    Nanos::from_secs_f64(seconds)
}

/// `93 %`.
pub(super) fn percent(share: f64) -> String {
    let share = if share.is_finite() { share } else { 0.0 };
    format!("{:.0} %", share * 100.0)
}

/// `2026-09-21T14:13:20Z`; milliseconds only if there are any.
pub(super) fn rfc3339(at: Timestamp) -> String {
    format!("{}T{}{}Z", date(at), clock(at), fraction(at))
}

/// `14:13:20`, UTC.
pub(super) fn clock(at: Timestamp) -> String {
    let seconds = at.0 / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2026-09-21`, UTC.
pub(super) fn date(at: Timestamp) -> String {
    let utc = i64::try_from(at.0 / 1_000_000_000)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .expect("64 bits of nanoseconds end in the year 2554");
    jiff::tz::Offset::UTC.to_datetime(utc).date().to_string()
}

fn fraction(at: Timestamp) -> String {
    match at.0 / 1_000_000 % 1_000 {
        0 => String::new(),
        millis => format!(".{millis:03}"),
    }
}

/// The number with six significant digits, so that the last bits of a sum do not show.
pub(super) fn rounded(value: f64) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    // No document says -0.0.
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// Seconds to the nanosecond.
pub(super) fn nanos(seconds: f64) -> f64 {
    let rounded = (seconds * 1e9).round() / 1e9;
    // No document says -0.0, and none infinity.
    if rounded == 0.0 || !rounded.is_finite() { 0.0 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(Name("a\u{1b}[2Jb").to_string(), "a\\u{1b}[2Jb");
        assert_eq!(Name("\u{202e}evil\n").to_string(), "\\u{202e}evil\\u{a}");
        assert_eq!(Name("GET /café 🛒 {id}").to_string(), "GET /café 🛒 {id}");
    }

    #[test]
    fn long_names_are_cut_by_characters() {
        let shown = Name(&"é".repeat(10_000)).to_string();
        assert_eq!(shown, format!("{}…", "é".repeat(80)));
    }

    #[test]
    fn times_are_utc_with_milliseconds_only_where_there_are_any() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp::from_secs(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(rfc3339(Timestamp(1_790_000_000_045_999_999)), "2026-09-21T14:13:20.045Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "2554-07-21T23:34:33.709Z");
        // A leap day and the last second of a year.
        assert_eq!(rfc3339(Timestamp::from_secs(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(Timestamp::from_secs(946_684_799)), "1999-12-31T23:59:59Z");
    }

    #[test]
    fn six_significant_digits_are_left() {
        assert_eq!(rounded(12.400_000_000_000_002), 12.4);
        assert_eq!(rounded(123_456_789.0), 123_457_000.0);
        assert_eq!(rounded(0.000_012_345_678), 0.000_012_345_7);
        assert_eq!(rounded(f64::NAN), 0.0);
        assert!(rounded(-0.0).is_sign_positive());
    }
}
