//! Finding jobs that have begun or ended, for all who follow: one look a second at Temporal's visibility store, and none
//! while nobody needs it.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use temporalio_client::{Client, tonic::Status};
use tokio::time::{MissedTickBehavior, interval};

use crate::{context::Context, jobs::Found, temporal::visibility};

/// How often to look for runs that have closed. Those that began through another process are looked for each time that a
/// number of these have passed, and each so many times it is looked further back.
const LOOK: Duration = Duration::from_secs(1);
const BEGUN_EVERY: u64 = 3;
const FAR_EVERY: u64 = 20;

/// How far back to look, as the store hears of a run a moment after it has closed; and how far now and then, as it may be long.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
const FAR_OVERLAP: SignedDuration = SignedDuration::from_mins(2);

/// How many runs are asked for at a time at least, and at most.
const PAGE: (u16, u16) = (100, 1000);

/// Looks for as long as there is somebody to tell.
pub(crate) async fn read(context: Arc<Context>) {
    let shutdown = context.shutdown.clone();
    let mut reader = Reader::default();
    let reading = async {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            reader.look(&context).await;
        }
    };
    Box::pin(shutdown.run_until_cancelled(reading)).await;
}

#[derive(Default)]
struct Reader {
    /// Until when everything was found.
    position: Option<Timestamp>,
    looks: u64,
    /// How many runs the last look found.
    found: u16,
}

impl Reader {
    async fn look(&mut self, context: &Arc<Context>) {
        if !context.feeds.are_followed() && !context.watches.are_unheard() {
            self.position = None;
            return;
        }
        let Ok(client) = context.temporal.client() else {
            return;
        };
        let began = Timestamp::now();
        let position = self.position.unwrap_or(began);
        match self.find(context, client, position).await {
            Ok(()) => {
                self.position = Some(began);
                context.feeds.advance(began);
            }
            // What was missed is found by the next look.
            Err(status) => {
                tracing::debug!(code = ?status.code(), "cannot look for jobs that have ended");
            }
        }
        self.looks += 1;
    }

    async fn find(
        &mut self,
        context: &Arc<Context>,
        client: &Client,
        position: Timestamp,
    ) -> Result<(), Status> {
        let is_far = self.looks.is_multiple_of(FAR_EVERY);
        let since = position - if is_far { FAR_OVERLAP } else { OVERLAP };
        let page = self.found.saturating_mul(2).clamp(PAGE.0, PAGE.1);
        let closed = visibility::closed_since(client, since, page).await?;
        if !is_far {
            self.found = u16::try_from(closed.len()).unwrap_or(u16::MAX);
        }
        for found in closed.into_iter().filter_map(Found::of) {
            ended(context, &found);
        }
        if self.looks.is_multiple_of(BEGUN_EVERY) && context.feeds.are_followed() {
            let begun = visibility::begun_since(client, since, page).await?;
            for found in begun.into_iter().filter_map(Found::of) {
                if let Some(feed) = context.feeds.of(found.tenant.as_ref()) {
                    feed.watch(context, &found.job_id);
                }
            }
        }
        Ok(())
    }
}

/// A run has closed: whoever follows its job is told, unless it was.
fn ended(context: &Arc<Context>, found: &Found) {
    if context.feeds.told.contains_key(&found.run_id) || context.watches.nudge(&found.job_id) {
        return;
    }
    if let Some(feed) = context.feeds.of(found.tenant.as_ref()) {
        feed.watch(context, &found.job_id);
    }
}
