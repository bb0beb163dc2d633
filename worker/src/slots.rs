//! How many tasks of each kind a worker takes at a time.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use darkroom_activities::persist::slots::Slots;
use temporalio_sdk_core::{
    ActivitySlotKind, SlotMarkUsedContext, SlotReleaseContext, SlotReservationContext,
    SlotSupplier, SlotSupplierOptions, SlotSupplierPermit, TunerHolder, TunerHolderOptions,
};

/// How many local activities run at a time: each is short.
const LOCAL_ACTIVITIES: usize = 200;

/// How many activities a worker takes at a time.
pub(crate) enum ActivitySlots {
    /// So many.
    Fixed(usize),
    /// As many as there is room for.
    Outputs(Arc<Slots>),
}

/// What gives out the slots of a worker.
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

/// Gives out the slots that outputs have: there are more while some of them crawl.
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

    /// The permit gives its slot back when it is dropped.
    fn release_slot(&self, _: &dyn SlotReleaseContext<SlotKind = ActivitySlotKind>) {}

    fn available_slots(&self) -> Option<usize> {
        Some(self.0.free())
    }
}
