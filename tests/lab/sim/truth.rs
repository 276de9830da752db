//! What a right verdict says about a run, in the words of the outward contract, as strings: nothing
//! here is shared with those who are tested by it.

/// One thing that is wrong, and the right answers to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Culprit {
    /// (`service_name`, `suspect_kind`), the plainest first.
    pub(crate) names: Vec<(String, &'static str)>,
    /// Any of these.
    pub(crate) reasons: &'static [&'static str],
    /// Where the fault has a definite one.
    pub(crate) pattern: Option<&'static str>,
    /// Attributes and values that single the slow calls out, any of them; empty where none does.
    pub(crate) wheres: Vec<(String, String)>,
}

/// What is true of a run. Times are nanoseconds from its start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Truth {
    /// Empty in quiet runs.
    pub(crate) culprits: Vec<Culprit>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// From here on there is something to notice: later than `from` for a ramp.
    pub(crate) noticeable: u64,
    /// Services that are slow only because a culprit is.
    pub(crate) impacted: Vec<String>,
    /// Who may be named without being counted: true, but not worth an alert.
    pub(crate) tolerated: Vec<String>,
}

pub(crate) const SELF_TIME: &[&str] = &["self_time"];
pub(crate) const CALL_GAP: &[&str] = &["call_gap"];

impl Culprit {
    /// A service's own time.
    pub(crate) fn service(name: &str) -> Culprit {
        Culprit::new(vec![(name.to_owned(), "service")], SELF_TIME)
    }

    pub(crate) fn dependency(name: &str) -> Culprit {
        Culprit::new(vec![(name.to_owned(), "dependency")], SELF_TIME)
    }

    pub(crate) fn new(
        names: Vec<(String, &'static str)>,
        reasons: &'static [&'static str],
    ) -> Culprit {
        Culprit { names, reasons, pattern: Some("sustained"), wheres: Vec::new() }
    }

    pub(crate) fn pattern(self, pattern: Option<&'static str>) -> Culprit {
        Culprit { pattern, ..self }
    }

    pub(crate) fn reasons(self, reasons: &'static [&'static str]) -> Culprit {
        Culprit { reasons, ..self }
    }

    pub(crate) fn also(mut self, name: &str, kind: &'static str) -> Culprit {
        self.names.push((name.to_owned(), kind));
        self
    }

    pub(crate) fn singled_out(mut self, attribute: &str, value: &str) -> Culprit {
        self.wheres.push((attribute.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn accepts(&self, name: &str, kind: &str) -> bool {
        self.names.iter().any(|(wanted, of)| wanted == name && *of == kind)
    }
}
