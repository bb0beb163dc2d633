//! API keys that are created and revoked while the stack runs: scopes, models, expiry, and lookups
//! without the store.

use std::{path::PathBuf, time::Duration};

use darkroom_client::types::{
    resource::{ApiKeys, CreatedApiKey, Job},
    status::{JobStatus, Stage},
};
use darkroom_dev::Stack;
use futures::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::call;
use crate::support::{
    api::{Api, Problem, job_in},
    context::TestContext,
    harness::{api_key_entry, assert_prompt, job, options, options_with, start, until},
    processes::log_of,
};

const ADMIN: &str = "dk_admin";
const OPERATOR: &str = "dk_operator";
const PLAIN: &str = "dk_plain";

fn keys() -> String {
    let keys = [
        format!("{}:admin", api_key_entry("acme", ADMIN)),
        format!("{}:operator", api_key_entry("house", OPERATOR)),
        api_key_entry("acme", PLAIN),
    ];
    keys.join(",")
}

/// Starts a stack with these keys, and returns it with a caller and its directory.
async fn start_with_keys(name: &str) -> (Stack, Api, PathBuf) {
    let options = options_with(name, &[("DARKROOM_API_KEYS", &keys())]);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    (stack, api, options.directory)
}

async fn create(api: &Api, key: &str, body: Value) -> Response {
    let create = call(api, Method::POST, "/v1/keys", key).json(&body);
    create.send().await.unwrap()
}

async fn created(api: &Api, key: &str, body: Value) -> CreatedApiKey {
    let answer = create(api, key, body).await;
    assert_eq!(
        (answer.status(), &answer.headers()["cache-control"]),
        (StatusCode::CREATED, &"no-store".parse().unwrap())
    );
    answer.json().await.unwrap()
}

async fn listed(api: &Api, key: &str, query: &str) -> ApiKeys {
    let list = call(api, Method::GET, &format!("/v1/keys{query}"), key).send();
    list.await.unwrap().json().await.unwrap()
}

async fn status(api: &Api, method: Method, path: &str, key: &str) -> StatusCode {
    let answer = call(api, method, path, key).send();
    answer.await.unwrap().status()
}

