//! Examples of the api's description: each parses as its type, without losing a field.

use darkroom_types::{
    problem::Problem,
    request::{CreateApiKey, JobRequest, RetryRequest},
    resource::{
        ApiKey, ApiKeys, CreatedApiKey, Deletion, FeedEvent, Health, Job, JobEvent, JobPage,
        MediaPage, MediaUrl, Readiness, WebhookDeliveries, WebhookDelivery, WebhookPayload,
        WebhookSecret,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn read<T: DeserializeOwned + Serialize>(text: &str) -> serde_json::Result<()> {
    let example: Value = serde_json::from_str(text)?;
    let value: T = serde_json::from_value(example.clone())?;
    assert_eq!(serde_json::to_value(&value)?, example);
    Ok(())
}

#[test]
fn examples_are_of_their_types() -> serde_json::Result<()> {
    read::<ApiKey>(include_str!("../examples/api_key.json"))?;
    read::<ApiKeys>(include_str!("../examples/api_keys.json"))?;
    read::<CreateApiKey>(include_str!("../examples/create_api_key.json"))?;
    read::<CreatedApiKey>(include_str!("../examples/created_api_key.json"))?;
    read::<Deletion>(include_str!("../examples/deletion.json"))?;
    read::<FeedEvent>(include_str!("../examples/feed_event.json"))?;
    read::<Health>(include_str!("../examples/health.json"))?;
    read::<Job>(include_str!("../examples/job.json"))?;
    read::<JobEvent>(include_str!("../examples/job_event.json"))?;
    read::<JobPage>(include_str!("../examples/job_page.json"))?;
    read::<JobRequest>(include_str!("../examples/job_request.json"))?;
    read::<MediaPage>(include_str!("../examples/media_page.json"))?;
    read::<MediaUrl>(include_str!("../examples/media_url.json"))?;
    read::<Problem>(include_str!("../examples/problem.json"))?;
    read::<Readiness>(include_str!("../examples/readiness.json"))?;
    read::<RetryRequest>(include_str!("../examples/retry_request.json"))?;
    read::<WebhookDeliveries>(include_str!("../examples/webhook_deliveries.json"))?;
    read::<WebhookDelivery>(include_str!("../examples/webhook_delivery.json"))?;
    read::<WebhookPayload>(include_str!("../examples/webhook_payload.json"))?;
    read::<WebhookSecret>(include_str!("../examples/webhook_secret.json"))?;
    Ok(())
}
