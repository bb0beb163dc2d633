//! Outputs saved as files: complete, verified, and under the requested paths.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use darkroom_client::{Client, Error};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Outcome, darkroom, dev, fresh_home, run};
use crate::support::{
    context::TestContext,
    harness::{BINARY, fresh_directory, job, options, shared, until},
    processes::signal_id,
    proxy::{Fault, Operation},
};

fn sha256(path: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

#[test]
fn saved_files_match_the_job_and_a_pipe_gets_their_paths() {
    let directory = fresh_directory("saved");
    let template = format!(
        "{}/{{model}}/{{job}}/{{index}}.{{ext}}",
        directory.display()
    );
    let outcome = run(&[
        "run",
        "acme/photo",
        "a fox",
        "-n",
        "3",
        "--format",
        "png",
        "--save",
        &template,
    ]);
    assert_eq!(outcome.exit_code, 0, "{outcome:#?}");
    let paths: Vec<_> = outcome.stdout.lines().map(Path::new).collect();
    assert_eq!(paths.len(), 3, "{outcome:#?}");
    let id = outcome.stderr.split(' ').nth(1).unwrap();
    let job = run(&["jobs", "get", id, "-o", "json"]).json();
    for (path, media) in paths.iter().zip(job["media"].as_array().unwrap()) {
        let expected = directory.join(format!("acme-photo/{id}/{}.png", media["index"]));
        assert_eq!(*path, expected);
        assert_eq!(media["sha256"], sha256(path));
    }
    let beside = std::fs::read_dir(paths[0].parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(beside, 3, "nothing is left beside them");

    let later = directory.join("later");
    let saved = run(&["jobs", "save", id, later.to_str().unwrap()]);
    assert_eq!(saved.exit_code, 0, "{saved:#?}");
    assert_eq!(sha256(&later.join(format!("{id}-2.png"))), sha256(paths[2]));
}

#[test]
fn stored_outputs_of_a_partial_job_are_saved() {
    let directory = fresh_directory("saved-partial");
    let partial = dev(r#"{"bytes": 1024, "missing": [0]}"#);
    let to = directory.to_str().unwrap();
    let outcome = run(&[
        "run",
        "acme/photo",
        "a fox",
        "-n",
        "2",
        "-i",
        &partial,
        "--save",
        to,
    ]);
    assert_eq!(outcome.exit_code, 3, "{outcome:#?}");
    assert_eq!(outcome.stdout.lines().count(), 1, "{outcome:#?}");
    assert!(outcome.stdout.trim().ends_with("-1.png"), "{outcome:#?}");
    assert!(outcome.stderr.contains("output 1: "), "{outcome:#?}");
    // The provider has removed the other one: a free retry could not fetch it.
    assert!(outcome.stderr.contains(" --regenerate"), "{outcome:#?}");
}

#[test]
fn without_save_a_pipe_gets_presigned_urls() {
    let outcome = run(&["run", "acme/photo", "a fox", "-n", "2"]);
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:#?}");
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.contains("X-Amz-Signature=")),
        "{outcome:#?}"
    );
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let outcome = run(&["run", "acme/photo", "a fox", "--save", "/proc/nowhere"]);
    assert_eq!(outcome.exit_code, 1, "{outcome:#?}");
    assert!(
        outcome.stderr.contains("cannot create /proc/nowhere"),
        "{outcome:#?}"
    );
}

/// The whole output is one write, which fails as late as it can.
#[test]
fn an_output_that_the_disk_does_not_take_is_not_saved() {
    let short = dev(r#"{"bytes": 100}"#);
    let accepted = run(&["run", "acme/photo", "a fox", "-i", &short]);
    let id = accepted.stderr.split(' ').nth(1).unwrap();
    let directory = fresh_directory("saved-full");
    std::fs::create_dir_all(&directory).unwrap();
    let without_space = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let saving = Command::new("sh")
        .args(["-c", without_space, BINARY, "jobs", "save", id])
        .arg(&directory)
        .env_clear()
        .env("HOME", fresh_home())
        .env("DARKROOM_URL", shared().api_url())
        .output();
    let saved = Outcome::of(saving.unwrap());
    assert_eq!(saved.exit_code, 1, "{saved:#?}");
    assert!(saved.stderr.contains("cannot write"), "{saved:#?}");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

#[tokio::test]
async fn ctrl_c_ends_a_command_that_saves_outputs() {
    let proxied = TestContext::behind_proxy(options("saving-stopped"), &[], None).await;
    let (context, proxy) = (&proxied.context, &proxied.proxy);
    let ended = context.api.run(&job(1, json!({"inline": true}))).await;
    let id = ended.job_id.to_string();
    let output = format!("{id}/0.");
    let never = Fault::LateBody(Duration::from_hours(1));
    proxy.plan(&output, Operation::GetObject, never, 1);
    let directory = fresh_directory("saved-never");
    let arguments = ["jobs", "watch", &id, "--save", directory.to_str().unwrap()];
    let watching = darkroom(&context.api.url, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("a download", async || {
        (proxy.left(&output) == 0).then_some(())
    })
    .await;
    signal_id(watching.id(), "INT");
    let watched = Outcome::of(watching.wait_with_output().unwrap());
    assert_eq!(watched.exit_code, 130, "{watched:#?}");
    let remedy = format!("darkroom jobs save {id}");
    assert!(watched.stderr.contains(&remedy), "{watched:#?}");
}

#[tokio::test]
async fn a_corrupt_output_is_not_saved() {
    let context = TestContext::start(options("corrupt"), &[], None).await;
    let client = Client::builder(context.api.url.parse().unwrap())
        .build()
        .unwrap();
    let request = serde_json::from_value(job(1, json!({"inline": true}))).unwrap();
    let accepted = client.create_job(&request).await.unwrap();
    let ended = client.wait(&accepted.job_id).await.unwrap();
    let media = &ended.media[0];
    let length = usize::try_from(media.size.unwrap()).unwrap();
    let key = media.s3_key.as_ref().unwrap().as_str();
    context.put_object(key, vec![7; length]).await;

    let directory = fresh_directory("corrupt-files");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("0.png");
    std::fs::write(&path, "what was there before").unwrap();
    let saved = client.save(&ended.job_id, media, &path).await;
    assert!(
        matches!(saved, Err(Error::Corrupt { index: 0, .. })),
        "{saved:?}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"what was there before");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
}
