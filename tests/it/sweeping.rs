//! What belongs to nobody is removed, and nothing else.

use aws_sdk_s3::primitives::ByteStream;
use darkroom::dev::versitygw::VersityGateway;
use reqwest::StatusCode;
use serde_json::{Value, json};
use temporalio_client::WorkflowTerminateOptions;

use crate::{
    harness::{job, options, problem_of, until},
    world::{Place, World},
};

async fn put(world: &World, key: &str) {
    let put = world.store.put_object().bucket(&world.bucket).key(key);
    let body = ByteStream::from_static(b"of an attempt that came late");
    put.body(body).send().await.unwrap();
}

#[tokio::test]
async fn the_sweep_removes_what_no_manifest_names() {
    let options = options("sweeping");
    let gateway = VersityGateway::start(&options, &|_: &str| {})
        .await
        .unwrap();
    let place = Place::on_loopback(&gateway.endpoint, &gateway.endpoint);
    let world = World::start(options, &[], Some(place)).await;
    let api = &world.api;
    let completed = api.run(&world.job_of(&["bytes=1000"; 2])).await;
    let completed = completed["job_id"].as_str().unwrap();
    let partial = api.run(&world.job_of(&["bytes=1000", "status=410"])).await;
    let partial = partial["job_id"].as_str().unwrap();
    for id in [completed, partial] {
        put(&world, &format!("jobs/{id}/1.webp")).await;
    }
    // What is not of a job, or of one that is under way, is left alone.
    put(&world, "others/file").await;
    let crawling = world
        .accept(&world.source.url("slow", "bytes=60000000&rate=2000000"))
        .await;
    put(&world, &format!("jobs/{crawling}/1.webp")).await;

    // One that is terminated, with an output in the store and another one on its way.
    let urls = [
        world.source.url("there", "bytes=1000"),
        world.source.url("slow", "bytes=60000000&rate=2000000"),
    ];
    let request = job(2, json!({"urls": urls, "webhooks": 0}));
    let create = || {
        let create = api.http.post(format!("{}/v1/jobs", api.url)).json(&request);
        create.header("Idempotency-Key", "terminated").send()
    };
    let accepted: Value = create().await.unwrap().json().await.unwrap();
    let terminated = accepted["job_id"].as_str().unwrap();
    until("an output that is stored", async || {
        (api.get(terminated).await["media"][0]["status"] == "completed").then_some(())
    })
    .await;
    let client = world.stack.temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<darkroom_workflows::MediaGeneration>(terminated);
    handle
        .terminate(WorkflowTerminateOptions::default())
        .await
        .unwrap();
    until("a job that is listed as terminated", async || {
        let listed: Value = api
            .http
            .get(format!("{}/v1/jobs?limit=100", api.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let mut jobs = listed["jobs"].as_array().unwrap().iter();
        let is_it = |job: &&Value| job["job_id"] == terminated && job["status"] == "failed";
        jobs.find(is_it).map(|_| ())
    })
    .await;
    until("its attempts to be over", async || {
        (world.uploads_of(&[terminated.to_owned()]).await == 0).then_some(())
    })
    .await;

    let named = [
        format!("jobs/{completed}/0.png"),
        format!("jobs/{completed}/1.png"),
        format!("jobs/{completed}/job.json"),
        format!("jobs/{partial}/0.png"),
        format!("jobs/{partial}/job.json"),
    ];
    let swept = world.sweep().await;
    assert_eq!((swept.jobs, swept.removed), (3, 3), "{swept:?}");
    let mut objects = world.objects().await;
    objects.retain(|key| !key.contains(&crawling));
    objects.sort();
    let mut expected = named.to_vec();
    expected.sort();
    assert_eq!(objects, expected);
    assert_eq!(world.keys("others/").await.len(), 1);
    assert_eq!(world.keys(&format!("jobs/{crawling}/")).await.len(), 1);
    // Its key stays taken.
    let (status, kind) = problem_of(create().await.unwrap()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::GONE, "deleted"));

    // What comes later still goes with the next sweep.
    put(&world, &format!("jobs/{terminated}/7.png")).await;
    let again = world.sweep().await;
    assert_eq!(again.removed, 1, "{again:?}");
    assert_eq!(api.ended(&crawling).await["status"], "completed");
}
