//! Webhooks that notify callers of the end of their jobs. The receiver verifies them with the
//! reference library of Standard Webhooks.

use std::{collections::BTreeSet, time::Duration};

use darkroom_client::types::{
    job_id::JobId,
    resource::{DeliveryStatus, WebhookDeliveries, WebhookDelivery},
    status::{JobStatus, Stage},
};
use darkroom_dev::{Stack, WEBHOOK_SECRET};
use serde_json::{Value, json};
use temporalio_client::WorkflowCountOptions;

use crate::{
    resets::{reset, task_before_persists},
    support::{
        api::Api,
        context::TestContext,
        harness::{job, options, options_with, start, until},
        processes::{metrics_address, restart_worker, start_worker},
        proxy::{Fault, Operation},
        receiver::Receiver,
        rpc_gate::{Held, Rpc, RpcGate},
        workflows::history_of,
    },
};

/// Starts a stack whose workers may send webhooks to a receiver.
async fn start_with_receiver(name: &str) -> (Stack, Api, Receiver) {
    let receiver = Receiver::start().await;
    let allow = receiver.address.to_string();
    let stack = start(&options_with(name, &[("WEBHOOK_ALLOW", &allow)])).await;
    let api = Api::of(&stack);
    (stack, api, receiver)
}

/// Adds the receiver's URL to a request for a job.
fn with_webhook(receiver: &Receiver, mut job: Value) -> Value {
    job["webhook_url"] = receiver.url().into();
    job
}

async fn secret(api: &Api) -> String {
    api.client.webhook_secret().await.unwrap().key
}

async fn deliveries(api: &Api, id: &JobId) -> Vec<WebhookDelivery> {
    let answer = api.get_path(&format!("/v1/jobs/{id}/webhooks")).await;
    assert_eq!(answer.status(), 200);
    let listed: WebhookDeliveries = answer.json().await.unwrap();
    listed.deliveries
}

async fn delivery_is(api: &Api, id: &JobId, status: DeliveryStatus) -> WebhookDelivery {
    until(&format!("delivery that is {status:?}"), async || {
        let mut deliveries = deliveries(api, id).await.into_iter();
        deliveries.find(|delivery| delivery.status == status)
    })
    .await
}

#[tokio::test]
async fn every_end_notifies_its_webhook() {
    let (_stack, api, receiver) = start_with_receiver("webhooks").await;
    let completed = api.run(&with_webhook(&receiver, job(2, json!({})))).await;
    let partial = api
        .run(&with_webhook(&receiver, job(2, json!({"missing": [1]}))))
        .await;
    let failed = api
        .run(&with_webhook(&receiver, job(1, json!({"fail": "no"}))))
        .await;
    let slow = api
        .accepted(&with_webhook(
            &receiver,
            job(1, json!({"latency_ms": 60_000})),
        ))
        .await;
    api.until_stage(&slow, Stage::Generating).await;
    assert_eq!(api.act(&slow, "cancel").await.status(), 202);
    let canceled = api.ended(&slow).await;
    let mut filtered = with_webhook(&receiver, job(1, json!({})));
    filtered["webhook_events"] = json!(["job.failed"]);
    let unasked = api.run(&filtered).await;

    receiver.until_received(4).await;
    let messages = receiver.messages(&secret(&api).await);
    for (job, event) in [
        (&completed, "job.completed"),
        (&partial, "job.partial"),
        (&failed, "job.failed"),
        (&canceled, "job.canceled"),
    ] {
        let id = &job.job_id;
        let message = messages
            .iter()
            .find(|message| message.body["data"]["job_id"] == id.to_string())
            .unwrap_or_else(|| panic!("{event}"));
        assert!(
            message.id.starts_with(&format!("msg_{id}_")),
            "{message:#?}"
        );
        let body = &message.body;
        assert_eq!(body["type"], event);
        assert_eq!(
            body["data"]["provider"]["prediction_id"],
            json!(job.provider.as_ref().unwrap().prediction_id)
        );
        assert_eq!(body["data"]["status"], json!(job.status));
        assert_eq!(body["timestamp"], json!(job.completed_at));
        let delivery = delivery_is(&api, id, DeliveryStatus::Delivered).await;
        assert_eq!(
            (&delivery.message_id, delivery.attempts[0].response_status),
            (&message.id, Some(204))
        );
    }
    assert!(deliveries(&api, &unasked.job_id).await.is_empty());
}

