//! The web page: its addresses, its headers, and the endpoints that only it uses. Its behaviour in
//! a browser is tested in `tests/page`.

use darkroom_client::types::resource::MediaUrl;
use reqwest::{StatusCode, header};
use serde_json::json;

use crate::support::{
    api::Api,
    harness::{job, options_with, shared, start},
};

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

/// Paths of the assets that a page refers to, as written in its HTML.
fn files(html: &str) -> Vec<&str> {
    let quoted = html.split('"').filter(|text| text.contains("assets/"));
    quoted.collect()
}

#[tokio::test]
async fn the_page_refers_to_its_files_by_relative_urls() {
    let api = Api::of(shared());
    for (path, root) in [
        ("/", ""),
        ("/j/01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1", "../"),
    ] {
        let answer = api.get_path(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        let policy = header(&answer, "content-security-policy");
        let store = shared().s3.endpoint.as_str();
        for rule in [
            "default-src 'none'".to_owned(),
            "script-src 'self'".to_owned(),
            "style-src 'self'".to_owned(),
            "require-trusted-types-for 'script'".to_owned(),
            format!("img-src 'self' blob: data: {store}"),
        ] {
            assert!(policy.split("; ").any(|part| part == rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = answer.text().await.unwrap();
        let files = files(&html);
        assert!(files.len() > 10, "{html}");
        for file in files {
            let file = file.strip_prefix(root).unwrap();
            let answer = api.get_path(&format!("/{file}")).await;
            assert_eq!(answer.status(), StatusCode::OK, "{file}");
            assert!(header(&answer, "cache-control").ends_with("immutable"));
        }
    }
    let another = api.get_path("/assets/0123456789abcdef/main.js").await;
    assert_eq!(header(&another, "cache-control"), "no-cache");
    let none = api.get_path("/assets/0123456789abcdef/none.js").await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn files_are_compressed_for_clients_that_accept_gzip() {
    let api = Api::of(shared());
    let url = format!("{}/assets/any/main.js", api.url);
    // A client that does not decompress bodies.
    let http = reqwest::Client::builder().no_proxy().no_gzip();
    let http = http.build().unwrap();
    let plain = http.get(&url).header(header::ACCEPT_ENCODING, "identity");
    let plain = plain.send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let compressed = http.get(&url).header(header::ACCEPT_ENCODING, "gzip");
    let compressed = compressed.send().await.unwrap();
    assert_eq!(header(&compressed, "content-encoding"), "gzip");
    assert_eq!(header(&compressed, "vary"), "accept-encoding");
    let (plain, compressed) = (
        plain.bytes().await.unwrap(),
        compressed.bytes().await.unwrap(),
    );
    assert!(compressed.len() * 2 < plain.len());
}

#[tokio::test]
async fn a_disabled_page_redirects_to_the_documentation() {
    let stack = start(&options_with("no-page", &[("DARKROOM_PAGE", "false")])).await;
    let api = Api::of(&stack);
    let home = api.get_path("/").await;
    assert_eq!(home.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(header(&home, "location"), "docs/");
    for path in [
        "/j/01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1",
        "/assets/any/main.js",
    ] {
        assert_eq!(
            api.get_path(path).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_downloaded_output_is_named_after_its_job() {
    let api = Api::of(shared());
    let id = api.run(&job(2, json!({"missing": [1]}))).await.job_id;
    let url = async |query: &str| {
        let answer = api
            .get_path(&format!("/v1/jobs/{id}/media/0/url{query}"))
            .await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<MediaUrl>().await.unwrap().url
    };
    let saved = api.http.get(url("?disposition=attachment").await);
    let saved = saved.send().await.unwrap();
    assert_eq!(
        header(&saved, "content-disposition"),
        format!("attachment; filename=\"{id}-0.png\"")
    );
    let shown = api.http.get(url("").await).send().await.unwrap();
    assert!(!shown.headers().contains_key("content-disposition"));
    assert_eq!(saved.bytes().await.unwrap(), shown.bytes().await.unwrap());
    for (path, expected) in [
        ("1/url", StatusCode::CONFLICT),
        ("7/url", StatusCode::NOT_FOUND),
        ("0/url?disposition=other", StatusCode::BAD_REQUEST),
    ] {
        let answer = api.get_path(&format!("/v1/jobs/{id}/media/{path}")).await;
        assert_eq!(answer.status(), expected, "{path}");
    }
}
