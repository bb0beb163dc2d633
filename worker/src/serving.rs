//! Serving a queue until told to stop. The SDK's worker remembers every activity that it ever ran,
//! a few hundred bytes each, so after so many of them another takes its place while it ends in
//! order, and what it remembers goes with it.

use std::{pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use darkroom_temporal::workarounds::worker_recycling::ActivityCount;

use crate::registration::{Queue, Registration};

/// How long a stopping worker may take at most. What is not done by then is begun again elsewhere
/// when its heartbeats fail to come.
const DEADLINE: Duration = Duration::from_secs(28);

/// Serves a queue until `shutdown`, and cancels that if it fails.
///
/// # Errors
/// If Temporal refuses the worker for good.
pub(crate) async fn serve(
    registration: &Registration,
    queue: Queue,
    shutdown: &CancellationToken,
) -> Result<()> {
    let result = tokio::select! {
        result = run(registration, queue, shutdown) => result,
        () = overdue(shutdown) => {
            tracing::warn!("some activities do not end: they are left behind");
            Ok(())
        }
    };
    shutdown.cancel();
    result
}

async fn overdue(shutdown: &CancellationToken) {
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
            until_let_in(registration, &mut running, shutdown).await;
        }
        if shutdown.is_cancelled() {
            break;
        }
        // Attempts hear of the end before the SDK does, and make room.
        let stopping = shutdown.child_token();
        let activities_run = ActivityCount::new(registration.recycle_after);
        let mut worker =
            registration.worker(queue, stopping.clone(), Arc::clone(&activities_run))?;
        let stop = worker.shutdown_handle();
        running.push(async move {
            let result = worker.run().await.context("the worker cannot go on");
            // The connection would remember it for ever.
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
                        ensure!(ended < number, "the worker ended although nobody told it to");
                    }
                },
                () = shutdown.cancelled() => break,
                () = activities_run.exhausted() => break tracing::info!("worker recycled"),
                () = registration.may_not_buy(), if queue.buys() => break,
            }
        }
        // What was just bought need not be looked at here; outputs go on to their ends.
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

/// Waits until we may buy: jobs are for workers that may. Those that end meanwhile are seen to.
async fn until_let_in(
    registration: &Registration,
    running: &mut FuturesUnordered<impl Future<Output = (i32, Result<()>)>>,
    shutdown: &CancellationToken,
) {
    let mut granted = pin!(registration.may_buy());
    loop {
        tokio::select! {
            Some((_, result)) = running.next() => if let Err(error) = result {
                tracing::warn!(%error, "a worker that was to stop failed");
            },
            () = &mut granted => return,
            () = shutdown.cancelled() => return,
        }
    }
}
