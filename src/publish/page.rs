//! The page at `/`: what this is, and what is slow now, as plain HTML rendered here.
//!
//! No script, nothing from elsewhere, and a policy that forbids both; every name is escaped, as names
//! come from strangers. It shows a moment and does not update itself.

use super::sentence::Sentence;
use super::text_format::put;
use super::words::{clock, duration, percent, rfc3339};
use crate::engine::verdict::{Board, Incident};

/// `Content-Security-Policy` of the page: its own style sheet and nothing else.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// The style sheet, served beside the page because the policy forbids styles inside it.
pub(super) const STYLE: &str = include_str!("page.css");

/// Past incidents shown; all of them are in the API.
const PAST: usize = 10;

/// The page at this moment.
pub(super) fn render(board: &Board) -> String {
    let mut out = String::from(concat!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        "<title>laghound</title>\n<link rel=\"stylesheet\" href=\"page.css\">\n</head>\n<body>\n",
        "<h1>laghound</h1>\n<p>Says which service made requests slow.</p>\n",
        "<main>\n<h2>Now</h2>\n",
    ));
    match (board.open.is_empty(), board.learning) {
        (true, true) => {
            out.push_str("<p>Learning what is normal; no verdict is possible yet.</p>\n");
        }
        (true, false) => out.push_str("<p>Nothing is slower than it should be.</p>\n"),
        _ => board.open.iter().for_each(|incident| push_incident(&mut out, incident)),
    }
    if !board.closed.is_empty() {
        out.push_str("<h2>Past</h2>\n");
        board.closed.iter().take(PAST).for_each(|incident| push_incident(&mut out, incident));
    }
    let of = board.operations.len();
    put(&mut out, format_args!("</main>\n<footer><p>As of {} UTC, ", clock(board.at)));
    put(&mut out, format_args!("{of} operations known. "));
    out.push_str(concat!(
        "<a href=\"metrics\">metrics</a> · <a href=\"api/v1/suspects\">suspects</a> · ",
        "<a href=\"api/v1/incidents\">incidents</a> · <a href=\"readyz\">ready?</a></p></footer>\n",
        "</body>\n</html>\n",
    ));
    out
}

fn push_incident(out: &mut String, incident: &Incident) {
    let state = if incident.end.is_some() { "over" } else { "open" };
    put(out, format_args!("<section class=\"{state}\">\n<h3>Incident {} ", incident.id));
    put(out, format_args!("<time>{}</time>", rfc3339(incident.start)));
    if let Some(end) = incident.end {
        put(out, format_args!(" to <time>{}</time>", rfc3339(end)));
    }
    out.push_str("</h3>\n<p>");
    push_escaped(out, &Sentence(incident).to_string());
    out.push_str("</p>\n<table>\n<tr><th>suspect<th>kind<th>operation<th>share<th>excess<th>why\n");
    for suspect in &incident.suspects {
        out.push_str("<tr>");
        for cell in [
            &*suspect.service,
            suspect.kind.as_str(),
            &*suspect.operation,
            &percent(suspect.score),
            &duration(suspect.excess_seconds).to_string(),
            &format!("{}, {}", suspect.reason.as_str(), suspect.pattern.as_str()),
        ] {
            out.push_str("<td><bdi>");
            push_escaped(out, cell);
            out.push_str("</bdi>");
        }
        out.push('\n');
    }
    let rest = percent(incident.unexplained_share);
    put(out, format_args!("<tr><td>(unexplained)<td><td><td>{rest}<td><td>\n"));
    out.push_str("</table>\n</section>\n");
}

/// Text as text, in an element or in an attribute.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in HTML, not even as a reference.
            c if c.is_control() && !c.is_whitespace() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::{after, board};

    #[test]
    fn the_page_shows_the_open_incident() {
        let page = render(&board());
        assert!(page.contains("<p>`cart` makes `GET /cart` of `storefront` 290 ms slower"));
        assert!(page.contains("<td><bdi>93 %</bdi>"));
        assert!(page.contains("<td>7 %<td>"));
        assert!(!page.contains("<h2>Past</h2>"));
    }

    #[test]
    fn past_incidents_are_apart_and_few() {
        let mut board = board();
        let mut over = board.open.remove(0);
        over.end = Some(after(65));
        board.closed = vec![over; PAST + 5];
        let page = render(&board);
        assert!(page.contains("Nothing is slower than it should be."));
        assert_eq!(page.matches("<section class=\"over\">").count(), PAST);
    }

    #[test]
    fn while_learning_the_page_says_so() {
        let page = render(&Board { learning: true, ..Board::default() });
        assert!(page.contains("Learning what is normal"));
    }

    #[test]
    fn hostile_names_are_text() {
        let mut board = board();
        let hostile = "<script>alert('1')</script>\"&\0";
        let suspect = &mut board.open[0].suspects[0];
        suspect.service = hostile.into();
        suspect.operation = hostile.into();
        board.open[0].entries[0].operation = hostile.into();
        let page = render(&board);
        assert!(!page.contains("<script") && !page.contains('\0'));
        assert!(
            page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}")
        );
    }
}
