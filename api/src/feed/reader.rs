//! Polling of Temporal's visibility store for jobs that have started or ended, for all followers:
//! about 1.5 calls a second, and none while there are no followers.

use std::{sync::Arc, time::Duration};

use darkroom_temporal::runs::Run;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use temporalio_client::{Client, tonic::Status};
use tokio::time::{MissedTickBehavior, interval};

use crate::{context::Context, jobs::FoundRun, visibility};

/// Poll intervals for runs that have closed, and for runs that were started by another api process.
const CLOSED_INTERVAL: Duration = Duration::from_secs(1);
const STARTED_INTERVAL: Duration = Duration::from_secs(3);

/// Overlap of a poll with the one before it: the store lags a moment behind the runs.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);

/// Intervals and overlap of the far polls, for runs that the store lists late.
const FAR_CLOSED_INTERVAL: Duration = Duration::from_secs(20);
const FAR_STARTED_INTERVAL: Duration = Duration::from_mins(1);
const FAR_OVERLAP: SignedDuration = SignedDuration::from_mins(2);

/// Smallest and largest page, in runs.
const PAGE: (u16, u16) = (100, 1000);

/// Polls until shutdown, whenever there are followers.
///
/// Far polls read many pages of the store. They run concurrently with the others, so that these are
/// not delayed.
pub(crate) async fn read(context: Arc<Context>) {
    let readers = [
        Reader::new(Event::Closed, CLOSED_INTERVAL, OVERLAP),
        Reader::new(Event::Closed, FAR_CLOSED_INTERVAL, FAR_OVERLAP),
        Reader::new(Event::Started, STARTED_INTERVAL, OVERLAP),
        Reader::new(Event::Started, FAR_STARTED_INTERVAL, FAR_OVERLAP),
    ];
    let reading = join_all(readers.map(|reader| reader.read(&context)));
    context.shutdown.run_until_cancelled(reading).await;
}

/// Kind of event that a reader polls for.
#[derive(Clone, Copy)]
enum Event {
    Started,
    Closed,
}

impl Event {
    /// Lists the runs that have started or closed since a time.
    async fn since(self, since: Timestamp, page: u16, client: &Client) -> Result<Vec<Run>, Status> {
        match self {
            Self::Started => visibility::started_since(client, since, page).await,
            Self::Closed => visibility::closed_since(client, since, page).await,
        }
    }

    /// Notifies the followers of a run's job, unless they have received this event.
    fn notify(self, context: &Arc<Context>, found: &FoundRun) {
        let is_notified = match self {
            Self::Started => false,
            Self::Closed => {
                context.feeds.sent.contains_key(&found.run_id)
                    || context.watches.poll_now(&found.job_id)
            }
        };
        if let Some(feed) = context.feeds.of(found.tenant.as_ref())
            && !is_notified
        {
            feed.watch(context, &found.job_id);
        }
    }
}

/// Reader of the visibility store, for events of one kind.
struct Reader {
    event: Event,
    pause: Duration,
    overlap: SignedDuration,
    /// Time up to which all runs were found.
    position: Option<Timestamp>,
    /// Number of runs that the last poll found.
    found: u16,
}

impl Reader {
    fn new(event: Event, pause: Duration, overlap: SignedDuration) -> Self {
        Self {
            event,
            pause,
            overlap,
            position: None,
            found: 0,
        }
    }

    async fn read(mut self, context: &Arc<Context>) {
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.is_needed(context) {
                self.position = None;
            } else if let Err(status) = self.poll(context).await {
                // The next poll finds what this one missed.
                tracing::debug!(code = ?status.code(), "cannot poll for jobs that have started or ended");
            }
        }
    }

    fn is_needed(&self, context: &Context) -> bool {
        match self.event {
            Event::Started => context.feeds.are_followed(),
            Event::Closed => {
                context.feeds.are_followed() || context.watches.are_long_polls_exhausted()
            }
        }
    }

    async fn poll(&mut self, context: &Arc<Context>) -> Result<(), Status> {
        let Ok(client) = context.temporal.client() else {
            return Ok(());
        };
        let began = Timestamp::now();
        let since = self.position.unwrap_or(began) - self.overlap;
        let page = self.found.saturating_mul(2).clamp(PAGE.0, PAGE.1);
        let found = self.event.since(since, page, client).await?;
        self.found = u16::try_from(found.len()).unwrap_or(u16::MAX);
        for found in found.into_iter().filter_map(FoundRun::of) {
            self.event.notify(context, &found);
        }
        self.position = Some(began);
        if matches!(self.event, Event::Closed) {
            context.feeds.advance(began);
        }
        Ok(())
    }
}
