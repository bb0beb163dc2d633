//! Outputs of one host over HTTP/2: many share one connection, and none may block the others; one
//! that ends early may look whole.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use darkroom_client::types::status::JobStatus;
use darkroom_dev::Stack;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Response, Version,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

use crate::support::{
    api::Api,
    harness::{fresh_directory, job, options_with, start},
    source,
};

const LENGTH: usize = 5_000_000;
const OUTPUTS: usize = 40;

#[tokio::test]
async fn outputs_of_one_host_share_a_connection() {
    let (versions, mut received) = mpsc::unbounded_channel();
    let whole = Bytes::from(source::file(LENGTH));
    let file = move |version| {
        let _ = versions.send(version);
        Full::new(whole.clone())
            .map_err(|never| match never {})
            .boxed()
    };
    let (_stack, api, address) = start_with_host("http2", file).await;
    let urls: Vec<_> = (0..OUTPUTS)
        .map(|index| format!("https://{address}/{index}"))
        .collect();
    let job = api.run(&job(1, json!({"urls": urls}))).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    for media in job.media {
        assert_eq!(
            (media.size, media.attempts),
            (Some(LENGTH as u64), Some(1)),
            "{media:#?}"
        );
    }
    assert_eq!(received.recv().await, Some(Version::HTTP_2));
}

/// A stream that is reset without an error ends as if it were whole, if no length was announced.
#[tokio::test]
async fn an_output_without_a_length_is_compared() {
    let requests = AtomicUsize::new(0);
    let whole = source::file(LENGTH);
    let file = move |_| {
        let (half, rest) = whole.split_at(LENGTH / 2);
        let half = Bytes::copy_from_slice(half);
        let rest = match requests.fetch_add(1, Ordering::Relaxed) {
            0 => Err(h2::Error::from(h2::Reason::NO_ERROR)),
            _ => Ok(Bytes::copy_from_slice(rest)),
        };
        // A reset overtakes what is still to be sent.
        let rest = tokio::time::sleep(Duration::from_secs(2)).map(|()| rest);
        let pieces = stream::once(async { Ok(half) }).chain(rest.into_stream());
        BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data)))
    };
    let (_stack, api, address) = start_with_host("http2-cut", file).await;
    let url = format!("https://{address}/cut");
    let job = api.run(&job(1, json!({"urls": [url]}))).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let media = &job.media[0];
    assert_eq!(media.size, Some(LENGTH as u64), "{media:#?}");
    assert_eq!(media.attempts, Some(2), "{media:#?}");
}

/// Body of a file, as the host sends it.
type Body = BoxBody<Bytes, h2::Error>;

/// Starts a host with this file, and a stack that trusts its certificate.
async fn start_with_host(
    name: &str,
    file: impl Fn(Version) -> Body + Send + Sync + 'static,
) -> (Stack, Api, SocketAddr) {
    let (address, certificate) = serve(Arc::new(file)).await;
    let directory = fresh_directory(&format!("{name}-certificate"));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("certificate.pem");
    std::fs::write(&path, certificate).unwrap();
    let allow = address.to_string();
    let variables = [
        ("SSL_CERT_FILE", path.to_str().unwrap()),
        ("SOURCE_ALLOW", allow.as_str()),
        ("PERSIST_MEMORY", "32MiB"),
    ];
    let stack = start(&options_with(name, &variables)).await;
    let api = Api::of(&stack);
    (stack, api, address)
}

/// Starts a host that speaks HTTP/2 over TLS. Returns its address and its certificate as PEM.
async fn serve(
    body_of: Arc<impl Fn(Version) -> Body + Send + Sync + 'static>,
) -> (SocketAddr, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, body_of) = (acceptor.clone(), Arc::clone(&body_of));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else {
                    return;
                };
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let response = Response::new(body_of(request.version()));
                    async { Ok::<_, std::convert::Infallible>(response) }
                });
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, signed.cert.pem())
}
