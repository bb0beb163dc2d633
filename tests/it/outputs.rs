//! Predictions with fewer, more or other outputs than requested: outputs that were paid for are
//! kept, each output keeps its index, and missing ones are reported.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use darkroom_client::types::{
    failure::FailureType,
    request::ListMedia,
    resource::Job,
    status::{JobStatus, MediaStatus},
};
use prost::Message;
use reqwest::StatusCode;
use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

use crate::support::{
    api::{Api, Problem},
    harness::{count, failure_type, job, options, report, setting, shared, start},
    workflows::history_of,
};

/// Statuses and names of a job's outputs.
fn outputs(job: &Job) -> Vec<(MediaStatus, Option<&str>)> {
    job.media
        .iter()
        .map(|media| (media.status, media.name.as_deref()))
        .collect()
}

#[tokio::test]
async fn an_output_that_was_withheld_leaves_its_place_empty() {
    let api = Api::of(shared());
    let job = api
        .run(&job(4, json!({"output": ["{0}", null, "{2}", "{3}"]})))
        .await;
    assert_eq!(job.status, JobStatus::Partial, "{job:#?}");
    let (made, withheld) = ((MediaStatus::Completed, None), (MediaStatus::Failed, None));
    assert_eq!(outputs(&job), [made, withheld, made, made]);
    assert_eq!(
        failure_type(job.media[1].error.as_ref()),
        Some(FailureType::OutputNotMade)
    );
    assert_eq!(job.provider.as_ref().unwrap().outputs_made, Some(4));
    let key = job.media[2].s3_key.as_ref().unwrap().as_str();
    assert!(key.ends_with("/2.png"), "{key}");
    // Only another prediction could make the missing output.
    assert_eq!(
        Problem::of(api.act(&job.job_id, "retry").await).await,
        Problem::new(StatusCode::CONFLICT, "generation-needed")
    );
}

#[tokio::test]
async fn fewer_outputs_than_requested_make_a_job_partial() {
    let api = Api::of(shared());
    let job = api.run(&job(4, json!({"outputs": 3}))).await;
    assert_eq!(job.status, JobStatus::Partial, "{job:#?}");
    assert_eq!(count(&job, MediaStatus::Completed), 3);
    assert_eq!(count(&job, MediaStatus::Failed), 1);
    let made = job.provider.as_ref().unwrap().outputs_made;
    assert_eq!((job.num_outputs.get(), made), (4, Some(3)));
    let error = job.media[3].error.as_ref().unwrap();
    assert_eq!(error.kind, FailureType::OutputNotMade);
    assert!(error.detail.ends_with("made 3 of 4 outputs"));
}

#[tokio::test]
async fn outputs_of_a_failed_prediction_are_kept() {
    let api = Api::of(shared());
    let dev = json!({"fail": "out of memory at step 40", "fails_with_outputs": true, "outputs": 2});
    let job = api.run(&job(2, dev)).await;
    assert_eq!(job.status, JobStatus::Partial, "{job:#?}");
    assert_eq!(count(&job, MediaStatus::Completed), 2);
    let error = job.error.unwrap();
    assert_eq!(error.kind, FailureType::GenerationFailed);
    assert_eq!(error.detail, "out of memory at step 40");
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
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    // JSON objects have no order: outputs are sorted by their names.
    let expected = ["stems[0].url", "stems[1].url", "vocals"];
    let expected = expected.map(|name| (MediaStatus::Completed, Some(name)));
    assert_eq!(outputs(&job), expected);
    let kept = json!({
        "vocals": {"media": 2}, "bpm": 120, "missing": null,
        "stems": [{"stem": "bass", "url": {"media": 0}}, {"stem": "drums", "url": {"media": 1}}],
    });
    assert_eq!(job.provider.unwrap().output, Some(kept));
    let url = job.media[2].presigned_media_url.clone().unwrap();
    let fetched = api.http.get(url).send().await.unwrap();
    let disposition = fetched.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(
        disposition,
        "inline; filename=\"vocals.png\"; filename*=UTF-8''vocals.png"
    );
}

