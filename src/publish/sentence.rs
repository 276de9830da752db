//! The verdict in one sentence, as a colleague would say it.
//!
//! Used by the report, the log, the terminal and the page alike, so that all say the same. One line,
//! whatever the names hold. It says nothing that the incident does not hold: where nobody is named,
//! it says so.

use std::fmt;

use super::words::{Name, clock, duration, percent};
use crate::engine::verdict::{EntryImpact, Incident, Pattern, Reason, Suspect, SuspectKind, Where};

/// Displays an incident as a sentence.
#[derive(Clone, Copy, Debug)]
pub struct Sentence<'a>(pub &'a Incident);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incident = self.0;
        let more = incident.entries.len().saturating_sub(1);
        let slower = Slower { entry: incident.entries.first(), more };
        let since = clock(incident.start);
        match incident.suspects.first() {
            None => write!(out, "slow: {slower} since {since} UTC; nobody can be named for it"),
            Some(first) => {
                write!(out, "{} makes {slower} since {since} UTC, ", Who(first))?;
                write!(out, "{} of it: {}", percent(first.score), Why(first))
            }
        }
    }
}

/// `` `GET /cart` of `storefront` 290 ms slower (120 ms -> 410 ms)``.
struct Slower<'a> {
    entry: Option<&'a EntryImpact>,
    more: usize,
}

impl fmt::Display for Slower<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(entry) = self.entry else { return out.write_str("requests slower") };
        write!(out, "`{}` of `{}`", Name(&entry.operation), Name(&entry.service))?;
        let (before, now) = (entry.baseline_seconds, entry.recent_seconds);
        if now > before && before > 0.0 {
            let rise = duration(now - before);
            write!(out, " {rise} slower ({} -> {})", duration(before), duration(now))?;
        } else {
            out.write_str(" slower")?;
        }
        match self.more {
            0 => Ok(()),
            1 => out.write_str(", and one entry more,"),
            more => write!(out, ", and {more} entries more,"),
        }
    }
}

/// The suspect: `` `cart` ``.
struct Who<'a>(&'a Suspect);

impl fmt::Display for Who<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = Name(&self.0.service);
        match (self.0.kind, &self.0.where_) {
            (SuspectKind::Service, _) => write!(out, "`{service}`"),
            (SuspectKind::Dependency, _) => write!(out, "dependency `{service}`"),
            (SuspectKind::Edge, Some(other)) if &*other.attribute == "from" => {
                write!(out, "the way from `{}` to `{service}`", Name(&other.value))
            }
            (SuspectKind::Edge, Some(other)) if &*other.attribute == "to" => {
                write!(out, "the way from `{service}` to `{}`", Name(&other.value))
            }
            (SuspectKind::Edge, _) => write!(out, "the way to `{service}`"),
        }
    }
}

/// `` each call of `GET /items` got slower (4.00 ms -> 31.00 ms), sustained, on k8s.pod.name=cart-2``.
struct Why<'a>(&'a Suspect);

impl fmt::Display for Why<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suspect = self.0;
        let operation = Name(&suspect.operation);
        let calls = match suspect.pattern {
            Pattern::Sustained => "each call",
            Pattern::Intermittent => "a few calls",
        };
        match suspect.reason {
            Reason::SelfTime => write!(out, "{calls} of `{operation}` got slower{}", Rise(suspect)),
            Reason::CallGap => {
                write!(out, "{calls} of `{operation}` waited longer on the way{}", Rise(suspect))
            }
            Reason::CallCount => {
                write!(out, "more calls per request in `{operation}`, each as fast as before")
            }
            Reason::LostParallelism => {
                write!(out, "in `{operation}` calls now run one after the other, not side by side")
            }
            Reason::NewOperation => write!(out, "`{operation}` is new, without a baseline"),
        }?;
        write!(out, ", {}", suspect.pattern.as_str())?;
        match &suspect.where_ {
            Some(place) if suspect.kind != SuspectKind::Edge => {
                write!(out, ", on {}", Place(place))
            }
            _ => Ok(()),
        }
    }
}

