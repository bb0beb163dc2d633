//! The description of the api: `/openapi.json`, and `/docs` to read and try it. Neither fetches anything from elsewhere.
//!
//! - [`operation`]: what an operation can answer
//! - [`schema`]: the shapes of bodies

pub(crate) mod operation;
pub(crate) mod schema;

use std::sync::Arc;

use bytes::Bytes;
use poem::{Endpoint, EndpointExt, Response, Route, get, http::header};
use poem_openapi::{LicenseObject, OpenApiService, Tags};
use serde_json::{Map, Value, json};

use crate::{Context, health::HealthApi, jobs::JobsApi, problem::Kind, webhooks::WebhooksApi};

/// The parts of the documentation.
#[derive(Tags)]
pub(crate) enum Tag {
    /// A request names a model and a prompt; a job makes it so, and keeps what came of it.
    Jobs,
    /// Being told how a job ended, instead of asking. Messages are signed as
    /// [Standard Webhooks](https://www.standardwebhooks.com) has it, and tried again for three days.
    Webhooks,
    /// For those who run it.
    Operations,
}

/// The page may run what is in it, and ask this api. Nothing else.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// All operations, and their description.
pub(crate) fn routes(
    context: &Arc<Context>,
) -> (impl Endpoint<Output = Response> + use<>, Methods) {
    let apis = (
        JobsApi(Arc::clone(context)),
        WebhooksApi(Arc::clone(context)),
        HealthApi(Arc::clone(context)),
    );
    let service = OpenApiService::new(apis, "Darkroom", env!("CARGO_PKG_VERSION"))
        .description(description())
        .license(
            LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"),
        )
        .server(context.url(""));
    let described = service.spec();
    let specification = with_nulls(&described);
    let methods = Methods::of(&specification);
    let page = service
        .swagger_ui_html()
        .replace(&described, &specification);
    let document = move |content_type: &'static str, body: String| {
        let body = Bytes::from(body);
        get(poem::endpoint::make_sync(move |_| {
            let response = Response::builder().content_type(content_type);
            response
                .header(header::CACHE_CONTROL, "no-cache")
                .body(body.clone())
        }))
    };
    let docs = document("text/html; charset=utf-8", page).with(
        poem::middleware::SetHeader::new().overriding(header::CONTENT_SECURITY_POLICY, DOCS_POLICY),
    );
    let routes = Route::new()
        .at("/openapi.json", document("application/json", specification))
        .at("/docs", docs)
        .nest("/", service);
    (routes, methods)
}

/// Says of every property that may be absent, and has no default, that it may be `null` as well: poem-openapi does not.
fn with_nulls(specification: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(specification) else {
        return specification.to_owned();
    };
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for schema in schemas.into_iter().flat_map(Map::values_mut) {
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
            continue;
        };
        for (name, property) in properties {
            if required.iter().any(|required| required == name) || property.get("default").is_some()
            {
                continue;
            }
            if property.get("$ref").is_some() {
                *property = json!({ "allOf": [property.take()] });
            }
            property["nullable"] = true.into();
        }
    }
    document.to_string()
}

/// The paths that there are, and which methods each knows.
pub(crate) struct Methods(Vec<(String, String)>);

impl Methods {
    fn of(specification: &str) -> Self {
        let document: Value = serde_json::from_str(specification).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten();
        let methods = |operations: &Value| {
            let names = operations
                .as_object()
                .into_iter()
                .flat_map(Map::keys)
                .map(|name| name.to_uppercase());
            // Whatever can be got has a head.
            let names = names.map(|name| {
                if name == "GET" {
                    "GET, HEAD".to_owned()
                } else {
                    name
                }
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let described = paths.map(|(path, operations)| (path.clone(), methods(operations)));
        let others = ["/", "/docs", "/openapi.json"]
            .map(|path| (path.to_owned(), methods(&json!({"get": {}}))));
        Self(described.chain(others).collect())
    }

    /// What to say in `Allow` of a path: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6>
    pub(crate) fn allowed(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(_, methods)| methods.as_str())
    }

    /// The path as it is described.
    pub(crate) fn route(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(route, _)| route.as_str())
    }

    fn find(&self, path: &str) -> Option<&(String, String)> {
        let is_like = |pattern: &str| {
            let (pattern, path) = (pattern.split('/'), path.trim_end_matches('/').split('/'));
            pattern.clone().count() == path.clone().count()
                && pattern
                    .zip(path)
                    .all(|(expected, part)| expected.starts_with('{') || expected == part)
        };
        self.0.iter().find(|(pattern, _)| is_like(pattern))
    }
}

fn description() -> String {
    let kind = |kind: &Kind| {
        format!(
            "| `{}` | {} | {} |",
            kind.uri(),
            kind.status().as_u16(),
            kind.title()
        )
    };
    let kinds: Vec<String> = Kind::ALL.iter().map(kind).collect();
    let (text, kinds) = (include_str!("description.md"), kinds.join("\n"));
    format!("{text}\n## Problems\n\n| type | status | |\n|---|---|---|\n{kinds}\n")
}
