//! `${env:NAME}` and `${env:NAME:-default}` inside a value.
//!
//! Runs after the YAML is parsed, on one scalar at a time and once: what a variable holds is text,
//! never structure, and is not looked at again.

use thiserror::Error;

/// Why a value could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ExpandDefect {
    #[error(
        "the environment variable {0} is not set; set it, or write ${{env:{0}:-default}} to go on without"
    )]
    Unset(String),
    #[error("{0:?} is not a reference; write ${{env:NAME}}, or $$ for a plain dollar sign")]
    Malformed(String),
}

/// `text` with its references replaced. `lookup` gives a variable's value.
///
/// `$$` is a dollar sign; a dollar sign before anything but `{` and `$` is itself. The default also
/// stands in for a variable that is set but empty, as in a shell.
pub(super) fn expand<'a>(
    text: &'a str,
    lookup: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, ExpandDefect> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if rest.starts_with("${") {
            let malformed = || ExpandDefect::Malformed(rest.to_owned());
            let end = rest.find('}').ok_or_else(malformed)?;
            out.push_str(value_of(&rest[..=end], &lookup)?);
            rest = &rest[end + 1..];
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What one `${...}` stands for.
fn value_of<'a>(
    reference: &'a str,
    lookup: impl Fn(&str) -> Option<&'a str>,
) -> Result<&'a str, ExpandDefect> {
    let malformed = || ExpandDefect::Malformed(reference.to_owned());
    let inner = reference.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.ok_or_else(malformed)?;
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(malformed());
    }
    match (lookup(name), default) {
        (Some(""), Some(default)) | (None, Some(default)) => Ok(default),
        (Some(value), _) => Ok(value),
        (None, None) => Err(ExpandDefect::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, ExpandDefect> {
        expand(text, |name| match name {
            "PORT" => Some("4317"),
            "EMPTY" => Some(""),
            "TRICKY" => Some("${env:PORT} $$ : {a: b}\n- c"),
            _ => None,
        })
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        assert_eq!(expanded("${env:PORT}").as_deref(), Ok("4317"));
        assert_eq!(expanded("a:${env:PORT}/${env:PORT}b").as_deref(), Ok("a:4317/4317b"));
        assert_eq!(expanded("plain").as_deref(), Ok("plain"));
        assert_eq!(expanded("").as_deref(), Ok(""));
    }

    #[test]
    fn the_default_stands_in_for_unset_and_empty() {
        assert_eq!(expanded("${env:NO:-5s}").as_deref(), Ok("5s"));
        assert_eq!(expanded("${env:NO:-}").as_deref(), Ok(""));
        assert_eq!(expanded("${env:NO:-a:-b}").as_deref(), Ok("a:-b"));
        assert_eq!(expanded("${env:EMPTY:-5s}").as_deref(), Ok("5s"));
        assert_eq!(expanded("${env:PORT:-5s}").as_deref(), Ok("4317"));
        assert_eq!(expanded("${env:EMPTY}").as_deref(), Ok(""));
    }

    #[test]
    fn unset_without_default_names_the_variable() {
        assert_eq!(expanded("x${env:NO_SUCH}"), Err(ExpandDefect::Unset("NO_SUCH".into())));
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        let value = expanded("<${env:TRICKY}>");
        assert_eq!(value.as_deref(), Ok("<${env:PORT} $$ : {a: b}\n- c>"));
    }

    #[test]
    fn dollar_signs_escape_and_stand_alone() {
        assert_eq!(expanded("$${env:PORT}").as_deref(), Ok("${env:PORT}"));
        assert_eq!(expanded("a$b $").as_deref(), Ok("a$b $"));
        assert_eq!(expanded("$$$$").as_deref(), Ok("$$"));
    }

    #[test]
    fn other_references_are_errors() {
        for text in ["${PORT}", "${env:}", "${env:A B}", "${env:PORT", "${file:/etc}", "${env:1A}"]
        {
            assert!(matches!(expanded(text), Err(ExpandDefect::Malformed(_))), "{text}");
        }
    }
}
