//! The page at `/`: HTML, style and script that the binary carries, and nothing from elsewhere.
//!
//! The files are served as they lie in `page/`; there is no build step between what is read there and what a
//! browser runs. They show what the [API](super::api) says. The policy forbids whatever the page does not need:
//! other origins, scripts and styles within the HTML, and turning text into HTML.

use std::sync::LazyLock;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use http::header::{self, HeaderMap, HeaderValue};

use super::api::{Packed, Wishes, packed};

/// `Content-Security-Policy` of the page: its own files and its own API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// One of the page's files.
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! files {
    ($($path:literal = $file:literal, $content_type:expr;)+) => {
        &[$(File { path: $path, content_type: $content_type, content: include_str!($file) },)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

static FILES: &[File] = files! {
    "/" = "page/index.html", HTML;
    "/assets/style.css" = "page/style.css", CSS;
    "/assets/charts.css" = "page/charts.css", CSS;
    "/assets/icon.svg" = "page/icon.svg", "image/svg+xml";
    "/assets/app.js" = "page/app.js", SCRIPT;
    "/assets/dom.js" = "page/dom.js", SCRIPT;
    "/assets/format.js" = "page/format.js", SCRIPT;
    "/assets/api.js" = "page/api.js", SCRIPT;
    "/assets/live.js" = "page/live.js", SCRIPT;
    "/assets/tip.js" = "page/tip.js", SCRIPT;
    "/assets/parts.js" = "page/parts.js", SCRIPT;
    "/assets/now.js" = "page/now.js", SCRIPT;
    "/assets/incident.js" = "page/incident.js", SCRIPT;
    "/assets/compare.js" = "page/compare.js", SCRIPT;
    "/assets/baselines.js" = "page/baselines.js", SCRIPT;
    "/assets/health.js" = "page/health.js", SCRIPT;
    "/assets/comparison.js" = "page/comparison.js", SCRIPT;
    "/assets/trace.js" = "page/trace.js", SCRIPT;
    "/assets/timeline.js" = "page/timeline.js", SCRIPT;
    "/assets/waterfall.js" = "page/waterfall.js", SCRIPT;
    "/assets/distribution.js" = "page/distribution.js", SCRIPT;
    "/assets/graph.js" = "page/graph.js", SCRIPT;
};

/// Packed once, as well as can be: the files do not change while the process lives.
static PACKED: LazyLock<Vec<Packed>> = LazyLock::new(|| {
    let pack =
        |file: &File| packed(Bytes::from_static(file.content.as_bytes()), Compression::best());
    FILES.iter().map(pack).collect()
});

/// The routes of all files.
pub(super) fn router() -> Router {
    FILES.iter().enumerate().fold(Router::new(), |router, (at, file)| {
        router.route(file.path, get(move |headers: HeaderMap| async move { serve(at, &headers) }))
    })
}

fn serve(at: usize, headers: &HeaderMap) -> Response {
    let wishes = Wishes::of(headers);
    let mut response = PACKED[at].answer(&wishes, FILES[at].content_type);
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_page_is_less_than_100_kilobytes_on_the_wire() {
        let bytes: usize = PACKED.iter().map(Packed::wire_bytes).sum();
        assert!(bytes < 100_000, "{bytes}");
    }

    #[test]
    fn nothing_in_the_page_comes_from_elsewhere() {
        for file in FILES {
            // The name of a namespace, and an address to be shown.
            let said = file.content.replace("http://www.w3.org/", "");
            let said = said.replace("=http://127.0.0.1:4317", "");
            for elsewhere in
                ["http://", "https://", "src=\"//", "url(", "@import", "innerHTML", "eval("]
            {
                assert!(!said.contains(elsewhere), "{}: {elsewhere}", file.path);
            }
        }
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for line in file.content.lines().filter(|line| line.contains(" from \"")) {
                let named = line.rsplit(" from \"").next().and_then(|rest| rest.split('"').next());
                let path =
                    named.and_then(|name| name.strip_prefix("./")).expect("a module beside it");
                let path = format!("/assets/{path}");
                assert!(FILES.iter().any(|file| file.path == path), "{}: {path}", file.path);
            }
        }
    }
}
