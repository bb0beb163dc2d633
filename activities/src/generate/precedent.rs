//! Whether somebody may have bought the job's prediction before this attempt, and what is to be done then. All that keeps a job
//! from being paid for twice by another attempt is in [`decide`].

use std::time::SystemTime;

use darkroom_storage::Storage;
use darkroom_workflows::{
    contract::generate::{GenerateInput, GenerateRecord},
    job::{Doubt, DoubtCause, IfNotFound, JobState, ProviderState, timestamp},
};
use jiff::Timestamp;
use temporalio_sdk::activities::ActivityContext;

use super::{earlier_run, restore::LostTime};
use crate::{failure::Failure, manifest};

/// What was bought before.
pub(super) enum Precedent {
    /// Nothing: this attempt may submit.
    None,
    /// This.
    Bought(ProviderState),
    /// Nobody knows.
    Doubt(Doubt),
    /// The job has ended like this, in a time that Temporal has lost.
    Ended(JobState),
    /// That cannot be found out now.
    Unclear(Failure),
}

/// What an attempt knows of itself. The times are the server's.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    /// Whether it was scheduled when its activity was: else it came of a retry, or of a reset.
    is_first: bool,
    /// Whether its run is the one that set out: else it came of a reset of the workflow.
    is_of_first_run: bool,
    /// Whether its run began before a restore: what it did since the dump is lost.
    is_restored: bool,
    /// What an earlier attempt recorded.
    record: Recorded<'a>,
}

/// What an earlier attempt at the same activity recorded.
#[derive(Clone, Copy, Debug)]
enum Recorded<'a> {
    Nothing,
    This(&'a GenerateRecord),
    Unreadable,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Decision {
    /// Submit: nobody can have before.
    Submit,
    /// Go by the record.
    GoByRecord,
    /// Ask the run before the reset.
    AskEarlierRun,
    /// Ask the store and the provider what became of the job in the time that was lost.
    AskAboutLostTime,
    /// Look: somebody may have, and nothing tells.
    Look,
}

/// The table of ARCHITECTURE.md.
fn decide(origin: Origin<'_>) -> Decision {
    match origin.record {
        Recorded::This(GenerateRecord::Refused) => Decision::Submit,
        Recorded::This(_) => Decision::GoByRecord,
        Recorded::Nothing if origin.is_restored => Decision::AskAboutLostTime,
        Recorded::Nothing if !origin.is_of_first_run => Decision::AskEarlierRun,
        Recorded::Nothing if origin.is_first => Decision::Submit,
        Recorded::Nothing | Recorded::Unreadable => Decision::Look,
    }
}

/// Finds out what was bought before this attempt.
pub(super) async fn find(
    ctx: &ActivityContext,
    storage: &Storage,
    lost_time: Option<LostTime>,
    input: &GenerateInput,
) -> Precedent {
    let info = ctx.info();
    let record = ctx.heartbeat_details().deserialize::<GenerateRecord>();
    let origin = Origin {
        is_first: info.attempt == 1 && info.scheduled_time == info.current_attempt_scheduled_time,
        is_restored: lost_time.is_some_and(|lost| lost.concerns(input.since)),
        is_of_first_run: info.workflow_run_id.as_deref() == Some(&input.first_run_id),
        record: match &record {
            Ok(None) => Recorded::Nothing,
            Ok(Some(record)) => Recorded::This(record),
            Err(_) => Recorded::Unreadable,
        },
    };
    let doubtful = |doubt: Doubt| match &input.settled {
        Some(settled) if *settled == doubt => Precedent::None,
        _ => Precedent::Doubt(doubt),
    };
    let precedent = |record| match record {
        GenerateRecord::Submitted(state) => Precedent::Bought(state),
        GenerateRecord::Submitting(doubt) => doubtful(doubt),
        GenerateRecord::Refused => Precedent::None,
    };
    let lost = || Precedent::Doubt(record_lost(input, timestamp(SystemTime::now())));
    match decide(origin) {
        Decision::Submit => Precedent::None,
        Decision::GoByRecord => match record {
            Ok(Some(record)) => precedent(record),
            _ => lost(),
        },
        Decision::Look => lost(),
        Decision::AskAboutLostTime => match manifest::read(storage, &input.job_id).await {
            // One of an earlier run says nothing of this one.
            Ok(Some(ended)) if ended.retry_count == input.retry_count => Precedent::Ended(ended),
            Ok(_) => match lost_time {
                Some(LostTime { dump, restored }) => doubtful(Doubt {
                    since: dump.max(input.since),
                    ..record_lost(input, restored)
                }),
                None => lost(),
            },
            Err(failure) => Precedent::Unclear(failure),
        },
        Decision::AskEarlierRun => match earlier_run::record(ctx).await {
            Ok(Some(record)) => precedent(record),
            Ok(None) => Precedent::None,
            Err(error) => {
                tracing::warn!(job_id = %input.job_id, error, "the run before the reset does not tell what was bought");
                lost()
            }
        },
    }
}

/// Any submission of this run so far may have been taken.
fn record_lost(input: &GenerateInput, now: Timestamp) -> Doubt {
    Doubt {
        submission_id: None,
        since: input.since,
        until: now,
        clock_skew_ms: None,
        cause: DoubtCause::RecordLost,
        search_seconds: 0,
        // What a request in flight has become shows within the time that such a doubt is looked into.
        if_not_found: IfNotFound::Resubmit,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_nobody_can_have_bought_is_bought() {
        let doubt = json!({
            "since": Timestamp::UNIX_EPOCH, "until": Timestamp::UNIX_EPOCH,
            "cause": "interrupted", "search_seconds": 900, "if_not_found": "fail",
        });
        let submitting = GenerateRecord::Submitting(serde_json::from_value(doubt).unwrap());
        let state = json!({"name": "replicate", "prediction_id": "p", "status": "starting"});
        let submitted = GenerateRecord::Submitted(serde_json::from_value(state).unwrap());
        let nothing = Recorded::Nothing;
        for (record, is_first, is_of_first_run, expected) in [
            (nothing, true, true, Decision::Submit),
            (nothing, false, true, Decision::Look),
            (nothing, true, false, Decision::AskEarlierRun),
            (nothing, false, false, Decision::AskEarlierRun),
            (Recorded::Unreadable, true, true, Decision::Look),
            (
                Recorded::This(&GenerateRecord::Refused),
                false,
                false,
                Decision::Submit,
            ),
            (
                Recorded::This(&submitting),
                false,
                true,
                Decision::GoByRecord,
            ),
            (
                Recorded::This(&submitted),
                false,
                true,
                Decision::GoByRecord,
            ),
            (Recorded::This(&submitted), true, true, Decision::GoByRecord),
        ] {
            let origin = Origin {
                is_first,
                is_of_first_run,
                is_restored: false,
                record,
            };
            assert_eq!(decide(origin), expected, "{origin:?}");
            let restored = Origin {
                is_restored: true,
                ..origin
            };
            let expected = match record {
                Recorded::Nothing => Decision::AskAboutLostTime,
                Recorded::This(_) | Recorded::Unreadable => expected,
            };
            assert_eq!(decide(restored), expected, "{restored:?}");
        }
    }
}
