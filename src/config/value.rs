//! How each kind of value is read from text and written back: durations, sizes, counts, lists.
//!
//! The same reader serves the file, the flags and the variables. What is written back reads as the
//! same value again. Which values a key allows beyond its type is the table's matter.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use bytesize::ByteSize;
use thiserror::Error;

use crate::model::Nanos;

/// A value as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// One value, or a list with commas between.
    Text(String),
    /// A list.
    List(Vec<String>),
}

/// Why a value was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueDefect {
    /// It does not read as what is expected.
    #[error("{value:?} is not {expected}")]
    Unreadable {
        /// As written.
        value: String,
        /// What is, with an example.
        expected: &'static str,
    },
    /// It reads, but is too small or too large.
    #[error("{value} is out of range; allowed is {lowest} to {highest}")]
    OutOfRange {
        /// As understood.
        value: String,
        /// Least allowed.
        lowest: String,
        /// Most allowed.
        highest: String,
    },
    /// A list where one value belongs.
    #[error("a list is not {expected}")]
    List {
        /// What is, with an example.
        expected: &'static str,
    },
    /// A list with more than [`MAX_LIST_ITEMS`].
    #[error("a list of {items} is too long; allowed are up to {MAX_LIST_ITEMS}")]
    TooManyItems {
        /// How many it has.
        items: usize,
    },
    /// A list item that is there twice.
    #[error("{0:?} is listed twice")]
    DuplicateItem(String),
    /// A list item without text.
    #[error("a list item is empty; write [] for an empty list")]
    EmptyItem,
}

/// Every listed attribute is looked for in every resource or span, so a list must stay short.
pub const MAX_LIST_ITEMS: usize = 32;

/// A kind of value.
pub(super) trait Setting: Sized {
    /// What stands for it in a help text.
    const PLACEHOLDER: &'static str;
    /// What it is, with an example: goes on after "is not".
    const EXPECTED: &'static str;

    /// From one piece of text; `None` if it is not what is expected.
    fn parse(text: &str) -> Option<Self>;

    /// As it would be written in a file; reads as the same value.
    fn show(&self) -> String;

    /// From whatever was written.
    fn read(raw: &Raw) -> Result<Self, ValueDefect> {
        match raw {
            Raw::Text(text) => Self::parse(text.trim()).ok_or_else(|| ValueDefect::Unreadable {
                value: text.clone(),
                expected: Self::EXPECTED,
            }),
            Raw::List(_) => Err(ValueDefect::List { expected: Self::EXPECTED }),
        }
    }
}

/// Refuses what lies outside `range`.
pub(super) fn within<T: Setting + PartialOrd>(
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), ValueDefect> {
    if range.contains(value) {
        return Ok(());
    }
    Err(ValueDefect::OutOfRange {
        value: value.show(),
        lowest: range.start().show(),
        highest: range.end().show(),
    })
}

/// A list of names, for a default.
pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A duration such as `30s`, `250ms` or `1h30m`, for flags that are not settings.
pub fn parse_duration(text: &str) -> Result<Nanos, ValueDefect> {
    Nanos::read(&Raw::Text(text.to_owned()))
}

/// Units of time, the largest first, with their nanoseconds.
const TIME_UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

impl Setting for Nanos {
    const PLACEHOLDER: &'static str = "DURATION";
    const EXPECTED: &'static str =
        "a duration; write a number with its unit, such as 250ms, 30s, 5m or 6h";

    /// Numbers with units, one after the other, all counting: `1h30m`, `1.5s`.
    fn parse(text: &str) -> Option<Nanos> {
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() || text.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at(digits);
            let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let nanos = TIME_UNITS.iter().find(|(name, _)| *name == unit)?.1;
            total = total.checked_add(times(number, nanos)?)?;
            rest = tail;
        }
        Some(Nanos(total))
    }

    fn show(&self) -> String {
        let fits = |unit: &&(&str, u64)| self.0 >= unit.1 && self.0.is_multiple_of(unit.1);
        match TIME_UNITS.iter().find(fits) {
            Some((name, nanos)) => format!("{}{name}", self.0 / nanos),
            None => "0s".to_owned(),
        }
    }
}

