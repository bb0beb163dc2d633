//! The activities of Darkroom's workflows: all calls to the provider, to the hosts of outputs, to
//! the store and to webhook receivers. Their timeouts and retry policies are in the workflows
//! crate; the task queues that a process polls are chosen in the worker crate.
//!
//! Modules, in reading order:
//!
//! - [`Activities`]: the activities as a worker registers them, with the clients that they share
//! - [`failure`]: errors as typed Temporal failures, retryable or not
//! - [`generate`]: buys a prediction once, polls it, finds one in doubt, cancels it
//! - [`persist`]: uploads one output into the store, and resumes after an interruption
//! - [`guard`]: protection against server-side request forgery, for all URLs from outside
//! - [`finalize`]: writes the manifest of a job; `manifest`: its object and its index entry
//! - [`deliver_webhook`]: sends one webhook
//! - [`delete`]: deletes a job from Temporal and the store; `tombstone`: marks its id as used
//! - [`sweep`]: removes abandoned multipart uploads and objects
//! - [`store_access`]: probes whether the store accepts writes
//! - [`metrics`]: metrics of jobs, outputs, predictions and webhooks

#![expect(
    missing_docs,
    reason = "the macro makes constants that cannot carry documentation"
)]

pub mod delete;
pub mod deliver_webhook;
pub mod failure;
pub mod finalize;
pub mod generate;
pub mod guard;
pub mod metrics;
pub mod persist;
pub mod store_access;
pub mod sweep;

mod manifest;
mod tombstone;

use std::{sync::Arc, time::Duration};

use darkroom_providers::Provider;
use darkroom_temporal::heartbeat::Drain;
use darkroom_workflows::{
    contract::{
        self,
        cancel::CancelGenerationInput,
        collect::{CollectInput, CollectOutcome},
        delete::DeleteJobInput,
        finalize::Finalized,
        find::{FindInput, FindOutcome},
        generate::{GenerateInput, GenerateOutcome},
        persist::PersistInput,
        sweep::{SweepInput, Swept},
        webhook::{DeliverWebhookInput, Delivery},
    },
    failure::FailureType,
    job::{JobState, ProviderState, StoredMedia},
};
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};
use tokio_util::sync::CancellationToken;

pub use self::activities::{
    CancelGeneration, Collect, DeleteJob, DeliverWebhook, Finalize, Find, Generate, Persist, Sweep,
};
use self::{
    deliver_webhook::WebhookSender,
    failure::{Failure, attempted},
    generate::{GenerationPolicy, RefusalReceivers},
    persist::{Engine, Sources},
    store_access::StoreAccess,
};

/// Grace period for uploads under way when the worker drains: most complete within it, and the
/// others yield to another attempt with time to record a checkpoint.
const PERSIST_GRACE: Duration = Duration::from_secs(14);

/// The activities, with the clients that they share.
#[derive(Clone)]
pub struct Activities {
    /// The provider that makes the outputs.
    pub provider: Arc<dyn Provider>,
    /// Policy for buying predictions.
    pub policy: GenerationPolicy,
    /// Receivers of the provider's refusals.
    pub refusal_receivers: RefusalReceivers,
    /// Fetches outputs.
    pub sources: Sources,
    /// Uploads outputs into the store.
    pub engine: Engine,
    /// Write access to the store, as last probed.
    pub store: StoreAccess,
    /// Searches for the runs of deleted jobs.
    pub searches: delete::Searches,
    /// Sends webhooks.
    pub webhook_sender: WebhookSender,
    /// Canceled when the worker begins to stop.
    pub stopping: CancellationToken,
}

impl Activities {
    /// Requests a probe of the store after it has rejected a write: what it refuses one job it may
    /// refuse every job.
    fn probe_store_if_rejected<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && failure.kind() == Some(FailureType::StorageRejected)
        {
            self.store.request_probe();
        }
        result
    }
}

