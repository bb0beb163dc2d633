//! Many outputs of one host over HTTP/2, where they share one connection: none may block the
//! others.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use darkroom_client::types::status::JobStatus;
use http_body_util::Full;
use hyper::{Response, Version, body::Incoming, service::service_fn};
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
    let (address, certificate) = serve(versions).await;
    let directory = fresh_directory("http2-certificate");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("certificate.pem");
    std::fs::write(&path, certificate).unwrap();
    let allow = address.to_string();
    let variables = [
        ("SSL_CERT_FILE", path.to_str().unwrap()),
        ("SOURCE_ALLOW", allow.as_str()),
        ("PERSIST_MEMORY", "32MiB"),
    ];
    let stack = start(&options_with("http2", &variables)).await;
    let api = Api::of(&stack);
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

/// Starts a host that speaks HTTP/2 over TLS. Returns its address and its certificate as PEM.
async fn serve(versions: mpsc::UnboundedSender<Version>) -> (SocketAddr, String) {
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
    let file = Bytes::from(source::file(LENGTH));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, versions, file) = (acceptor.clone(), versions.clone(), file.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else {
                    return;
                };
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let (versions, file) = (versions.clone(), file.clone());
                    async move {
                        let _ = versions.send(request.version());
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(file)))
                    }
                });
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, signed.cert.pem())
}
