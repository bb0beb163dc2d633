//! A job as text, for a person.

use anyhow::Result;
use darkroom_client::types::resource::Job;

use crate::caller::show;

/// Prints the known facts of a job, one per line.
pub(super) fn describe(job: &Job) -> Result<()> {
    let mut rows = vec![
        ("job", job.job_id.to_string()),
        ("status", job.status.to_string()),
        ("model", job.model.to_string()),
    ];
    let mut known = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    known(
        "prompt",
        job.prompt.as_ref().map(|prompt| prompt.as_str().to_owned()),
    );
    known("created", Some(job.created_at.to_string()));
    known("ended", job.completed_at.map(|time| time.to_string()));
    known("deleted at", job.expires_at.map(|time| time.to_string()));
    known(
        "in doubt since",
        job.in_doubt_since.map(|time| time.to_string()),
    );
    known("why", job.error_message.clone());
    if let Some(provider) = &job.provider {
        known(
            "prediction",
            provider.prediction_id.as_ref().map(ToString::to_string),
        );
        known("provider says", provider.error.clone());
    }
    known("history", job.links.temporal.clone());
    for media in &job.media {
        let name = format!("output {}", media.index + 1);
        let what = match (&media.media_url, &media.error_message) {
            (Some(url), _) => url.clone(),
            (None, Some(why)) => format!("failed: {why}"),
            (None, None) => "not there yet".to_owned(),
        };
        rows.push(("", format!("{name}  {what}")));
    }
    for (name, value) in rows {
        show::line(format_args!("{name:14} {value}"))?;
    }
    Ok(())
}