/// A decimal number of units, exactly; `None` if it is none, too large, or finer than a nanosecond.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let denominator = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    if numerator % u128::from(denominator) != 0 {
        return None;
    }
    let fraction = u64::try_from(numerator / u128::from(denominator)).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(fraction)
}

impl Setting for ByteSize {
    const PLACEHOLDER: &'static str = "SIZE";
    const EXPECTED: &'static str =
        "a size; write a number with its unit, such as 512KiB, 64MiB or 1GiB";

    fn parse(text: &str) -> Option<ByteSize> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        let bytes = self.as_u64();
        let units = [("GiB", bytesize::GIB), ("MiB", bytesize::MIB), ("KiB", bytesize::KIB)];
        match units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{}{name}", bytes / unit),
            None => format!("{bytes}B"),
        }
    }
}

impl Setting for Option<PathBuf> {
    const PLACEHOLDER: &'static str = "PATH";
    const EXPECTED: &'static str = "a path, or none";

    fn parse(text: &str) -> Option<Option<PathBuf>> {
        match text {
            "" => None,
            "none" => Some(None),
            path => Some(Some(PathBuf::from(path))),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    }
}

impl Setting for usize {
    const PLACEHOLDER: &'static str = "COUNT";
    const EXPECTED: &'static str = "a whole number, such as 20000";

    /// `200_000` is easier to read than `200000`, so both count.
    fn parse(text: &str) -> Option<usize> {
        let digits = text.starts_with(|c: char| c.is_ascii_digit());
        digits.then(|| text.replace('_', "").parse().ok())?
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    const PLACEHOLDER: &'static str = "NUMBER";
    const EXPECTED: &'static str = "a number, such as 0.15";

    fn parse(text: &str) -> Option<f64> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for Vec<String> {
    const PLACEHOLDER: &'static str = "NAME,NAME...";
    const EXPECTED: &'static str = "a list";

    fn parse(text: &str) -> Option<Vec<String>> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Some(items.map(str::to_owned).collect())
    }

    fn show(&self) -> String {
        format!("[{}]", self.join(", "))
    }

    fn read(raw: &Raw) -> Result<Vec<String>, ValueDefect> {
        let items = match raw {
            Raw::Text(text) => Self::parse(text).unwrap_or_default(),
            Raw::List(items) => items.iter().map(|item| item.trim().to_owned()).collect(),
        };
        if items.len() > MAX_LIST_ITEMS {
            return Err(ValueDefect::TooManyItems { items: items.len() });
        }
        for (index, item) in items.iter().enumerate() {
            if item.is_empty() {
                return Err(ValueDefect::EmptyItem);
            }
            if items[..index].contains(item) {
                return Err(ValueDefect::DuplicateItem(item.clone()));
            }
        }
        Ok(items)
    }
}

/// Least important event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may fail soon, or was given up.
    Warn,
    /// Incidents and what an operator does.
    Info,
    /// What happened inside.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const ALL: [(LogLevel, &'static str); 6] = [
        (LogLevel::Off, "off"),
        (LogLevel::Error, "error"),
        (LogLevel::Warn, "warn"),
        (LogLevel::Info, "info"),
        (LogLevel::Debug, "debug"),
        (LogLevel::Trace, "trace"),
    ];

    /// The word in the file; also what `tracing` calls it.
    pub fn as_str(self) -> &'static str {
        word_of(&LogLevel::ALL, self)
    }
}

/// How log events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    const ALL: [(LogFormat, &'static str); 2] =
        [(LogFormat::Text, "text"), (LogFormat::Json, "json")];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        word_of(&LogFormat::ALL, self)
    }
}

impl Setting for LogLevel {
    const PLACEHOLDER: &'static str = "LEVEL";
    const EXPECTED: &'static str =
        "a log level; allowed are off, error, warn, info, debug and trace";

