//! The connection to Temporal, and the problem details of its failures. The api starts without a
//! connection, answers 503 until there is one, and retries in the background.

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

/// Timeout of one call.
const RPC_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a worker's answer to a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for a workflow that is about to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection that is established in the background.
#[derive(Clone)]
pub(crate) struct Temporal {
    client: Arc<OnceLock<Client>>,
}

impl Temporal {
    /// Starts to connect, and retries until `shutdown`.
    pub(crate) fn connect(config: TemporalConfig, shutdown: CancellationToken) -> Self {
        let client = Arc::new(OnceLock::new());
        let connected = Arc::clone(&client);
        tokio::spawn(async move {
            if let Some(client) = config.connect_with_retries(&shutdown).await {
                // Ignored: only this task sets it.
                let _ = connected.set(client);
                tracing::info!(namespace = config.namespace(), "connected to Temporal");
            }
        });
        Self { client }
    }

    /// Returns the client.
    ///
    /// # Errors
    /// If there is no connection yet.
    pub(crate) fn client(&self) -> Result<&Client, Problem> {
        self.client.get().ok_or_else(unavailable)
    }
}

/// Returns the options of a call that a caller waits for.
pub(crate) fn rpc_options() -> RpcOptions {
    RpcOptions::builder().timeout(RPC_TIMEOUT).build()
}

/// Returns the options of a query. Its timeout is short: a worker that is there answers at once. A
/// closed workflow is not queried, because its result holds its state.
pub(crate) fn query_options() -> WorkflowQueryOptions {
    WorkflowQueryOptions::builder()
        .reject_condition(QueryRejectCondition::NotOpen)
        .rpc_options(RpcOptions::builder().timeout(QUERY_TIMEOUT).build())
        .build()
}

/// Returns the options of a description.
pub(crate) fn describe_options() -> WorkflowDescribeOptions {
    WorkflowDescribeOptions::builder()
        .rpc_options(rpc_options())
        .build()
}

/// Returns the options of the result that [`ending`] waits for.
pub(crate) fn result_options() -> WorkflowGetResultOptions {
    WorkflowGetResultOptions::builder()
        .rpc_options(rpc_options())
        .build()
}

/// End of a workflow.
pub(crate) enum Ending<T> {
    /// Closed workflow with its state: its result, or details of its failure or cancellation.
    Recorded(T),
    /// Closed workflow without a state: it was terminated or timed out.
    Terminated,
    /// Workflow that Temporal no longer knows.
    Unknown,
    /// Workflow that has not closed within four seconds.
    Open,
}

/// Waits for the end of a workflow that has closed or is about to.
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
        Err(WorkflowGetResultError::NotFound(_)) => return Ok(Ending::Unknown),
        Err(WorkflowGetResultError::Rpc(status)) => return Err(problem(&status)),
        Err(_) => None,
    };
    Ok(recorded.map_or(Ending::Terminated, Ending::Recorded))
}

/// Returns true if the workflow was started; `false` if its id is taken.
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

/// Converts a failure to start a workflow to a problem.
pub(crate) fn start_problem(error: &StartError) -> Problem {
    match error {
        StartError::Call(status) => problem(status),
        StartError::Payload(_) => {
            tracing::error!(%error, "cannot start a workflow");
            Problem::internal()
        }
    }
}

/// Converts a failure to read a history to a problem.
pub(crate) fn history_problem(error: HistoryError) -> Problem {
    match error {
        HistoryError::Interaction(error) => interaction_problem(error),
        HistoryError::Payload(_) | HistoryError::NoStart => {
            tracing::error!(%error, "cannot read a history");
            Problem::internal()
        }
    }
}

/// Returns the history of a workflow's latest run.
pub(crate) fn history<W>(handle: &WorkflowHandle<Client, W>) -> History
where
    W: HasWorkflowDefinition + 'static,
{
    History::of(handle, rpc_options())
}

/// Converts a failed interaction with a workflow to a problem.
pub(crate) fn interaction_problem(error: WorkflowInteractionError) -> Problem {
    match error {
        // The namespace is missing, not the job.
        WorkflowInteractionError::NotFound(status) if is_not_set_up(&status) => problem(&status),
        WorkflowInteractionError::NotFound(_) => Problem::not_found("job"),
        WorkflowInteractionError::Rpc(status) => problem(&status),
        error => {
            tracing::error!(%error, "cannot read a workflow");
            Problem::internal()
        }
    }
}

/// Converts a failed call to Temporal to a problem.
pub(crate) fn problem(status: &Status) -> Problem {
    if is_unavailable(status) {
        // An operator who sees 503s wants to know whether Temporal was slow or away.
        tracing::warn!(code = ?status.code(), reason = status.message(), "Temporal did not answer a call");
        return unavailable();
    }
    tracing::error!(code = ?status.code(), reason = status.message(), "Temporal refused a call");
    if is_not_set_up(status) {
        let detail = "Temporal is not set up; /readyz says what is missing";
        return Problem::new(Kind::TemporalUnavailable, detail).retry_after(30);
    }
    Problem::internal()
}

/// Returns true if a call failed because the namespace or a search attribute is missing. Only the
/// server's message distinguishes these errors.
fn is_not_set_up(status: &Status) -> bool {
    let said = status.message().to_ascii_lowercase();
    match status.code() {
        Code::NotFound => said.contains("namespace"),
        Code::InvalidArgument => said.contains("search attribute"),
        _ => false,
    }
}

/// Problem of every call while Temporal cannot be reached.
pub(crate) fn unavailable() -> Problem {
    Problem::new(
        Kind::TemporalUnavailable,
        "Temporal cannot be reached; try again",
    )
    .retry_after(2)
}
