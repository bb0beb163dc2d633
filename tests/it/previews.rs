//! Previews: small pictures that are stored and deleted together with their outputs.

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Url;
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    context::TestContext,
    harness::{options, shared, until},
};

/// Request for a job that makes a real picture. `dev` is the script of the embedded provider.
fn picture(dev: &Value) -> Value {
    let input = json!({"dev": dev});
    json!({"model": "acme/photo", "prompt": "hills", "output_format": "png", "input": input})
}

async fn fetched(api: &Api, url: Url) -> (String, Vec<u8>) {
    let answer = api.http.get(url).send().await.unwrap();
    let answer = answer.error_for_status().unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap();
    let content_type = content_type.to_owned();
    (content_type, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn pictures_have_previews_and_other_outputs_do_not() {
    let api = Api::of(shared());
    // There is one thread for previews. An output that waits too long for it gets none.
    let done = until("a picture with a preview", async || {
        let done = api
            .run(&picture(&json!({"output": ["{0}", "a caption"]})))
            .await;
        done.media[0].thumbhash.is_some().then_some(done)
    })
    .await;
    let stored = &done.media[0];
    let url = stored.presigned_preview_url.clone().unwrap();
    let (content_type, bytes) = fetched(&api, url).await;
    assert_eq!(content_type, "image/jpeg");
    let preview = image::load_from_memory(&bytes).unwrap();
    let (width, height) = (f64::from(preview.width()), f64::from(preview.height()));
    assert_eq!(preview.width().max(preview.height()), 512, "{stored:#?}");
    let pixels = |side: Option<u32>| f64::from(side.unwrap());
    let aspect_ratio = pixels(stored.width) / pixels(stored.height);
    assert!((width / height - aspect_ratio).abs() < 0.01);
    let hash = stored.thumbhash.as_deref().unwrap();
    assert!(BASE64_STANDARD.decode(hash).unwrap().len() < 40);
    for caption in &done.media[1..] {
        assert_eq!(caption.presigned_preview_url, None);
        assert_eq!(caption.thumbhash, None);
    }
}

#[tokio::test]
async fn a_preview_is_deleted_with_its_job_and_not_before() {
    let context = TestContext::start(options("previews"), &[], None).await;
    let id = until("a picture with a preview", async || {
        // Inline, as workers of this stack may download only from its source host.
        let done = context.api.run(&picture(&json!({"inline": true}))).await;
        done.media[0].thumbhash.is_some().then_some(done.job_id)
    })
    .await;
    let prefix = format!("jobs/{id}/");
    let kept = ["0.png", "job.json", "previews/0.jpg"].map(|name| format!("{prefix}{name}"));
    let swept = context.sweep().await;
    assert_eq!((swept.removed, swept.failed), (0, 0));
    assert_eq!(context.keys(&prefix).await, kept);
    context.api.client.delete_job(&id).await.unwrap();
    until("the end of what it had", async || {
        context.keys(&prefix).await.is_empty().then_some(())
    })
    .await;
}
