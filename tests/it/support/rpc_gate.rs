//! A gRPC proxy between a process and Temporal. It holds selected calls of a job, either before
//! they reach the server or before their answer reaches the client.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use darkroom_client::types::job_id::JobId;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http2::{SendRequest, handshake},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Kind of call that is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rpc {
    /// An activity heartbeat whose details contain these words.
    Records(&'static str),
    /// The completion of an activity.
    Completes,
    /// The start of a run of the job's workflow.
    Starts,
    /// The completion of a workflow task with commands that contain these words.
    Commands(&'static str),
}

/// Point at which a call is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    Request,
    Answer,
}

/// A running gate.
#[derive(Clone)]
pub(crate) struct RpcGate {
    pub(crate) address: String,
    upstream: SocketAddr,
    plans: Arc<Mutex<Vec<Plan>>>,
    /// Number of times that the gate was opened.
    opened: watch::Sender<u32>,
}

struct Plan {
    job_id: JobId,
    rpc: Rpc,
    held: Held,
    is_reached: bool,
}

type Answer = Response<Either<Incoming, Empty<Bytes>>>;

impl RpcGate {
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let gate = Self {
            address,
            upstream: upstream.trim_start_matches("http://").parse().unwrap(),
            plans: Arc::default(),
            opened: watch::Sender::new(0),
        };
        let serving = gate.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(socket));
            }
        });
        gate
    }

    /// Holds these calls of a job from now on.
    pub(crate) fn hold(&self, job_id: &JobId, rpc: Rpc, held: Held) {
        self.plans.lock().unwrap().push(Plan {
            job_id: *job_id,
            rpc,
            held,
            is_reached: false,
        });
    }

    /// True if a planned call of the job has reached the gate.
    pub(crate) fn is_held(&self, job_id: &JobId) -> bool {
        let plans = self.plans.lock().unwrap();
        plans
            .iter()
            .any(|plan| plan.job_id == *job_id && plan.is_reached)
    }

    /// Releases all held calls, and holds no more until the next plan.
    pub(crate) fn open(&self) {
        self.plans.lock().unwrap().clear();
        self.opened.send_modify(|times| *times += 1);
    }

    async fn serve(self, socket: TcpStream) {
        let Ok(upstream) = TcpStream::connect(self.upstream).await else {
            return;
        };
        let Ok((send, connection)) = handshake(TokioExecutor::new(), TokioIo::new(upstream)).await
        else {
            return;
        };
        tokio::spawn(connection);
        let service = service_fn(move |request| self.clone().pass(request, send.clone()));
        // Ignored: either side may close the connection.
        let _ = Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(socket), service)
            .await;
    }

    async fn pass(
        self,
        request: Request<Incoming>,
        mut upstream: SendRequest<Full<Bytes>>,
    ) -> Result<Answer, hyper::Error> {
        // The gate cannot read compressed messages. A client that gets UNIMPLEMENTED sends them
        // again uncompressed.
        if request.headers().contains_key("grpc-encoding") {
            let refused = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "12")
                .header("grpc-message", "no decompressor for this grpc-encoding");
            return Ok(refused.body(Either::Right(Empty::new())).unwrap());
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        let mut opened = self.opened.subscribe();
        if self.holds(Held::Request, &path, &body) {
            let _ = opened.changed().await;
        }
        let request = Request::from_parts(parts, Full::new(body.clone()));
        let answer = upstream.send_request(request).await?;
        if self.holds(Held::Answer, &path, &body) {
            let _ = opened.changed().await;
        }
        Ok(answer.map(Either::Left))
    }

    /// True if a plan holds this call at this point, which it has reached.
    fn holds(&self, point: Held, path: &str, body: &[u8]) -> bool {
        let says = |words: &str| {
            body.windows(words.len())
                .any(|window| window == words.as_bytes())
        };
        let mut plans = self.plans.lock().unwrap();
        let plan = plans.iter_mut().find(|plan| {
            plan.held == point
                && says(&plan.job_id.to_string())
                && match plan.rpc {
                    Rpc::Records(words) => {
                        path.ends_with("/RecordActivityTaskHeartbeat") && says(words)
                    }
                    Rpc::Completes => path.ends_with("/RespondActivityTaskCompleted"),
                    Rpc::Starts => path.ends_with("/StartWorkflowExecution"),
                    Rpc::Commands(words) => {
                        path.ends_with("/RespondWorkflowTaskCompleted") && says(words)
                    }
                }
        });
        let Some(plan) = plan else { return false };
        plan.is_reached = true;
        true
    }
}