    fn parse(text: &str) -> Option<LogLevel> {
        meant_by(&LogLevel::ALL, text)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Setting for LogFormat {
    const PLACEHOLDER: &'static str = "FORMAT";
    const EXPECTED: &'static str = "a log format; allowed are text and json";

    fn parse(text: &str) -> Option<LogFormat> {
        meant_by(&LogFormat::ALL, text)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

pub(super) fn meant_by<T: Copy>(all: &[(T, &'static str)], text: &str) -> Option<T> {
    all.iter().find(|(_, word)| *word == text).map(|(value, _)| *value)
}

pub(super) fn word_of<T: PartialEq>(all: &[(T, &'static str)], value: T) -> &'static str {
    all.iter().find(|(other, _)| *other == value).map_or("", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Setting>(text: &str) -> Result<T, ValueDefect> {
        T::read(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn durations_add_up_their_units() {
        for (written, nanos) in [
            ("30s", 30_000_000_000),
            ("5m", 300_000_000_000),
            ("6h", 21_600_000_000_000),
            ("250ms", 250_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.001us", 1),
            ("2µs", 2_000),
            ("0s", 0),
            ("1d", 86_400_000_000_000),
        ] {
            assert_eq!(text::<Nanos>(written), Ok(Nanos(nanos)), "{written}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for written in [
            "",
            "30",
            "s",
            "-5s",
            "5 s",
            "5sec",
            "1..5s",
            ".s",
            "5s3",
            "1e3s",
            "0.0001us",
            "5S",
            "99999999999d",
            "1.99999999999999999999999s",
            "٣s",
        ] {
            assert!(text::<Nanos>(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_exact_unit() {
        for written in ["30s", "2m", "6h", "250ms", "90s", "1d", "7ns", "0s"] {
            let nanos = text::<Nanos>(written).expect("is a duration");
            assert_eq!(nanos.show(), written);
        }
    }

    #[test]
    fn sizes_are_exact_both_ways() {
        for (written, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("1025B", 1025)] {
            let size = text::<ByteSize>(written).expect("is a size");
            assert_eq!(size.as_u64(), bytes);
            assert_eq!(size.show(), written);
        }
        assert_eq!(text::<ByteSize>("16 MiB"), Ok(ByteSize::mib(16)));
        for written in ["", "lots", "-1MiB", "MiB", "5 apples"] {
            assert!(text::<ByteSize>(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn counts_are_whole_and_never_negative() {
        assert_eq!(text::<usize>("200_000"), Ok(200_000));
        for written in ["", "-1", "+1", "1.5", "1e3", "_1", "99999999999999999999999"] {
            assert!(text::<usize>(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(text::<f64>("0.15"), Ok(0.15));
        for written in ["NaN", "inf", "-inf", "1e999", "1,5", ""] {
            assert!(text::<f64>(written).is_err(), "{written:?}");
        }
    }

    #[test]
    fn a_list_may_be_written_with_commas() {
        assert_eq!(text::<Vec<String>>("a, b,"), Ok(names(&["a", "b"])));
        assert_eq!(text::<Vec<String>>(""), Ok(names(&[])));
        assert_eq!(Vec::read(&Raw::List(names(&["a", " b "]))), Ok(names(&["a", "b"])));
    }

    #[test]
    fn lists_are_bounded_and_have_no_gaps_or_repetitions() {
        let list = |items: Vec<String>| Vec::<String>::read(&Raw::List(items));
        let numbered = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
        assert!(list(numbered(MAX_LIST_ITEMS)).is_ok());
        let items = MAX_LIST_ITEMS + 1;
        assert_eq!(list(numbered(items)), Err(ValueDefect::TooManyItems { items }));
        assert_eq!(list(names(&["a", ""])), Err(ValueDefect::EmptyItem));
        assert_eq!(list(names(&["a", "a"])), Err(ValueDefect::DuplicateItem("a".into())));
        assert!(usize::read(&Raw::List(numbered(1))).is_err());
    }

    #[test]
    fn what_lies_outside_a_range_is_told_what_is_allowed() {
        assert_eq!(within(&4.0, &(0.25..=4.0)), Ok(()));
        let defect = within(&9.0, &(0.25..=4.0)).expect_err("is above");
        assert_eq!(defect.to_string(), "9.0 is out of range; allowed is 0.25 to 4.0");
    }
}
