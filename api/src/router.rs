//! The routes: paths and their handlers, as the `OpenAPI` document describes them.

use std::str::Split;

use poem::{Endpoint, IntoEndpoint, IntoResponse, Route, delete, get, post};
use utoipa::openapi::OpenApi;

use crate::{docs, health, jobs, keys, page, webhooks};

/// Routes and their paths, written as the `OpenAPI` document writes them.
pub(crate) struct Router {
    pub(crate) routes: Route,
    paths: Vec<&'static str>,
}

/// Builds all routes.
pub(crate) fn router(document: &OpenApi) -> Router {
    Router::new()
        .at(
            "/v1/jobs",
            post(jobs::create::create_job).get(jobs::list::list_jobs),
        )
        .at(
            "/v1/jobs/{job_id}",
            get(jobs::get::get_job).delete(jobs::delete::delete_job),
        )
        .at("/v1/jobs/{job_id}/events", get(jobs::follow::follow_job))
        .at("/v1/events", get(jobs::follow_all::follow_jobs))
        .at("/v1/jobs/{job_id}/cancel", post(jobs::cancel::cancel_job))
        .at("/v1/jobs/{job_id}/retry", post(jobs::retry::retry_job))
        .at("/v1/jobs/{job_id}/media", get(jobs::list_media::list_media))
        .at(
            "/v1/jobs/{job_id}/media/{index}",
            get(jobs::get_media::get_media),
        )
        .at(
            "/v1/jobs/{job_id}/media/{index}/url",
            get(jobs::get_media_url::get_media_url),
        )
        .at(
            "/v1/jobs/{job_id}/webhooks",
            get(webhooks::list::list_webhooks).post(webhooks::redeliver::redeliver_webhook),
        )
        .at(
            "/v1/webhooks/secret",
            get(webhooks::secret::get_webhook_secret),
        )
        .at(
            "/v1/webhooks/replicate/{job_id}/{submission_id}",
            post(webhooks::report::report_prediction),
        )
        .at(
            "/v1/keys",
            get(keys::list::list_api_keys).post(keys::create::create_api_key),
        )
        .at("/v1/keys/{key_id}", delete(keys::revoke::revoke_api_key))
        .at("/healthz", get(health::get_health))
        .at("/readyz", get(health::get_readiness))
        .at("/metrics", get(health::get_metrics))
        .at("/", get(page::home))
        .at("/j/{job_id}", get(page::job))
        .at("/assets/{version}/{file}", get(page::asset))
        .at("/docs", get(docs::begin))
        .at("/docs/*file", get(docs::file))
        .at("/openapi.json", get(docs::document(document)))
}

impl Router {
    fn new() -> Self {
        Self {
            routes: Route::new(),
            paths: Vec::new(),
        }
    }

    fn at<E>(mut self, path: &'static str, endpoint: E) -> Self
    where
        E: IntoEndpoint,
        E::Endpoint: Endpoint + 'static,
        <E::Endpoint as Endpoint>::Output: IntoResponse,
    {
        self.paths.push(path);
        let pattern = path.replace('{', ":").replace('}', "");
        self.routes = self.routes.at(pattern, endpoint);
        self
    }
}

/// Paths, and the methods that each allows.
pub(crate) struct Methods(Vec<(String, String)>);

/// Paths that are not part of the `OpenAPI` document: its own, those of Swagger UI, and the web
/// page.
const UNDESCRIBED: [&str; 6] = [
    "/",
    "/j/{job_id}",
    "/assets/{version}/{file}",
    "/docs",
    "/docs/*file",
    "/openapi.json",
];

impl Methods {
    pub(crate) fn of(document: &OpenApi) -> Self {
        let described = document.paths.paths.iter().map(|(path, item)| {
            let methods = [
                // Every `GET` route answers `HEAD` as well.
                ("GET, HEAD", &item.get),
                ("POST", &item.post),
                ("DELETE", &item.delete),
            ];
            let known = methods
                .into_iter()
                .filter(|(_, operation)| operation.is_some());
            let names: Vec<_> = known.map(|(name, _)| name).collect();
            (path.clone(), names.join(", "))
        });
        let others = UNDESCRIBED.map(|path| (path.to_owned(), "GET, HEAD".to_owned()));
        Self(described.chain(others).collect())
    }

    /// Returns the value of `Allow` for a path.
    pub(crate) fn allowed(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(_, methods)| methods.as_str())
    }

    /// Returns the pattern of a path, or `other`: as a label it must be bounded, and clients can
    /// send any number of unknown paths.
    pub(crate) fn route(&self, path: &str) -> &str {
        self.find(path).map_or("other", |(route, _)| route.as_str())
    }

    // The router's own pattern of a path is known only to handlers that matched, and limits and
    // `Allow` are needed before.
    fn find(&self, path: &str) -> Option<&(String, String)> {
        let is_like = |pattern: &str| {
            let (pattern, path) = (segments(pattern), segments(path));
            pattern.clone().count() == path.clone().count()
                && pattern
                    .zip(path)
                    .all(|(expected, part)| expected.starts_with(['{', '*']) || expected == part)
        };
        self.0.iter().find(|(pattern, _)| is_like(pattern))
    }
}

fn segments(path: &str) -> Split<'_, char> {
    path.trim_end_matches('/').split('/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use poem::{Request, http::Method};

    use super::*;
    use crate::openapi;

    #[test]
    fn the_document_describes_all_routes() {
        let document = openapi::document();
        let described = document.paths.paths.keys().map(String::as_str);
        let described: BTreeSet<_> = described.chain(UNDESCRIBED).collect();
        let routed = router(&document).paths.into_iter().collect();
        assert_eq!(described, routed);
    }

    #[tokio::test]
    async fn the_document_describes_all_methods() {
        let document = openapi::document();
        let (router, methods) = (router(&document), Methods::of(&document));
        for path in &router.paths {
            let allowed = methods.allowed(path).unwrap();
            for method in [
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ] {
                let request = Request::builder().method(method.clone()).uri_str(*path);
                // Without a context, every routed handler fails with another status than 405.
                let answer = router.routes.call(request.finish()).await;
                let is_routed = !matches!(answer, Err(error) if error.status() == 405);
                let is_described = allowed.split(", ").any(|name| name == method.as_str());
                assert_eq!(is_routed, is_described, "{method} {path}");
            }
        }
    }
}
