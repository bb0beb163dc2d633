//! The activities as a worker registers them: the clients that they share, and a thin method for each.

#![expect(
    missing_docs,
    reason = "the macro makes constants that cannot carry documentation"
)]

use std::{sync::Arc, time::Duration};

use darkroom_providers::Provider;
use darkroom_temporal::heartbeat::Drain;
use darkroom_workflows::{
    contract::{
        self,
        cancel::CancelGenerationInput,
        collect::{CollectInput, CollectOutcome},
        delete::DeleteJobInput,
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

use crate::{
    delete,
    deliver_webhook::Courier,
    failure::{Failure, attempted},
    finalize,
    generate::{self, GenerationPolicy, Listeners},
    persist::{self, Engine, Sources},
    store_access::StoreAccess,
    sweep,
};

pub use self::activities::{
    CancelGeneration, Collect, DeleteJob, DeliverWebhook, Finalize, Find, Generate, Persist, Sweep,
};

/// How long outputs on their way may go on when the worker stops: most arrive, and the others leave time to hand over.
const PERSIST_GRACE: Duration = Duration::from_secs(14);

/// The activities and the clients that they work with.
#[derive(Clone)]
pub struct Activities {
    /// Who makes the outputs.
    pub provider: Arc<dyn Provider>,
    /// How it is paid.
    pub policy: GenerationPolicy,
    /// Who hears of refusals.
    pub listeners: Listeners,
    /// Where outputs come from.
    pub sources: Sources,
    /// What moves them into the store.
    pub engine: Engine,
    /// Whether the store takes them.
    pub store: StoreAccess,
    /// What tells callers.
    pub courier: Courier,
    /// Cancelled when the worker begins to stop.
    pub stopping: CancellationToken,
}

impl Activities {
    /// What the store refuses of one job it may refuse of all.
    fn heard<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result
            && failure.kind() == Some(FailureType::StorageRejected)
        {
            self.store.doubt();
        }
        result
    }
}

#[activities]
impl Activities {
    /// See [`generate::generate`].
    ///
    /// # Errors
    /// None.
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
            &self.listeners,
            &ctx,
            &self.stopping,
            &input,
        );
        Ok(outcome.await)
    }

    /// See [`generate::collect`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
    #[activity(definition = contract::Collect)]
    pub async fn collect(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: CollectInput,
    ) -> Result<CollectOutcome, ActivityError> {
        attempted(&ctx, generate::collect(&*self.provider, &ctx, &input).await)
    }

    /// See [`generate::find`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
    #[activity(definition = contract::Find)]
    pub async fn find(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: FindInput,
    ) -> Result<FindOutcome, ActivityError> {
        attempted(&ctx, generate::find(&*self.provider, &input).await)
    }

    /// See [`generate::cancel_generation`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
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

    /// See [`persist::persist`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
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
        attempted(&ctx, self.heard(persisted.await))
    }

    /// See [`sweep::sweep`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
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

    /// See [`delete::delete_job`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
    #[activity(definition = contract::DeleteJob)]
    pub async fn delete_job(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: DeleteJobInput,
    ) -> Result<(), ActivityError> {
        let drain = Drain::new(&self.stopping, Duration::ZERO);
        let deleted = delete::delete_job(&self.engine.storage, &ctx, drain, &input);
        attempted(&ctx, deleted.await)
    }

    /// See [`Courier::deliver`].
    ///
    /// # Errors
    /// None.
    #[activity(definition = contract::DeliverWebhook)]
    pub async fn deliver_webhook(
        self: Arc<Self>,
        _ctx: ActivityContext,
        input: DeliverWebhookInput,
    ) -> Result<Delivery, ActivityError> {
        Ok(self.courier.deliver(input).await)
    }

    /// See [`finalize::finalize`].
    ///
    /// # Errors
    /// Its failure, as Temporal records it.
    #[activity(definition = contract::Finalize)]
    pub async fn finalize(
        self: Arc<Self>,
        ctx: ActivityContext,
        job: JobState,
    ) -> Result<Option<JobState>, ActivityError> {
        let finalized = finalize::finalize(&self.engine.storage, &job).await;
        attempted(&ctx, self.heard(finalized))
    }
}
