//! The files of the page, which are part of the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// A file: its address, its media type and its content.
type Asset = (&'static str, &'static str, &'static [u8]);

macro_rules! web {
    ($($file:literal => $kind:literal)*) => {
        &[$((
            concat!("/assets/", $file),
            $kind,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/", $file)),
        )),*]
    };
}

/// Every file in `web/`.
const ASSETS: &[Asset] = web! {
    "index.html" => "text/html; charset=utf-8"
    "app.js" => "text/javascript; charset=utf-8"
    "api.js" => "text/javascript; charset=utf-8"
    "chart.js" => "text/javascript; charset=utf-8"
    "docs.html" => "text/html; charset=utf-8"
    "docs.js" => "text/javascript; charset=utf-8"
    "dom.js" => "text/javascript; charset=utf-8"
    "format.js" => "text/javascript; charset=utf-8"
    "predict.js" => "text/javascript; charset=utf-8"
    "review.js" => "text/javascript; charset=utf-8"
    "run.js" => "text/javascript; charset=utf-8"
    "runs.js" => "text/javascript; charset=utf-8"
    "sign-in.js" => "text/javascript; charset=utf-8"
    "upload.js" => "text/javascript; charset=utf-8"
    "verdicts.js" => "text/javascript; charset=utf-8"
    "app.css" => "text/css; charset=utf-8"
    "icon.svg" => "image/svg+xml"
};

/// The OpenAPI document, which a test generates.
const OPENAPI: Asset = (
    "/assets/openapi.json",
    "application/json",
    include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/openapi.json"
    )),
);

/// The routes of the files, and `/` for the page itself. The files are in a folder, so that API Gateway
/// can tell them from the API.
pub(crate) fn assets() -> Router {
    ASSETS
        .iter()
        .chain([&OPENAPI])
        .fold(Router::new(), |router, &asset| {
            let answer = move || async move {
                let (_, kind, content) = asset;
                // Small, and on the same machine or behind a cache: a new program shows its new page.
                let headers = [
                    (header::CONTENT_TYPE, kind),
                    (header::CACHE_CONTROL, "no-cache"),
                ];
                (headers, content).into_response()
            };
            let (path, _, _) = asset;
            match path {
                "/assets/index.html" => router.route("/", get(answer)),
                "/assets/docs.html" => router.route(path, get(answer)).route("/docs", get(answer)),
                "/assets/openapi.json" => router
                    .route(path, get(answer))
                    .route("/openapi.json", get(answer)),
                _ => router.route(path, get(answer)),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("/assets/{}", entry.unwrap().file_name().display()))
            .filter(|name| name.contains('.'))
            .collect();
        let mut served: Vec<String> = ASSETS.iter().map(|asset| asset.0.to_owned()).collect();
        files.sort();
        served.sort();
        assert_eq!(files, served, "add the file to ASSETS");
    }
}
