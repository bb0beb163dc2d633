//! Lifecycle of the SDK workers of a task queue. A worker is recycled after a number of activities,
//! because it leaks some memory for each: the next worker starts while the old one drains. At
//! shutdown, workers drain for 28 s at most. A worker that buys runs only while the provider and
//! the store allow it.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use darkroom_temporal::workarounds::worker_recycling::ActivityCount;
use temporalio_sdk::error::WorkerRunError;

use crate::registration::{Queue, Registration};

/// Longest time for draining at shutdown. Activities that still run are retried by other workers
/// after their heartbeat timeout.
const DEADLINE: Duration = Duration::from_secs(28);

/// Backoff before a worker that could not begin is replaced.
const RESTART_BACKOFF: Duration = Duration::from_secs(1);

/// Serves a queue until `shutdown`. Cancels `shutdown` when it returns, so that the other queues
/// stop as well.
///
/// # Errors
/// If a worker cannot be created or fails permanently.
pub(crate) async fn serve(
    registration: &Registration,
    queue: Queue,
    shutdown: &CancellationToken,
) -> Result<()> {
    let result = tokio::select! {
        result = run(registration, queue, shutdown) => result,
        () = drain_timeout(shutdown) => {
            tracing::warn!("draining took too long: the activities that still run are abandoned");
            Ok(())
        }
    };
    shutdown.cancel();
    result
}

async fn drain_timeout(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DEADLINE).await;
}

async fn run(
    registration: &Registration,
    queue: Queue,
    shutdown: &CancellationToken,
) -> Result<()> {
    let mut running = FuturesUnordered::new();
    for number in 0.. {
        if queue.buys() {
            wait_until_may_buy(registration, &mut running, shutdown).await;
        }
        if shutdown.is_cancelled() {
            break;
        }
        // At shutdown, attempts are notified before the SDK is, so that they can yield.
        let stopping = shutdown.child_token();
        let activities_run = ActivityCount::new(registration.recycle_after);
        let mut worker =
            registration.worker(queue, stopping.clone(), Arc::clone(&activities_run))?;
        let stop = worker.shutdown_handle();
        running.push(async move {
            let result = worker.run().await;
            // Otherwise the connection keeps it registered for ever.
            let workers = registration.client.connection().workers();
            if let Err(error) = workers.finalize_unregister(worker.worker_instance_key()) {
                tracing::debug!(%error, "a worker that ended is still registered");
            }
            (number, result)
        });
        loop {
            tokio::select! {
                Some((ended, result)) = running.next() => match result {
                    Err(error) if ended < number => tracing::warn!(%error, "a recycled worker failed"),
                    // The SDK asks Temporal once more before it polls: the next worker asks again.
                    Err(error @ WorkerRunError::Validation(_)) => {
                        tracing::warn!(%error, "waiting for Temporal");
                        shutdown.run_until_cancelled(tokio::time::sleep(RESTART_BACKOFF)).await;
                        break;
                    }
                    result => {
                        result.context("the SDK worker failed")?;
                        ensure!(ended < number, "the SDK worker stopped without a shutdown");
                    }
                },
                () = shutdown.cancelled() => break,
                () = activities_run.exhausted() => break tracing::info!("worker recycled"),
                () = registration.may_not_buy(), if queue.buys() => break,
            }
        }
        // Attempts that buy yield: what they bought is recorded. Others may finish.
        if queue.buys() {
            stopping.cancel();
        }
        stop();
    }
    while let Some((_, ended)) = running.next().await {
        ended?;
    }
    Ok(())
}

/// Waits until this worker may buy, so that jobs go to workers that may. Logs workers that fail
/// meanwhile.
async fn wait_until_may_buy(
    registration: &Registration,
    running: &mut FuturesUnordered<impl Future<Output = (i32, Result<(), WorkerRunError>)>>,
    shutdown: &CancellationToken,
) {
    let mut granted = pin!(registration.may_buy());
    loop {
        tokio::select! {
            Some((_, result)) = running.next() => if let Err(error) = result {
                tracing::warn!(%error, "a draining worker failed");
            },
            () = &mut granted => return,
            () = shutdown.cancelled() => return,
        }
    }
}