/// An MP4 file of 1.5 seconds in Base64, with valid boxes and meaningless media data.
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
async fn outputs_have_dimensions_and_durations() {
    let api = Api::of(shared());
    let video = format!("data:application/octet-stream;base64,{}", movie());
    let job = api.run(&job(2, json!({"output": ["{0}", video]}))).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let (picture, video) = (&job.media[0], &job.media[1]);
    assert!(picture.width > Some(0), "{picture:#?}");
    assert!(picture.height > Some(0), "{picture:#?}");
    assert_eq!((picture.duration_ms, picture.c2pa), (None, Some(false)));
    assert_eq!(video.content_type.as_deref(), Some("video/mp4"));
    assert_eq!((video.width, video.height), (Some(1280), Some(720)));
    assert_eq!(video.duration_ms, Some(1500));
}

/// An output of the provider that is no URL, and the file that it is stored as.
struct StoredText {
    output: Value,
    content_type: &'static str,
    body: &'static str,
}

impl StoredText {
    /// An output that is plain text.
    fn plain(text: &'static str) -> Self {
        Self {
            output: json!(text),
            content_type: "text/plain; charset=utf-8",
            body: text,
        }
    }
}

#[tokio::test]
async fn text_outputs_are_stored() {
    let api = Api::of(shared());
    for StoredText {
        output,
        content_type,
        body,
    } in [
        StoredText::plain("A fox, in the snow."),
        StoredText::plain("/tmp/out.png"),
        StoredText::plain("see https://a.example/b for it"),
        StoredText {
            output: json!({"text": "a", "score": 1}),
            content_type: "application/json",
            body: "{\n  \"score\": 1,\n  \"text\": \"a\"\n}",
        },
    ] {
        let job = api.run(&job(1, json!({"output": output}))).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        let media = &job.media[0];
        assert_eq!(media.content_type.as_deref(), Some(content_type));
        let url = media.presigned_media_url.clone().unwrap();
        assert_eq!(job.provider.unwrap().output, Some(output));
        let fetched = api.http.get(url).send().await.unwrap();
        assert_eq!(fetched.text().await.unwrap(), body);
    }
}

/// Covers a prediction of many files. `DARKROOM_OUTPUTS` sets how many; the default is 1100.
#[tokio::test]
async fn many_outputs_are_stored_and_shown_on_pages() {
    let outputs: usize = setting("DARKROOM_OUTPUTS", 1100);
    let stored = outputs.min(1000);
    let stack = start(&options("many-outputs")).await;
    let api = Api::of(&stack);
    let began = Instant::now();
    let id = api.accepted(&job(100, json!({"outputs": outputs}))).await;
    let job = api.ended_within(&id, Duration::from_mins(10)).await;
    let took = began.elapsed();
    assert_eq!(job.media_counts.completed, stored, "{:#?}", job.error);
    assert_eq!(job.media.len(), 100);
    if outputs > stored {
        assert_eq!(job.status, JobStatus::Partial);
        assert_eq!(
            failure_type(job.error.as_ref()),
            Some(FailureType::TooManyOutputs)
        );
        assert_eq!(
            Problem::of(api.act(&id, "retry").await).await.kind,
            "nothing-to-retry"
        );
    } else {
        assert_eq!(job.status, JobStatus::Completed);
    }

    let mut cursor = job.media_next_cursor;
    let mut shown = 100;
    while cursor.is_some() {
        let limit = Some(90.try_into().unwrap());
        let list = ListMedia { limit, cursor };
        let page = api.client.list_media(&id, &list).await.unwrap();
        for media in page.media {
            assert_eq!(media.index, shown);
            assert_eq!(media.status, MediaStatus::Completed);
            shown += 1;
        }
        cursor = page.next_cursor;
    }
    assert_eq!(shown as usize, stored);

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
