//! Slot suppliers: limits of the tasks of each kind that a worker runs at a time.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use darkroom_activities::persist::slots::Slots;
use temporalio_sdk_core::{
    ActivitySlotKind, SlotMarkUsedContext, SlotReleaseContext, SlotReservationContext,
    SlotSupplier, SlotSupplierOptions, SlotSupplierPermit, TunerHolder, TunerHolderOptions,
};

/// Slots for local activities: each is short.
const LOCAL_ACTIVITIES: usize = 200;

/// Slots for activities of one worker.
pub(crate) enum ActivitySlots {
    /// A fixed number.
    Fixed(usize),
    /// The slots of `persist`, whose number grows while slow outputs yield theirs.
    Outputs(Arc<Slots>),
}

/// Builds the tuner, which supplies the slots of a worker.
///
/// # Errors
/// If the SDK rejects the options.
pub(crate) fn tuner(workflow_tasks: usize, activities: ActivitySlots) -> Result<TunerHolder> {
    let workflow_tasks = SlotSupplierOptions::FixedSize {
        slots: workflow_tasks,
    };
    let local_activities = SlotSupplierOptions::FixedSize {
        slots: LOCAL_ACTIVITIES,
    };
    let activities = match activities {
        ActivitySlots::Fixed(slots) => SlotSupplierOptions::FixedSize { slots },
        ActivitySlots::Outputs(slots) => SlotSupplierOptions::Custom(Arc::new(OutputSlots(slots))),
    };
    TunerHolderOptions::builder()
        .workflow_slot_options(workflow_tasks)
        .activity_slot_options(activities)
        .local_activity_slot_options(local_activities)
        .nexus_slot_options(SlotSupplierOptions::FixedSize { slots: 1 })
        .build_tuner_holder()
}

/// Slot supplier of `persist`: an output that is slow yields its slot, so that another one can run.
struct OutputSlots(Arc<Slots>);

#[async_trait]
impl SlotSupplier for OutputSlots {
    type SlotKind = ActivitySlotKind;

    async fn reserve_slot(&self, _: &dyn SlotReservationContext) -> SlotSupplierPermit {
        SlotSupplierPermit::with_user_data(self.0.acquire().await)
    }

    fn try_reserve_slot(&self, _: &dyn SlotReservationContext) -> Option<SlotSupplierPermit> {
        self.0.try_acquire().map(SlotSupplierPermit::with_user_data)
    }

    fn mark_slot_used(&self, _: &dyn SlotMarkUsedContext<SlotKind = ActivitySlotKind>) {}

    /// Nothing to do: dropping the permit's data releases the slot.
    fn release_slot(&self, _: &dyn SlotReleaseContext<SlotKind = ActivitySlotKind>) {}

    fn available_slots(&self) -> Option<usize> {
        Some(self.0.free())
    }
}
