//! Temporary credentials: a presigned URL expires no later than the credentials that sign it.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use darkroom_client::types::status::JobStatus;
use darkroom_dev::s3;

use crate::support::{
    api::Api,
    harness::{job, options_with, start},
};

/// Lifetime of the credentials: shorter than the usual lifetime of a presigned URL.
const LIFETIME: Duration = Duration::from_mins(20);

/// Serves credentials as a container credential provider does, and returns its URL:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
async fn credential_provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut socket = BufReader::new(socket);
            let mut line = String::new();
            while socket.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                line.clear();
            }
            let expiration = Timestamp::try_from(SystemTime::now() + LIFETIME).unwrap();
            let body = json!({
                "AccessKeyId": s3::ACCESS_KEY, "SecretAccessKey": s3::SECRET_KEY, "Token": "a-token",
                "Expiration": expiration.to_string(),
            });
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.get_mut().write_all((head + &body).as_bytes()).await;
        }
    });
    format!("http://{address}/credentials")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_expires_no_later_than_its_credentials() {
    let url = credential_provider().await;
    let variables = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
    ];
    let stack = start(&options_with("credentials", &variables)).await;
    let api = Api::of(&stack);
    let job = api.run(&job(1, json!({}))).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let url = job.media[0].presigned_media_url.clone().unwrap();
    let parameter = |name: &str| {
        let mut pairs = url.query_pairs();
        let (_, value) = pairs.find(|(other, _)| other == name).unwrap();
        value.into_owned()
    };
    assert_eq!(parameter("X-Amz-Security-Token"), "a-token");
    let signed = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", parameter("X-Amz-Date")).unwrap();
    let signed = signed
        .to_datetime()
        .unwrap()
        .to_zoned(TimeZone::UTC)
        .unwrap()
        .timestamp();
    let ends = signed + Duration::from_secs(parameter("X-Amz-Expires").parse().unwrap());
    let credentials_end = Timestamp::now() + LIFETIME;
    assert!(
        ends > Timestamp::now() && ends <= credentials_end,
        "{ends} {credentials_end}"
    );
    let answer = api.http.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