/// A workflow reset leads to another end. It has a message id of its own, so that the receiver does
/// not take it for a retry, and the delivery of the earlier end stops.
#[tokio::test]
async fn a_reset_job_notifies_of_its_last_end() {
    let (stack, api, receiver) = start_with_receiver("webhooks-reset").await;
    receiver.answer(&[503]);
    let id = &api
        .run(&with_webhook(&receiver, job(1, json!({}))))
        .await
        .job_id;
    receiver.until_received(1).await;
    let task = task_before_persists(&history_of(&stack, id).await);
    reset(&stack, id, task).await;
    receiver.until_received(2).await;
    delivery_is(&api, id, DeliveryStatus::Delivered).await;
    let secret = secret(&api).await;
    let messages = receiver.messages(&secret);
    let ids: BTreeSet<_> = messages.iter().map(|message| &message.id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    // The earlier delivery would be retried five seconds after its first attempt.
    let client = stack.temporal.client().await.unwrap();
    until("deliveries that have ended", async || {
        let open = "WorkflowType = 'WebhookDelivery' AND ExecutionStatus = 'Running'";
        let open = client.count_workflows(open, WorkflowCountOptions::default());
        (open.await.unwrap().count() == 0).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn a_failing_receiver_is_retried() {
    let (mut stack, api, receiver) = start_with_receiver("webhooks-again").await;
    receiver.answer(&[503]);
    let id = &api
        .run(&with_webhook(&receiver, job(1, json!({}))))
        .await
        .job_id;
    // The next attempt is due in five seconds, even if the worker is killed meanwhile.
    until("a recorded attempt", async || {
        let attempts = deliveries(&api, id).await.pop()?.attempts;
        (attempts.len() == 1).then_some(())
    })
    .await;
    restart_worker(&mut stack);
    let delivery = delivery_is(&api, id, DeliveryStatus::Delivered).await;
    let attempts = delivery.attempts.iter();
    let statuses: Vec<_> = attempts.map(|attempt| attempt.response_status).collect();
    assert_eq!(statuses, [Some(503), Some(204)]);
    let messages = receiver.messages(&secret(&api).await);
    assert_eq!(
        messages[0], messages[1],
        "the same message, byte for byte and by its id"
    );

    // A redelivery of a delivery that has ended begins again and keeps its log.
    assert_eq!(api.act(id, "webhooks").await.status(), 202);
    until("a third attempt", async || {
        let delivery = delivery_is(&api, id, DeliveryStatus::Delivered).await;
        (delivery.attempts.len() == 3).then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 3);

    // A redelivery of one that waits makes its next attempt at once.
    receiver.answer(&[500, 500]);
    let waiting = &api
        .run(&with_webhook(&receiver, job(1, json!({}))))
        .await
        .job_id;
    until("a delivery that waits for minutes", async || {
        let delivery = deliveries(&api, waiting).await.into_iter().next()?;
        (delivery.attempts.len() == 2 && delivery.next_attempt_at.is_some()).then_some(())
    })
    .await;
    assert_eq!(api.act(waiting, "webhooks").await.status(), 202);
    delivery_is(&api, waiting, DeliveryStatus::Delivered).await;

    // Without a worker to query, the api shows what it knows from Temporal alone.
    stack.worker.kill();
    assert_eq!(
        deliveries(&api, waiting).await[0].status,
        DeliveryStatus::Delivered,
        "it has ended"
    );
    start_worker(&mut stack);

    receiver.answer(&[410]);
    let gone = &api
        .run(&with_webhook(&receiver, job(1, json!({}))))
        .await
        .job_id;
    let refused = delivery_is(&api, gone, DeliveryStatus::Refused).await;
    assert_eq!(refused.attempts.len(), 1);

    stack.temporal.kill();
    let answer = api.get_path(&format!("/v1/jobs/{gone}/webhooks")).await;
    assert_eq!(answer.status(), 503, "no state is invented");
}

#[tokio::test]
async fn no_webhook_is_sent_to_a_private_address() {
    let (_stack, api, receiver) = start_with_receiver("webhooks-guard").await;
    let port = receiver.address.port();
    for url in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://localhost:{port}/hook"),
        format!("http://[::ffff:127.0.0.1]:{port}/hook"),
        "http://10.0.0.1/hook".to_owned(),
    ] {
        let mut request = job(1, json!({}));
        request["webhook_url"] = url.clone().into();
        let job = api.run(&request).await;
        let refused = delivery_is(&api, &job.job_id, DeliveryStatus::Refused).await;
        let error = refused.attempts[0].error.as_deref().unwrap();
        assert!(error.contains("not"), "{url}: {refused:#?}");
    }
    assert_eq!(receiver.count(), 0);
}

/// An operator changes the webhook secret of the api and not that of the workers.
#[tokio::test]
async fn a_worker_with_another_webhook_secret_is_not_ready() {
    let receiver = Receiver::start().await;
    let allow = receiver.address.to_string();
    let variables = [
        ("WEBHOOK_ALLOW", allow.as_str()),
        ("METRICS_LISTEN", "127.0.0.1:0"),
    ];
    let options = options_with("webhook-secret", &variables);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let worker = metrics_address(&options.directory, "worker");
    let ready = async || {
        let answer = api.http.get(format!("http://{worker}/readyz")).send();
        let answer = answer.await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let changed = format!("whsec_bmV3bmV3bmV3bmV3bmV3bmV3,{WEBHOOK_SECRET}");
    let variables = [("DARKROOM_WEBHOOK_SECRET", changed)];
    let (_process, address) = stack.spawn_another_api(&variables).await.unwrap();
    let other = api.at(address);
    for (api, is_mismatch) in [(&api, false), (&other, true), (&api, false)] {
        let id = api
            .accepted(&with_webhook(&receiver, job(1, json!({}))))
            .await;
        delivery_is(api, &id, DeliveryStatus::Delivered).await;
        let (status, body) = ready().await;
        assert_eq!(status, if is_mismatch { 503 } else { 200 }, "{body}");
        assert_eq!(
            body.contains("DARKROOM_WEBHOOK_SECRET"),
            is_mismatch,
            "{body}"
        );
        let metrics = api.http.get(format!("http://{worker}/metrics")).send();
        let metrics = metrics.await.unwrap().text().await.unwrap();
        let line = format!("darkroom_webhook_secret_matches {}", u8::from(!is_mismatch));
        assert!(metrics.lines().any(|counted| counted == line), "{line}");
    }
}

/// Delays the manifest until Core has completed a workflow task while the local activity that
/// writes it is running, and kills the worker once the webhook's workflow is started. The next
/// worker replays the end from a history in which this task and the one before count as one: the
/// task after the first output had no commands, without which Core would distinguish them.
#[tokio::test]
async fn an_end_that_was_slow_to_record_has_one_time() {
    // Core completes the task after 80 % of its timeout of five seconds.
    const DELAY: Duration = Duration::from_secs(6);
    let receiver = Receiver::start().await;
    let allow = receiver.address.to_string();
    let options = options("end-time");
    let variables = [("WEBHOOK_ALLOW", allow.as_str())];
    let mut proxied = TestContext::behind_proxy(options.clone(), &variables, None).await;
    let context = &mut proxied.context;
    let gate = RpcGate::start(&context.stack.temporal.address).await;
    context.stack.worker.kill();
    let outputs = context.job_of(&["bytes=1000", "bytes=3000&rate=1000"]);
    let id = context
        .api
        .accepted(&with_webhook(&receiver, outputs))
        .await;
    let manifest = id.manifest_key();
    let delay = Fault::Delay(DELAY);
    proxied
        .proxy
        .plan(manifest.as_str(), Operation::PutObject, delay, 1);
    gate.hold(&id, Rpc::Commands("WebhookDelivery"), Held::Answer);
    let gated = [("TEMPORAL_ADDRESS", gate.address.clone())];
    let worker = context
        .stack
        .spawn_worker("worker-gated", &options.binary, &gated);
    context.stack.worker = worker.unwrap();
    until("the webhook's workflow", async || {
        gate.is_held(&id).then_some(())
    })
    .await;
    restart_worker(&mut context.stack);
    let job = context.api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");

    receiver.until_received(1).await;
    let message = &receiver.messages(&secret(&context.api).await)[0];
    assert_eq!(message.body["timestamp"], json!(job.completed_at));
    let manifest = context.store.get_object().bucket(&context.bucket);
    let manifest = manifest.key(id.manifest_key().as_str()).send().await;
    let manifest = manifest.unwrap().body.collect().await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.into_bytes()).unwrap();
    assert_eq!(manifest["completed_at"], json!(job.completed_at));
}