#[tokio::test]
async fn a_key_is_limited_to_its_scopes_and_models() {
    let (_stack, api, directory) = start_with_keys("keys").await;
    let forbidden = Problem::new(StatusCode::FORBIDDEN, "forbidden");
    for (key, body) in [
        (PLAIN, json!({"name": "mine"})),
        (ADMIN, json!({"name": "theirs", "tenant": "other"})),
    ] {
        assert_eq!(Problem::of(create(&api, key, body).await).await, forbidden);
    }
    for body in [
        json!({}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x", "models": ["a b"]}),
    ] {
        let refused = create(&api, ADMIN, body).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    let reader = created(&api, ADMIN, json!({"name": "r", "scopes": ["read"]})).await;
    let shop = json!({"name": "shop", "models": ["acme/*"]});
    let shop = created(&api, ADMIN, shop).await;
    assert_eq!(shop.api_key.key_id.tenant().as_str(), "acme");

    let post = |key: &str, model: &str| {
        let mut body = job(1, json!({}));
        body["model"] = model.into();
        call(&api, Method::POST, "/v1/jobs", key).json(&body).send()
    };
    let accepted = post(&shop.key, "acme/photo").await.unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let accepted: Job = accepted.json().await.unwrap();
    assert_eq!(accepted.key_id.as_ref(), Some(&shop.api_key.key_id));
    let path = format!("/v1/jobs/{}", accepted.job_id);
    assert_eq!(
        Problem::of(post(&shop.key, "others/photo").await.unwrap()).await,
        forbidden
    );
    assert_eq!(
        Problem::of(post(&reader.key, "acme/photo").await.unwrap()).await,
        forbidden
    );
    assert_eq!(
        status(&api, Method::GET, &path, &reader.key).await,
        StatusCode::OK
    );
    assert_eq!(
        status(&api, Method::DELETE, &path, &reader.key).await,
        StatusCode::FORBIDDEN
    );
    let log = log_of(&directory, "api");
    let line = log.lines().find(|line| line.contains("job accepted"));
    assert!(line.unwrap().contains(&shop.api_key.key_id.to_string()));

    // An admin lists the keys of the own tenant, an operator those of any; each has a time of last
    // use.
    until("the use of a key", async || {
        let keys = listed(&api, ADMIN, "").await.keys;
        assert_eq!(keys.len(), 2);
        keys.iter()
            .all(|key| key.last_used_at.is_some())
            .then_some(())
    })
    .await;
    assert!(listed(&api, OPERATOR, "").await.keys.is_empty());
    assert_eq!(listed(&api, OPERATOR, "?tenant=acme").await.keys.len(), 2);
    let other = json!({"name": "new", "tenant": "other", "scopes": ["admin"]});
    let other = created(&api, OPERATOR, other).await;
    let more = created(&api, &other.key, json!({"name": "more"})).await;
    assert_eq!(more.api_key.key_id.tenant().as_str(), "other");
    // An `admin` key manages keys and nothing else.
    assert_eq!(
        status(&api, Method::GET, "/v1/jobs", &other.key).await,
        StatusCode::FORBIDDEN
    );
    let foreign = format!("/v1/keys/{}", shop.api_key.key_id);
    assert_eq!(
        status(&api, Method::DELETE, &foreign, &other.key).await,
        StatusCode::FORBIDDEN
    );

    // A key that expires cannot create one that outlives it.
    let soon = json!({"name": "soon", "scopes": ["admin"], "expires_at": "2999-01-01T00:00:00Z"});
    let soon = created(&api, OPERATOR, soon).await;
    for end in [Value::Null, json!("2999-01-02T00:00:00Z")] {
        let body = json!({"name": "later", "expires_at": end});
        assert_eq!(
            Problem::of(create(&api, &soon.key, body).await).await,
            forbidden
        );
    }
    // A key cannot regenerate a job of a model outside its list, and a `read` key cannot read the
    // webhook secret.
    let mut failing = job(1, json!({"fail": "no"}));
    failing["model"] = "others/photo".into();
    let failed = call(&api, Method::POST, "/v1/jobs", PLAIN)
        .header("Prefer", "wait=60")
        .json(&failing);
    let failed = job_in(failed.send().await.unwrap()).await;
    assert_eq!(failed.status, JobStatus::Failed);
    let retry = format!("/v1/jobs/{}/retry", failed.job_id);
    let retry = call(&api, Method::POST, &retry, &shop.key).json(&json!({"regenerate": true}));
    assert_eq!(Problem::of(retry.send().await.unwrap()).await, forbidden);
    assert_eq!(
        status(&api, Method::GET, "/v1/webhooks/secret", &reader.key).await,
        StatusCode::FORBIDDEN
    );

    // Keys that are wrong by one letter, malformed or empty are refused.
    let mut wrong = shop.key.clone();
    wrong.pop();
    for key in [wrong.as_str(), "dk_acme.0123456789abcdef.00", "dk_", ""] {
        assert_eq!(
            status(&api, Method::GET, &path, key).await,
            StatusCode::UNAUTHORIZED,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_and_its_streams_end() {
    let (stack, api, _) = start_with_keys("keys-revoked").await;
    let (_process, address) = stack.spawn_another_api(&[]).await.unwrap();
    let other = api.at(address);
    let key = created(&api, ADMIN, json!({"name": "short"})).await;
    let slow = job(1, json!({"latency_ms": 60_000}));
    let accepted = call(&other, Method::POST, "/v1/jobs", &key.key).json(&slow);
    let accepted = job_in(accepted.send().await.unwrap()).await;
    let path = format!("/v1/jobs/{}", accepted.job_id);
    let stream = call(&other, Method::GET, &format!("{path}/events"), &key.key);
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let etag = until("a job that is generating", async || {
        let read = call(&other, Method::GET, &path, &key.key).send().await;
        let read = read.unwrap();
        let etag = read.headers()["etag"].clone();
        let job: Job = read.json().await.unwrap();
        (job.stage == Some(Stage::Generating)).then_some(etag)
    })
    .await;
    let wait = call(&other, Method::GET, &path, &key.key).header("Prefer", "wait=60");
    let wait = tokio::spawn(wait.header("If-None-Match", etag).send());
    other.until_followed_by(2).await;
    assert_eq!(
        status(&other, Method::GET, &path, &key.key).await,
        StatusCode::OK
    );

    let revoke = format!("/v1/keys/{}", key.api_key.key_id);
    assert_eq!(
        status(&api, Method::DELETE, &revoke, ADMIN).await,
        StatusCode::NO_CONTENT
    );
    let revoked = Instant::now();
    assert_eq!(
        status(&api, Method::GET, &path, &key.key).await,
        StatusCode::UNAUTHORIZED,
        "at once"
    );
    until("a key that is refused at the other", async || {
        let status = status(&other, Method::GET, &path, &key.key).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert_prompt("revoking it", revoked.elapsed(), Duration::from_secs(5));
    // The event stream and the long poll end by themselves, long before the job does.
    let end = async {
        let mut frames = stream.bytes_stream();
        while frames.next().await.is_some() {}
        wait.await.unwrap().unwrap()
    };
    tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .expect("streams and waits end");
    assert_eq!(
        status(&api, Method::DELETE, &revoke, ADMIN).await,
        StatusCode::NOT_FOUND
    );
    assert!(listed(&api, ADMIN, "").await.keys.is_empty());
}

#[tokio::test]
async fn a_cached_key_works_without_the_store() {
    let variables = [
        ("DARKROOM_API_KEYS", &*keys()),
        ("DARKROOM_REQUESTS_PER_SECOND", "100000"),
    ];
    let (context, gateway) = TestContext::on_gateway(options("keys-store"), &variables).await;
    let api = &context.api;
    let key = created(api, ADMIN, json!({"name": "known"})).await;
    let unknown = created(api, ADMIN, json!({"name": "unknown"})).await;
    assert_eq!(
        status(api, Method::GET, "/v1/webhooks/secret", &key.key).await,
        StatusCode::OK
    );
    gateway.stop();
    until("a store that is away", async || {
        let status = status(api, Method::GET, "/v1/webhooks/secret", &unknown.key).await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    // Longer than a key that was read stays fresh in the api's cache.
    let begun = Instant::now();
    let mut turn = tokio::time::interval(Duration::from_millis(100));
    while begun.elapsed() < Duration::from_secs(4) {
        turn.tick().await;
        assert_eq!(
            status(api, Method::GET, "/v1/webhooks/secret", &key.key).await,
            StatusCode::OK
        );
    }
}
