//! What a prediction made, fewer, more or other than was asked for: what was paid for is kept, each output keeps its place, and
//! what is missing is told.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

use crate::{
    faults::report,
    harness::{Api, count, history_of, job, options, problem_of, shared, start, until_within},
};

/// The statuses and names of a job's outputs.
fn outputs(job: &Value) -> Vec<(&str, Option<&str>)> {
    let media = job["media"].as_array().unwrap();
    media
        .iter()
        .map(|media| (media["status"].as_str().unwrap(), media["name"].as_str()))
        .collect()
}

#[tokio::test]
async fn an_output_that_was_withheld_leaves_its_place_empty() {
    let api = Api::of(shared());
    let job = api
        .run(&job(4, json!({"output": ["{0}", null, "{2}", "{3}"]})))
        .await;
    assert_eq!(job["status"], "partial", "{job:#}");
    assert_eq!(
        outputs(&job),
        ["completed", "failed", "completed", "completed"].map(|status| (status, None))
    );
    assert_eq!(job["media"][1]["error"]["type"], "OutputNotMade");
    assert_eq!(job["provider"]["outputs_made"], 4);
    let key = job["media"][2]["s3_key"].as_str().unwrap();
    assert!(key.ends_with("/2.png"), "{key}");
    // Only another prediction could make it.
    let id = job["job_id"].as_str().unwrap();
    let (status, kind) = problem_of(api.act(id, "retry").await).await;
    assert_eq!((status.as_u16(), kind.as_str()), (409, "generation-needed"));
}

#[tokio::test]
async fn fewer_outputs_than_were_asked_for_are_not_all() {
    let api = Api::of(shared());
    let job = api.run(&job(4, json!({"outputs": 3}))).await;
    assert_eq!(job["status"], "partial", "{job:#}");
    assert_eq!((count(&job, "completed"), count(&job, "failed")), (3, 1));
    assert_eq!(
        (&job["num_outputs"], &job["provider"]["outputs_made"]),
        (&json!(4), &json!(3))
    );
    let error = &job["media"][3]["error"];
    assert_eq!(error["type"], "OutputNotMade");
    assert!(
        error["detail"]
            .as_str()
            .unwrap()
            .ends_with("made 3 of 4 outputs")
    );
}

#[tokio::test]
async fn what_a_failed_prediction_made_is_kept() {
    let api = Api::of(shared());
    let dev = json!({"fail": "out of memory at step 40", "fails_with_outputs": true, "outputs": 2});
    let job = api.run(&job(2, dev)).await;
    assert_eq!(job["status"], "partial", "{job:#}");
    assert_eq!(count(&job, "completed"), 2);
    assert_eq!(job["error"]["type"], "GenerationFailed");
    assert_eq!(job["error"]["detail"], "out of memory at step 40");
}

#[tokio::test]
async fn outputs_with_names_say_where_in_the_answer_they_were() {
    let stack = shared();
    let api = Api::of(stack);
    let output = json!({
        "vocals": "{0}", "bpm": 120, "missing": null,
        "stems": [{"stem": "bass", "url": "{1}"}, {"stem": "drums", "url": "{2}"}],
    });
    let job = api.run(&job(3, json!({"output": output}))).await;
    assert_eq!(job["status"], "completed", "{job:#}");
    // An object has no order of its own, and comes in that of its names.
    assert_eq!(
        outputs(&job),
        [
            ("completed", Some("stems[0].url")),
            ("completed", Some("stems[1].url")),
            ("completed", Some("vocals")),
        ]
    );
    let kept = json!({
        "vocals": {"media": 2}, "bpm": 120, "missing": null,
        "stems": [{"stem": "bass", "url": {"media": 0}}, {"stem": "drums", "url": {"media": 1}}],
    });
    assert_eq!(job["provider"]["output"], kept);
    let url = job["media"][2]["presigned_media_url"].as_str().unwrap();
    let fetched = api.http.get(url).send().await.unwrap();
    let disposition = fetched.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(
        disposition,
        "inline; filename=\"vocals.png\"; filename*=UTF-8''vocals.png"
    );
}

/// A video of a second and a half, of which nothing but the boxes is true.
fn movie() -> String {
    let boxed = |kind: &[u8; 4], inside: &[u8]| {
        let length = u32::try_from(inside.len() + 8).unwrap();
        [&length.to_be_bytes()[..], kind, inside].concat()
    };
    let (mut movie, mut track) = (vec![0; 100], vec![0; 84]);
    movie[12..16].copy_from_slice(&1000_u32.to_be_bytes());
    movie[16..20].copy_from_slice(&1500_u32.to_be_bytes());
    track[76..78].copy_from_slice(&1280_u16.to_be_bytes());
    track[80..82].copy_from_slice(&720_u16.to_be_bytes());
    let tracks = boxed(b"trak", &boxed(b"tkhd", &track));
    let file = [
        boxed(b"ftyp", b"dash\0\0\x02\0"),
        boxed(b"mdat", &[7; 5000]),
        boxed(b"moov", &[boxed(b"mvhd", &movie), tracks].concat()),
    ];
    BASE64_STANDARD.encode(file.concat())
}

