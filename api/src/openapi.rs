//! The `OpenAPI` document of the api, built from its routes and their types.

use darkroom_types::{
    problem::{Kind, Problem},
    request::{Disposition, Expansion, IdempotencyKey, ListedStatus, PageSize},
    resource::WebhookPayload,
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, HttpMethod, OpenApi as Document, PathItem, PathsBuilder, Ref, RefOr, Required,
        ResponseBuilder,
        path::{Operation, OperationBuilder},
        request_body::RequestBodyBuilder,
        schema::Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{health, jobs, keys, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Darkroom",
        license(name = "Apache-2.0", url = "https://www.apache.org/licenses/LICENSE-2.0"),
    ),
    tags(
        (name = "Jobs", description = "A request names a model and a prompt. A job runs it and stores the outputs."),
        (name = "Webhooks", description = "Notifications of how a job ended, as an alternative to polling. Messages are signed \
            according to [Standard Webhooks](https://www.standardwebhooks.com), and retried for three days."),
        (name = "Keys", description = "Issue and revoke API keys without a restart."),
        (name = "Operations", description = "Health, readiness and metrics, for operators."),
    ),
    paths(
        jobs::create::create_job,
        jobs::list::list_jobs,
        jobs::get::get_job,
        jobs::delete::delete_job,
        jobs::follow::follow_job,
        jobs::follow_all::follow_jobs,
        jobs::cancel::cancel_job,
        jobs::retry::retry_job,
        jobs::list_media::list_media,
        jobs::get_media::get_media,
        jobs::get_media_url::get_media_url,
        webhooks::list::list_webhooks,
        webhooks::redeliver::redeliver_webhook,
        webhooks::secret::get_webhook_secret,
        webhooks::report::report_prediction,
        keys::create::create_api_key,
        keys::list::list_api_keys,
        keys::revoke::revoke_api_key,
        health::get_health,
        health::get_readiness,
        health::get_metrics,
    ),
    // Schemas that only parameters, problems and webhooks refer to.
    components(schemas(
        Disposition, Expansion, IdempotencyKey, ListedStatus, PageSize, Problem, WebhookPayload,
    )),
    modifiers(&ApiKey, &Webhooks, &Headers, &RequireAllFields, &OptionalBody),
)]
struct Described;

/// Returns the document without the URL of its server, which depends on the configuration.
pub(crate) fn document() -> Document {
    let mut document = Described::openapi();
    document.info.description = Some(description());
    document
}

/// Returns the introduction: `description.md`, and a table of the problems.
fn description() -> String {
    let line = |kind: &Kind| {
        format!(
            "| `{}` | {} | {} |",
            kind.uri(),
            kind.status(),
            kind.title()
        )
    };
    let kinds: Vec<String> = Kind::ALL.iter().map(line).collect();
    let (text, kinds) = (include_str!("description.md"), kinds.join("\n"));
    format!("{text}\n## Problems\n\n| type | status | |\n|---|---|---|\n{kinds}\n")
}

/// Adds the security scheme: callers authenticate with an API key.
struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key, if the operator has issued any."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme.build()));
    }
}

/// Adds the requests that are sent to the callers' webhooks.
struct Webhooks;

impl Modify for Webhooks {
    fn modify(&self, document: &mut Document) {
        let payload = Content::new(Some(Ref::from_schema_name("WebhookPayload")));
        let body = RequestBodyBuilder::new()
            .content("application/json", payload)
            .required(Some(Required::True));
        let response = |description: &str| ResponseBuilder::new().description(description).build();
        let ended = OperationBuilder::new()
            .operation_id(Some("jobEnded"))
            .tag("Webhooks")
            .summary(Some("A job has ended"))
            .request_body(Some(body.build()))
            .response("2XX", response("Received."))
            .response("410", response("Refused: there are no further attempts."));
        let ended = PathItem::new(HttpMethod::Post, ended.build());
        document.webhooks = Some(PathsBuilder::new().path("jobEnded", ended).build());
    }
}

/// Adds the descriptions of response headers.
struct Headers;

const HEADERS: [(&str, &str); 5] = [
    ("ETag", "Changes with the job; send as `If-None-Match`."),
    (
        "Idempotent-Replayed",
        "`true` if an earlier request with this `Idempotency-Key` was accepted: nothing was started.",
    ),
    ("Location", "The job's path, or the output's URL."),
    (
        "Preference-Applied",
        "The preference that was applied, such as `wait=30`.",
    ),
    (
        "Retry-After",
        "Seconds to wait before you poll or retry the request.",
    ),
];

impl Modify for Headers {
    fn modify(&self, document: &mut Document) {
        let operations = document.paths.paths.values_mut().flat_map(operations);
        let responses = operations.flat_map(|operation| operation.responses.responses.values_mut());
        for response in responses {
            let RefOr::T(response) = response else {
                continue;
            };
            for (name, header) in &mut response.headers {
                let described = HEADERS.iter().find(|(known, _)| known == name);
                if let RefOr::T(header) = header {
                    header.description = described.map(|(_, meaning)| (*meaning).to_owned());
                }
            }
        }
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.delete]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// Marks request bodies that may be absent as optional.
struct OptionalBody;

/// Ids of operations whose body is optional.
const OPTIONAL: [&str; 1] = ["retryJob"];

impl Modify for OptionalBody {
    fn modify(&self, document: &mut Document) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let id = operation.operation_id.as_deref().unwrap_or_default();
            if OPTIONAL.contains(&id)
                && let Some(RefOr::T(body)) = &mut operation.request_body
            {
                body.required = Some(Required::False);
            }
        }
    }
}

/// Marks all fields of resources as required, as responses always contain them. In schemas with
/// optional fields, those with a default are optional.
struct RequireAllFields;

/// Schemas with optional fields: request bodies, and problems.
const HAS_OPTIONAL_FIELDS: [&str; 4] = ["JobRequest", "RetryRequest", "CreateApiKey", "Problem"];

impl Modify for RequireAllFields {
    fn modify(&self, document: &mut Document) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        for (name, schema) in schemas {
            if let RefOr::T(Schema::Object(object)) = schema
                && !HAS_OPTIONAL_FIELDS.contains(&name.as_str())
            {
                object.required = object.properties.keys().cloned().collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use serde_json::Value;

    use super::*;

    #[test]
    fn references_resolve() {
        let document = serde_json::to_value(document()).unwrap();
        let mut places = vec![&document];
        let mut references = 0;
        while let Some(place) = places.pop() {
            if let Some(reference) = place["$ref"].as_str() {
                let target = reference.trim_start_matches('#');
                assert!(document.pointer(target).is_some(), "{reference}");
                references += 1;
            }
            match place {
                Value::Array(values) => places.extend(values),
                Value::Object(map) => places.extend(map.values()),
                _ => {}
            }
        }
        assert!(references > 100, "{references}");
    }

    #[test]
    fn the_document_matches_openapi_json() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let document = document().to_pretty_json().unwrap() + "\n";
        if env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            fs::write(&path, &document).unwrap();
        }
        let seen = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            seen == document,
            "api/openapi.json is out of date; regenerate it with INSTA_UPDATE=always and review the diff"
        );
    }
}