#[activities]
impl Activities {
    /// Runs [`generate::generate`].
    ///
    /// # Errors
    /// Never: failures are part of the outcome.
    #[activity(definition = contract::Generate)]
    pub async fn generate(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: GenerateInput,
    ) -> Result<GenerateOutcome, ActivityError> {
        let outcome = generate::generate(
            &*self.provider,
            &self.engine.storage,
            self.policy,
            &self.refusal_receivers,
            &ctx,
            &self.stopping,
            &input,
        );
        Ok(outcome.await)
    }

    /// Runs [`generate::collect`].
    ///
    /// # Errors
    /// If the prediction has not ended or cannot be read.
    #[activity(definition = contract::Collect)]
    pub async fn collect(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: CollectInput,
    ) -> Result<CollectOutcome, ActivityError> {
        attempted(&ctx, generate::collect(&*self.provider, &ctx, &input).await)
    }

    /// Runs [`generate::find`].
    ///
    /// # Errors
    /// If the provider refuses or cannot be reached.
    #[activity(definition = contract::Find)]
    pub async fn find(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: FindInput,
    ) -> Result<FindOutcome, ActivityError> {
        attempted(&ctx, generate::find(&*self.provider, &input).await)
    }

    /// Runs [`generate::cancel_generation`].
    ///
    /// # Errors
    /// If the provider refuses or cannot be reached.
    #[activity(definition = contract::CancelGeneration)]
    pub async fn cancel_generation(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: CancelGenerationInput,
    ) -> Result<ProviderState, ActivityError> {
        attempted(
            &ctx,
            generate::cancel_generation(&*self.provider, &input).await,
        )
    }

    /// Runs [`persist::persist`].
    ///
    /// # Errors
    /// If the source or the store fails, or the attempt is canceled or interrupted.
    #[activity(definition = contract::Persist)]
    pub async fn persist(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: PersistInput,
    ) -> Result<StoredMedia, ActivityError> {
        let drain = Drain::new(&self.stopping, PERSIST_GRACE);
        let persisted = persist::persist(
            &self.sources,
            &*self.provider,
            &self.engine,
            &ctx,
            drain,
            input,
        );
        attempted(&ctx, self.probe_store_if_rejected(persisted.await))
    }

    /// Runs [`sweep::sweep`].
    ///
    /// # Errors
    /// If the store or Temporal fails, or the attempt is canceled or interrupted.
    #[activity(definition = contract::Sweep)]
    pub async fn sweep(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SweepInput,
    ) -> Result<Swept, ActivityError> {
        let drain = Drain::new(&self.stopping, Duration::ZERO);
        let swept = sweep::sweep(&self.engine.storage, &ctx, drain, input);
        attempted(&ctx, swept.await)
    }

    /// Runs [`delete::delete_job`].
    ///
    /// # Errors
    /// If the deletion is not complete, or the store or Temporal fails.
    #[activity(definition = contract::DeleteJob)]
    pub async fn delete_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DeleteJobInput,
    ) -> Result<(), ActivityError> {
        let drain = Drain::new(&self.stopping, Duration::ZERO);
        let (storage, searches) = (&self.engine.storage, &self.searches);
        let deleted = delete::delete_job(storage, searches, &ctx, drain, &input);
        attempted(&ctx, deleted.await)
    }

    /// Runs [`WebhookSender::deliver`].
    ///
    /// # Errors
    /// Never: failures are part of the delivery.
    #[activity(definition = contract::DeliverWebhook)]
    pub async fn deliver_webhook(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: DeliverWebhookInput,
    ) -> Result<Delivery, ActivityError> {
        Ok(self.webhook_sender.deliver(input).await)
    }

    /// Runs [`finalize::finalize`].
    ///
    /// # Errors
    /// If the store fails.
    #[activity(definition = contract::Finalize)]
    pub async fn finalize(
        self: Arc<Self>,
        ctx: ActivityContext,
        job: JobState,
    ) -> Result<Finalized, ActivityError> {
        let finalized = finalize::finalize(&self.engine.storage, &job).await;
        attempted(&ctx, self.probe_store_if_rejected(finalized))
    }
}
