//! YAML as a tree of plain text that remembers where each piece stood.
//!
//! Built from the events of the parser below serde-saphyr rather than through serde, for two reasons:
//! what a value means is the table's matter, so it must come here as it was written (`0x10`, `1e3` and
//! `no` included), and every complaint, also about the meaning of a value, must point at its place.
//! Anchors, merge keys and several documents are refused: a configuration has no use for them.

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use thiserror::Error;

/// A place in the text: line and column count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
    /// How many characters on that line belong to it, at least 1.
    pub(super) width: usize,
}

/// One value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_at: Mark,
    pub(super) node: Node,
}

/// Why a text is not a tree.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{message}")]
pub(super) struct SyntaxDefect {
    pub(super) message: String,
    pub(super) at: Mark,
}

/// Reads one document. An empty one is `Null`.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxDefect> {
    let mut options = Options::default();
    // The parser buffers at most 96 comments in a row; an annotated file may have more.
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| SyntaxDefect {
            message: format!("not valid YAML: {}", error.info()),
            at: Mark { line: error.marker().line(), column: error.marker().col() + 1, width: 1 },
        })?;
        builder.take(event, mark(span))?;
    }
    let start = Mark { line: 1, column: 1, width: 1 };
    Ok(builder.root.unwrap_or(Node { at: start, value: Value::Null }))
}

fn mark(span: Span) -> Mark {
    let (start, end) = (span.start, span.end);
    let same_line = end.line() == start.line();
    let width = if same_line { end.col().saturating_sub(start.col()) } else { 1 };
    Mark { line: start.line(), column: start.col() + 1, width: width.max(1) }
}

/// The collections that are open, innermost last. The parser bounds their nesting.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

enum Open {
    List { at: Mark, items: Vec<Node> },
    Map { at: Mark, entries: Vec<Entry>, name: Option<(String, Mark)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), SyntaxDefect> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                refuse_anchor(anchor, at)?;
                let value = match (style, &*text) {
                    (ScalarStyle::Plain, "" | "~" | "null") => Value::Null,
                    _ => Value::Text(text.into_owned()),
                };
                self.add(Node { at, value })
            }
            Event::SequenceStart(_, anchor, _) => {
                refuse_anchor(anchor, at)?;
                self.open.push(Open::List { at, items: Vec::new() });
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                refuse_anchor(anchor, at)?;
                self.open.push(Open::Map { at, entries: Vec::new(), name: None });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.add(Node { at, value: Value::List(items) }),
                Some(Open::Map { at, entries, .. }) => {
                    self.add(Node { at, value: Value::Map(entries) })
                }
                None => Ok(()),
            },
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(defect("aliases are not supported; write the value out", at))
            }
            _ => Ok(()),
        }
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, node: Node) -> Result<(), SyntaxDefect> {
        match self.open.last_mut() {
            None if self.root.is_some() => {
                Err(defect("a second document; a configuration is one", node.at))
            }
            None => {
                self.root = Some(node);
                Ok(())
            }
            Some(Open::List { items, .. }) => {
                items.push(node);
                Ok(())
            }
            Some(Open::Map { entries, name, .. }) => match name.take() {
                None => {
                    *name = Some(name_of(node, entries)?);
                    Ok(())
                }
                Some((name, name_at)) => {
                    entries.push(Entry { name, name_at, node });
                    Ok(())
                }
            },
        }
    }
}

/// A node that stands where a key belongs.
fn name_of(node: Node, entries: &[Entry]) -> Result<(String, Mark), SyntaxDefect> {
    let Value::Text(name) = node.value else {
        return Err(defect("a key must be a word", node.at));
    };
    if let Some(first) = entries.iter().find(|entry| entry.name == name) {
        let message = format!("`{name}` is here twice; first on line {}", first.name_at.line);
        return Err(defect(&message, node.at));
    }
    Ok((name, node.at))
}

/// Anchors are numbered from 1.
fn refuse_anchor(anchor: usize, at: Mark) -> Result<(), SyntaxDefect> {
    if anchor == 0 {
        return Ok(());
    }
    Err(defect("anchors are not supported; write the value out where it is needed", at))
}

fn defect(message: &str, at: Mark) -> SyntaxDefect {
    SyntaxDefect { message: message.to_owned(), at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        match parse(text).map(|node| node.value) {
            Ok(Value::Map(entries)) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        for (written, expected) in [
            ("0x10", "0x10"),
            ("1e3", "1e3"),
            ("no", "no"),
            ("'30s'", "30s"),
            ("\"a\\tb\"", "a\tb"),
            ("127.0.0.1:4317 # comment", "127.0.0.1:4317"),
            ("${env:A:-b}", "${env:A:-b}"),
            ("'null'", "null"),
        ] {
            let found = entries(&format!("key: {written}\n"));
            assert_eq!(found[0].node.value, Value::Text(expected.to_owned()), "{written}");
        }
    }

    #[test]
    fn every_piece_knows_its_place() {
        let found = entries("# first\nouter:\n  inner: 30s\n");
        let Value::Map(inner) = &found[0].node.value else { panic!("{found:?}") };
        assert_eq!(found[0].name_at, Mark { line: 2, column: 1, width: 5 });
        assert_eq!(inner[0].name_at, Mark { line: 3, column: 3, width: 5 });
        assert_eq!(inner[0].node.at, Mark { line: 3, column: 10, width: 3 });
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let found = entries("{ä: 1, b: 2}");
        assert_eq!(found[1].name_at.column, 8);
    }

    #[test]
    fn nothing_is_null() {
        for text in ["", "# only a comment\n", "---\n", "~"] {
            assert_eq!(parse(text).map(|node| node.value), Ok(Value::Null), "{text:?}");
        }
        assert_eq!(entries("key:\n")[0].node.value, Value::Null);
    }

    #[test]
    fn what_a_configuration_has_no_use_for_is_refused() {
        for (text, part) in [
            ("a: &x 1\nb: *x\n", "anchors"),
            ("a: &x {b: 1}\n", "anchors"),
            ("a: *x\n", "not valid YAML"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: 1\na: 2\n", "`a` is here twice; first on line 1"),
            ("{a: 1}: 2\n", "a key must be a word"),
            ("? \n: 2\n", "a key must be a word"),
            ("a: [1\n", "not valid YAML"),
            ("a: b: c\n", "not valid YAML"),
            ("a:\n\tb: 1\n", "not valid YAML"),
        ] {
            let message = parse(text).expect_err(text).message;
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }

    #[test]
    fn any_number_of_comments_is_fine() {
        let text = format!("{}key: 1\n", "# comment\n".repeat(1_000));
        assert_eq!(entries(&text).len(), 1);
    }
}
