//! Finds out whether the job's prediction may have been bought before this attempt, and decides
//! what to do then. [`decide`] has all the rules that keep a second attempt from paying twice. If
//! an answer is lost, the workflow decides: `workflows/src/media_generation/generation.rs`.

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

/// Purchases before this attempt.
pub(super) enum Precedent {
    /// No purchase: this attempt may submit.
    None,
    /// Prediction that was bought.
    Bought(ProviderState),
    /// Submission in doubt.
    Doubt(Doubt),
    /// State with which the job ended, in the time that Temporal has lost.
    Ended(JobState),
    /// Failure to ask the store.
    Unclear(Failure),
}

/// Origin of an attempt. Its times are the server's.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    /// True if the attempt was scheduled with its activity, false after a retry or a reset of the
    /// activity.
    is_first: bool,
    /// True if its run is the one that was started, false after a reset of the workflow.
    is_of_first_run: bool,
    /// True if its run began before a restore of Temporal's database: what it did since the dump is
    /// lost.
    is_restored: bool,
    /// Record of an earlier attempt.
    record: Recorded<'a>,
}

/// Record of an earlier attempt at the same activity.
#[derive(Clone, Copy, Debug)]
enum Recorded<'a> {
    Nothing,
    This(&'a GenerateRecord),
    Unreadable,
}

/// Next step of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Decision {
    /// Submit: no earlier attempt can have submitted.
    Submit,
    /// Follow the record.
    FollowRecord,
    /// Read the record of the run before the reset.
    ReadEarlierRun,
    /// Ask the store and the provider what became of the job in the lost time.
    SearchLostTime,
    /// Treat the submission as in doubt: an earlier attempt may have submitted, and no record says
    /// so. The provider is searched.
    InDoubt,
}

/// Decides by the table in ARCHITECTURE.md.
fn decide(origin: Origin<'_>) -> Decision {
    match origin.record {
        Recorded::This(GenerateRecord::Refused) => Decision::Submit,
        Recorded::This(_) => Decision::FollowRecord,
        Recorded::Nothing if origin.is_restored => Decision::SearchLostTime,
        Recorded::Nothing if !origin.is_of_first_run => Decision::ReadEarlierRun,
        Recorded::Nothing if origin.is_first => Decision::Submit,
        Recorded::Nothing | Recorded::Unreadable => Decision::InDoubt,
    }
}

/// Returns true if an earlier attempt of a run that a reset created may have bought without a
/// record. The record is that of the runs before the reset.
fn may_have_bought(is_first: bool, record: Option<&GenerateRecord>) -> bool {
    !is_first && !matches!(record, Some(GenerateRecord::Submitted(_)))
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
        Decision::FollowRecord => match record {
            Ok(Some(record)) => precedent(record),
            _ => lost(),
        },
        Decision::InDoubt => lost(),
        Decision::SearchLostTime => match manifest::read(storage, &input.job_id).await {
            // A manifest of an earlier run does not describe this one.
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
        Decision::ReadEarlierRun => match earlier_run::record(ctx).await {
            Ok(record) if may_have_bought(origin.is_first, record.as_ref()) => lost(),
            Ok(Some(record)) => precedent(record),
            Ok(None) => Precedent::None,
            Err(error) => {
                tracing::warn!(job_id = %input.job_id, error, "cannot read from the run before the reset what was bought");
                let settled = input.settled.as_ref();
                // The provider was searched for it already, and nothing was sent since.
                let was_searched =
                    settled.is_some_and(|settled| settled.cause == DoubtCause::RecordLost);
                if was_searched && origin.is_first {
                    Precedent::None
                } else {
                    lost()
                }
            }
        },
    }
}

/// Returns the doubt about all submissions of this run so far.
fn record_lost(input: &GenerateInput, now: Timestamp) -> Doubt {
    Doubt {
        submission_id: None,
        since: input.since,
        until: now,
        clock_skew_ms: None,
        cause: DoubtCause::RecordLost,
        search_seconds: 0,
        // A create that is still in flight shows in the provider's list while this doubt is
        // searched for. Afterwards nothing was bought.
        if_not_found: IfNotFound::Resubmit,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn submits_only_if_no_earlier_attempt_can_have_bought() {
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
            (nothing, false, true, Decision::InDoubt),
            (nothing, true, false, Decision::ReadEarlierRun),
            (nothing, false, false, Decision::ReadEarlierRun),
            (Recorded::Unreadable, true, true, Decision::InDoubt),
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
                Decision::FollowRecord,
            ),
            (
                Recorded::This(&submitted),
                false,
                true,
                Decision::FollowRecord,
            ),
            (
                Recorded::This(&submitted),
                true,
                true,
                Decision::FollowRecord,
            ),
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
                Recorded::Nothing => Decision::SearchLostTime,
                Recorded::This(_) | Recorded::Unreadable => expected,
            };
            assert_eq!(decide(restored), expected, "{restored:?}");
        }
        for (record, after_another_attempt) in [
            (None, true),
            (Some(&GenerateRecord::Refused), true),
            (Some(&submitting), true),
            (Some(&submitted), false),
        ] {
            assert!(!may_have_bought(true, record), "{record:?}");
            assert_eq!(may_have_bought(false, record), after_another_attempt);
        }
    }
}
