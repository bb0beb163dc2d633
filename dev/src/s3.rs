//! An S3 server in this process, over real HTTP, with its objects as files.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue},
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, task::AbortHandle};

/// Name of the bucket.
pub const BUCKET: &str = "darkroom";

/// Access key. It protects nothing but a server on loopback.
pub const ACCESS_KEY: &str = "darkroom";

/// Secret key of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "darkroom-on-loopback";

/// A running server. Dropping it stops it.
pub struct S3Server {
    /// Endpoint URL.
    pub endpoint: String,
    accepting: AbortHandle,
}

impl S3Server {
    /// Serves the files below `root`.
    ///
    /// # Errors
    /// If the directory cannot be created or served.
    pub fn start(root: &Path, listener: TcpListener) -> Result<Self> {
        let bucket = root.join(BUCKET);
        std::fs::create_dir_all(&bucket)
            .with_context(|| format!("cannot create {}", bucket.display()))?;
        let files = FileSystem::new(root)
            .map_err(|error| anyhow!("cannot serve {}: {error:?}", root.display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let endpoint = format!("http://{}", listener.local_addr()?);
        let accepting = tokio::spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    // Most likely out of file descriptors: connections must end before the next
                    // attempt.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let service = service.clone();
                let open = service_fn(move |request| answer_any_page(service.clone(), request));
                let connection = http
                    .serve_connection(TokioIo::new(socket), open)
                    .into_owned();
                tokio::spawn(async move {
                    // Ignored: the client has disconnected.
                    let _ = connection.await;
                });
            }
        });
        Ok(Self {
            endpoint,
            accepting: accepting.abort_handle(),
        })
    }
}

/// Adds the CORS header that lets pages of every origin read presigned URLs, as a bucket with a
/// CORS rule does.
async fn answer_any_page(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let mut response = Service::call(&service, request).await?;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