/// ` (4.00 ms -> 31.00 ms)`, if that is a rise.
struct Rise<'a>(&'a Suspect);

impl fmt::Display for Rise<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, now) = (self.0.baseline_seconds, self.0.recent_seconds);
        if now > before {
            write!(out, " ({} -> {})", duration(before), duration(now))
        } else {
            Ok(())
        }
    }
}

/// `k8s.pod.name=cart-2`.
pub(super) struct Place<'a>(pub(super) &'a Where);

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{}={}", Name(&self.0.attribute), Name(&self.0.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::{cart_incident, incident, suspect};

    fn with(change: impl FnOnce(&mut Suspect)) -> String {
        let mut incident = cart_incident();
        change(&mut incident.suspects[0]);
        Sentence(&incident).to_string()
    }

    #[test]
    fn the_sentence_says_who_what_since_when_how_much_why_and_where() {
        assert_eq!(
            Sentence(&cart_incident()).to_string(),
            "`cart` makes `GET /cart` of `storefront` 290 ms slower (120 ms -> 410 ms) since \
             14:20:05 UTC, 93 % of it: each call of `GET /items` got slower (4.00 ms -> 31.00 ms), \
             sustained, on k8s.pod.name=cart-2"
        );
    }

    #[test]
    fn each_reason_has_words_of_its_own() {
        let said = |reason| with(|suspect| suspect.reason = reason);
        assert!(said(Reason::CallGap).contains("waited longer on the way (4.00 ms -> 31.00 ms)"));
        assert!(said(Reason::CallCount).contains("more calls per request in `GET /items`"));
        assert!(said(Reason::LostParallelism).contains("one after the other"));
        assert!(said(Reason::NewOperation).contains("`GET /items` is new"));
        let few = with(|suspect| suspect.pattern = Pattern::Intermittent);
        assert!(few.contains("a few calls of `GET /items` got slower"), "{few}");
        assert!(few.contains(", intermittent,"), "{few}");
    }

    #[test]
    fn an_edge_is_named_by_both_ends() {
        let edge = |attribute: &str| {
            with(|suspect| {
                suspect.kind = SuspectKind::Edge;
                suspect.where_ =
                    Some(Where { attribute: attribute.into(), value: "other".into(), share: 1.0 });
            })
        };
        assert!(edge("from").starts_with("the way from `other` to `cart` makes "));
        assert!(edge("to").starts_with("the way from `cart` to `other` makes "));
        assert!(edge("zone").starts_with("the way to `cart` makes "));
        let database = with(|suspect| suspect.kind = SuspectKind::Dependency);
        assert!(database.starts_with("dependency `cart` makes "));
    }

    #[test]
    fn without_a_suspect_nobody_is_named() {
        let sentence = Sentence(&incident(1, 3.0, vec![])).to_string();
        assert_eq!(
            sentence,
            "slow: `GET /cart` of `storefront` 290 ms slower (120 ms -> 410 ms) since 14:20:05 UTC; \
             nobody can be named for it"
        );
    }

    #[test]
    fn an_entry_without_a_baseline_is_slower_by_no_number() {
        let mut unknown = incident(1, 3.0, vec![suspect(1, "cart", 0.5)]);
        unknown.entries[0].baseline_seconds = 0.0;
        let other = unknown.entries[0].clone();
        unknown.entries.push(other);
        let sentence = Sentence(&unknown).to_string();
        let start = "`cart` makes `GET /cart` of `storefront` slower, and one entry more, since ";
        assert!(sentence.starts_with(start), "{sentence}");
    }

    #[test]
    fn hostile_names_stay_on_one_line() {
        let sentence = with(|suspect| suspect.service = "a\nb\u{1b}[31m\u{202e}".into());
        assert!(!sentence.chars().any(|c| c.is_control() || c == '\u{202e}'), "{sentence:?}");
    }
}
