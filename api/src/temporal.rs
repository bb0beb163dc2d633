//! The connection to Temporal, and the problems that callers see where it fails. The api serves
//! without a connection, says so, and connects as soon as there is a server.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use darkroom_temporal::{
    TemporalConfig,
    call::is_unavailable,
    history::{History, HistoryError},
    start::StartError,
};
use temporalio_client::{
    Client, QueryRejectCondition, RpcOptions, WorkflowDescribeOptions, WorkflowGetResultOptions,
    WorkflowHandle, WorkflowQueryOptions,
    errors::{WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError},
    tonic::{Code, Status},
};
use temporalio_common::{
    HasWorkflowDefinition, data_converters::TemporalDeserializable, error::IncomingError,
};
use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

/// How long Temporal may take to answer one call.
const RPC_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a worker may take to answer a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a workflow may take to close once its work is done.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection that is made in the background.
#[derive(Clone)]
pub(crate) struct Temporal {
    client: Arc<OnceLock<Client>>,
}

impl Temporal {
    /// Starts to connect, for as long as it takes.
    pub(crate) fn connect(config: TemporalConfig, shutdown: CancellationToken) -> Self {
        let client = Arc::new(OnceLock::new());
        let connected = Arc::clone(&client);
        tokio::spawn(async move {
            if let Some(client) = config.connect_with_retries(&shutdown).await {
                // Only this task ever sets it.
                let _ = connected.set(client);
                tracing::info!(namespace = config.namespace(), "connected to Temporal");
            }
        });
        Self { client }
    }

    /// The client, once there is one.
    ///
    /// # Errors
    /// A problem for the caller if there is none yet.
    pub(crate) fn client(&self) -> Result<&Client, Problem> {
        self.client.get().ok_or_else(away)
    }
}

/// Options for a call that a caller waits for.
pub(crate) fn rpc_options() -> RpcOptions {
    RpcOptions::builder().timeout(RPC_TIMEOUT).build()
}

/// Options for a query: a worker answers soon or is not there, and what a closed workflow left is
/// read without one.
pub(crate) fn query_options() -> WorkflowQueryOptions {
    WorkflowQueryOptions::builder()
        .reject_condition(QueryRejectCondition::NotOpen)
        .rpc_options(RpcOptions::builder().timeout(QUERY_TIMEOUT).build())
        .build()
}

/// Options for a description.
pub(crate) fn describe_options() -> WorkflowDescribeOptions {
    WorkflowDescribeOptions::builder()
        .rpc_options(rpc_options())
        .build()
}

/// Options for the result that [`ending`] waits for.
pub(crate) fn result_options() -> WorkflowGetResultOptions {
    WorkflowGetResultOptions::builder()
        .rpc_options(rpc_options())
        .build()
}

/// What a workflow left when it closed.
pub(crate) enum Ending<T> {
    /// Its state: as its result, or in the details of its failure or cancellation.
    Recorded(T),
    /// Nothing: it was ended from outside.
    Unrecorded,
    /// Temporal knows nothing of it any more.
    Forgotten,
    /// It has not closed after all.
    Open,
}

/// Waits for what a workflow leaves when it closes, which it is about to do if it has not.
pub(crate) async fn ending<T>(
    result: impl Future<Output = Result<T, WorkflowGetResultError>>,
) -> Result<Ending<T>, Problem>
where
    T: TemporalDeserializable + 'static,
{
    let Ok(result) = tokio::time::timeout(CLOSE_TIMEOUT, result).await else {
        return Ok(Ending::Open);
    };
    let recorded = match result {
        Ok(state) => Some(state),
        Err(WorkflowGetResultError::Failed(failure)) => match *failure {
            IncomingError::Application(failure) => failure.details().ok().flatten(),
            _ => None,
        },
        Err(WorkflowGetResultError::Cancelled { details }) => details.deserialize().ok(),
        Err(WorkflowGetResultError::NotFound(_)) => return Ok(Ending::Forgotten),
        Err(WorkflowGetResultError::Rpc(status)) => return Err(problem(&status)),
        Err(_) => None,
    };
    Ok(recorded.map_or(Ending::Unrecorded, Ending::Recorded))
}

/// Whether a workflow was started; `false` if its id is taken.
pub(crate) fn started<H>(result: Result<H, WorkflowStartError>) -> Result<bool, Problem> {
    match result {
        Ok(_) => Ok(true),
        Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(false),
        Err(WorkflowStartError::Rpc(status)) => Err(problem(&status)),
        Err(error) => {
            tracing::error!(%error, "cannot start a workflow");
            Err(Problem::internal())
        }
    }
}

/// Problem of a workflow that cannot be started.
pub(crate) fn start_problem(error: &StartError) -> Problem {
    match error {
        StartError::Call(status) => problem(status),
        StartError::Payload(_) => {
            tracing::error!(%error, "cannot start a workflow");
            Problem::internal()
        }
    }
}

/// Problem of a history that cannot be read.
pub(crate) fn history_problem(error: HistoryError) -> Problem {
    match error {
        HistoryError::Interaction(error) => interaction_problem(error),
        HistoryError::Payload(_) | HistoryError::NoStart => {
            tracing::error!(%error, "cannot read a history");
            Problem::internal()
        }
    }
}

/// History of a workflow's latest run.
pub(crate) fn history<W>(handle: &WorkflowHandle<Client, W>) -> History
where
    W: HasWorkflowDefinition + 'static,
{
    History::of(handle, rpc_options())
}

/// What a caller is told of a workflow that cannot be read or written.
pub(crate) fn interaction_problem(error: WorkflowInteractionError) -> Problem {
    match error {
        // The namespace is missing, not the job.
        WorkflowInteractionError::NotFound(status) if is_unfinished(&status) => problem(&status),
        WorkflowInteractionError::NotFound(_) => Problem::not_found("job"),
        WorkflowInteractionError::Rpc(status) => problem(&status),
        error => {
            tracing::error!(%error, "cannot read a workflow");
            Problem::internal()
        }
    }
}

/// What a caller is told of a failed call to Temporal.
pub(crate) fn problem(status: &Status) -> Problem {
    if is_unavailable(status) {
        return away();
    }
    tracing::error!(code = ?status.code(), reason = status.message(), "Temporal refused a call");
    if is_unfinished(status) {
        let detail = "Temporal is not set up; /readyz says what is missing";
        return Problem::new(Kind::TemporalUnavailable, detail).retry_after(30);
    }
    Problem::internal()
}

/// Whether a call failed for want of the namespace, or of a search attribute: the server has no
/// other word for these.
fn is_unfinished(status: &Status) -> bool {
    let said = status.message().to_ascii_lowercase();
    match status.code() {
        Code::NotFound => said.contains("namespace"),
        Code::InvalidArgument => said.contains("search attribute"),
        _ => false,
    }
}

/// What a caller is told while there is no Temporal.
pub(crate) fn away() -> Problem {
    Problem::new(
        Kind::TemporalUnavailable,
        "Temporal cannot be reached; try again",
    )
    .retry_after(2)
}