#[tokio::test]
async fn what_can_be_seen_of_an_output_is_told() {
    let api = Api::of(shared());
    let video = format!("data:application/octet-stream;base64,{}", movie());
    let job = api.run(&job(2, json!({"output": ["{0}", video]}))).await;
    assert_eq!(job["status"], "completed", "{job:#}");
    let (picture, video) = (&job["media"][0], &job["media"][1]);
    assert!(
        picture["width"].as_u64().is_some_and(|width| width > 0),
        "{picture}"
    );
    assert!(
        picture["height"].as_u64().is_some_and(|height| height > 0),
        "{picture}"
    );
    assert_eq!(
        (&picture["duration_ms"], &picture["c2pa"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(video["content_type"], "video/mp4");
    assert_eq!(
        (&video["width"], &video["height"], &video["duration_ms"]),
        (&json!(1280), &json!(720), &json!(1500))
    );
}

#[tokio::test]
async fn paid_text_can_be_had() {
    let api = Api::of(shared());
    for (output, content_type, body) in [
        (
            json!("A fox, in the snow."),
            "text/plain; charset=utf-8",
            "A fox, in the snow.",
        ),
        (
            json!("/tmp/out.png"),
            "text/plain; charset=utf-8",
            "/tmp/out.png",
        ),
        (
            json!("see https://a.example/b for it"),
            "text/plain; charset=utf-8",
            "see https://a.example/b for it",
        ),
        (
            json!({"text": "a", "score": 1}),
            "application/json",
            "{\n  \"score\": 1,\n  \"text\": \"a\"\n}",
        ),
    ] {
        let job = api.run(&job(1, json!({"output": output}))).await;
        assert_eq!(job["status"], "completed", "{job:#}");
        assert_eq!(job["media"][0]["content_type"], content_type);
        assert_eq!(job["provider"]["output"], output);
        let url = job["media"][0]["presigned_media_url"].as_str().unwrap();
        let fetched = api.http.get(url).send().await.unwrap();
        assert_eq!(fetched.text().await.unwrap(), body);
    }
}

/// A prediction of many files. Bounded by default; `DARKROOM_OUTPUTS` sets how many.
#[tokio::test]
async fn many_outputs_are_stored_and_shown_on_pages() {
    const OUTPUTS: usize = 1100;
    let outputs =
        std::env::var("DARKROOM_OUTPUTS").map_or(OUTPUTS, |outputs| outputs.parse().unwrap());
    let stored = outputs.min(1000);
    let stack = start(&options("many-outputs")).await;
    let api = Api::of(&stack);
    let began = Instant::now();
    let id = api.accepted(&job(100, json!({"outputs": outputs}))).await;
    let job = until_within(
        "the end of a large job",
        Duration::from_mins(10),
        async || {
            let job = api.get(&id).await;
            job["completed_at"].is_string().then_some(job)
        },
    )
    .await;
    let took = began.elapsed();
    assert_eq!(
        job["media_counts"]["completed"], stored,
        "{:#}",
        job["error"]
    );
    assert_eq!(job["media"].as_array().unwrap().len(), 100);
    if outputs > stored {
        assert_eq!(
            (&job["status"], &job["error"]["type"]),
            (&json!("partial"), &json!("TooManyOutputs"))
        );
        assert_eq!(
            problem_of(api.act(&id, "retry").await).await.1,
            "nothing-to-retry"
        );
    } else {
        assert_eq!(job["status"], "completed");
    }

    let mut cursor = job["media_next_cursor"].clone();
    let mut shown = 100;
    while let Some(at) = cursor.as_str() {
        let url = format!("{}/v1/jobs/{id}/media?limit=90&cursor={at}", api.url);
        let page: Value = api
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        for media in page["media"].as_array().unwrap() {
            assert_eq!(
                (&media["index"], &media["status"]),
                (&json!(shown), &json!("completed"))
            );
            shown += 1;
        }
        cursor = page["next_cursor"].clone();
    }
    assert_eq!(shown, stored);

    let events = history_of(&stack, &id).await;
    let (mut pending, mut most, mut largest) = (0, 0, 0);
    for event in &events {
        largest = largest.max(event.encoded_len());
        match event.event_type() {
            EventType::ActivityTaskScheduled => pending += 1,
            EventType::ActivityTaskCompleted => pending -= 1,
            _ => {}
        }
        most = most.max(pending);
    }
    report(&format!(
        "{outputs} outputs: {took:?}, {} events, {most} pending at most, the largest event has {largest} bytes",
        events.len()
    ));
    assert!(
        most <= 256 && largest < 1024 * 1024,
        "{most} pending, {largest} bytes"
    );
}
