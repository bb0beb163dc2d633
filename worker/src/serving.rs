//! Lifecycle of the SDK workers of a task queue. A worker is recycled after a number of activities,
//! because it leaks some memory for each: the next worker starts while the old one drains. At
//! shutdown, workers drain for 28 s at most. A worker that buys runs only while the provider and
//! the store allow it.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use darkroom_temporal::{
    namespace::{self, Missing},
    workarounds::worker_recycling::ActivityCount,
};
use temporalio_client::Client;

use crate::registration::{Queue, Registration};

/// Longest time for draining at shutdown. Activities that still run are retried by other workers
/// after their heartbeat timeout.
const DEADLINE: Duration = Duration::from_secs(28);

/// Interval at which Temporal is asked whether it is back, before a worker begins.
const INTERVAL: Duration = Duration::from_secs(1);

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
        let may_begin = async {
            if queue.buys() {
                registration.may_buy().await;
            }
            until_temporal_answers(&registration.client).await;
        };
        wait_until(may_begin, &mut running, shutdown).await;
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
            let result = worker.run().await.context("the SDK worker failed");
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
                    result => {
                        result?;
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

/// Waits until Temporal answers. The SDK asks it once when a worker begins, and a worker without an
/// answer fails.
async fn until_temporal_answers(client: &Client) {
    while namespace::check(client).await == Err(Missing::Temporal) {
        tracing::warn!("waiting for Temporal");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Waits until the next worker may begin, so that jobs go to workers that may. Logs workers that
/// fail meanwhile.
async fn wait_until(
    may_begin: impl Future<Output = ()>,
    running: &mut FuturesUnordered<impl Future<Output = (i32, Result<()>)>>,
    shutdown: &CancellationToken,
) {
    let mut granted = pin!(may_begin);
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
