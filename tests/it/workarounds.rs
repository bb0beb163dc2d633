//! Faults of Temporal's SDK that `darkroom_temporal::workarounds` works around, shown with the SDK
//! alone. A test here fails once its fault is fixed: then its workaround can be removed.

use std::time::Duration;

use futures::future::join;
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::{
    ActivityOptions, Runtime, Worker, WorkerOptions, WorkflowContext, WorkflowResult,
    activities::{ActivityContext, ActivityError},
    runtime::RuntimeOptions,
};

use crate::support::harness::shared;

/// Number of activities that the workflow runs.
const ACTIVITIES: usize = 10;

struct Nothing;

#[expect(clippy::unused_async, reason = "the macro requires async methods")]
#[activities]
impl Nothing {
    #[activity]
    async fn nothing(_ctx: ActivityContext) -> Result<(), ActivityError> {
        Ok(())
    }
}

#[workflow]
#[derive(Default)]
struct Sequence;

#[workflow_methods]
impl Sequence {
    #[run]
    async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        for _ in 0..ACTIVITIES {
            let options = ActivityOptions::start_to_close_timeout(Duration::from_secs(10));
            ctx.execute_activity(Nothing::nothing, (), options).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_worker_of_the_sdk_keeps_a_token_of_each_activity() {
    let client = shared().temporal.client().await.unwrap();
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default()).unwrap();
    let options = WorkerOptions::new("workarounds")
        .register_workflow::<Sequence>()
        .unwrap()
        .register_activities(Nothing)
        .build();
    let mut worker = Worker::new(&runtime, client.clone(), options).unwrap();
    let stop = worker.shutdown_handle();
    let run = async {
        let options = WorkflowStartOptions::new("workarounds", "workarounds").build();
        let handle = client.start_workflow(Sequence::run, (), options).await;
        let result = handle
            .unwrap()
            .get_result(WorkflowGetResultOptions::default())
            .await;
        stop();
        result.unwrap();
    };
    let (ran, ()) = join(worker.run(), run).await;
    ran.unwrap();

    let kept = format!("{worker:?}").matches("CancellationToken {").count();
    assert!(
        kept >= ACTIVITIES,
        "{kept} tokens of {ACTIVITIES} activities: the SDK removes tokens, so \
         temporal/src/workarounds/worker_recycling.rs can be removed"
    );
}
