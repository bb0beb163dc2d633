//! Webhook URLs, and the events that a webhook is notified of.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use url::Url;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ArrayBuilder, Schema},
    },
};

use crate::{Invalid, schema::text, status::JobStatus};

/// Webhook URL: an absolute `http` or `https` URL of at most 2,048 characters, without a user name,
/// a password or a fragment. Its IP address is checked when a delivery connects to it, not here.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    const MAX: usize = 2048;

    /// URL to send the webhook to.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

text!(WebhookUrl, max_length = Self::MAX);

impl TryFrom<String> for WebhookUrl {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let url: Url = text
            .parse()
            .map_err(|error| Invalid(format!("must be an absolute URL: {error}")))?;
        // The encoded form is checked, as it is stored: an accepted URL must stay acceptable.
        if url.as_str().len() > Self::MAX {
            return Err(Invalid(format!(
                "must have at most {} characters, encoded",
                Self::MAX
            )));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid(format!(
                "must be http or https, not {}",
                url.scheme()
            )));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(Invalid(
                "must have no user name, password or fragment".to_owned(),
            ));
        }
        Ok(Self(url))
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.0.into()
    }
}

// The path of a webhook URL often contains a secret of the receiver.
impl fmt::Debug for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "WebhookUrl({}…)",
            self.0.origin().ascii_serialization()
        )
    }
}

/// Event that a webhook is notified of: the end of a job, by its final status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[expect(
    missing_docs,
    reason = "each is named after the status that it notifies of"
)]
pub enum WebhookEvent {
    #[serde(rename = "job.completed")]
    Completed,
    #[serde(rename = "job.partial")]
    Partial,
    #[serde(rename = "job.failed")]
    Failed,
    #[serde(rename = "job.canceled")]
    Canceled,
}

impl WebhookEvent {
    /// Event of a job with this status; `None` if it has not ended.
    #[must_use]
    pub fn of(status: JobStatus) -> Option<Self> {
        match status {
            JobStatus::Pending | JobStatus::Processing => None,
            JobStatus::Completed => Some(Self::Completed),
            JobStatus::Partial => Some(Self::Partial),
            JobStatus::Failed => Some(Self::Failed),
            JobStatus::Canceled => Some(Self::Canceled),
        }
    }
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Completed => "job.completed",
            Self::Partial => "job.partial",
            Self::Failed => "job.failed",
            Self::Canceled => "job.canceled",
        })
    }
}

/// Events that a webhook is notified of: at least one; all by default.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<WebhookEvent>", into = "Vec<WebhookEvent>")]
pub struct WebhookEvents(BTreeSet<WebhookEvent>);

impl WebhookEvents {
    /// Returns true if the event is among them.
    #[must_use]
    pub fn contains(&self, event: WebhookEvent) -> bool {
        self.0.contains(&event)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl PartialSchema for WebhookEvents {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(WebhookEvent::schema())
            .min_items(Some(1))
            .into()
    }
}

impl ToSchema for WebhookEvents {}

impl Default for WebhookEvents {
    fn default() -> Self {
        use WebhookEvent::{Canceled, Completed, Failed, Partial};
        Self([Completed, Partial, Failed, Canceled].into())
    }
}

impl TryFrom<Vec<WebhookEvent>> for WebhookEvents {
    type Error = Invalid;

    fn try_from(events: Vec<WebhookEvent>) -> Result<Self, Invalid> {
        if events.is_empty() {
            return Err(Invalid("must name at least one event".to_owned()));
        }
        Ok(Self(events.into_iter().collect()))
    }
}

impl From<WebhookEvents> for Vec<WebhookEvent> {
    fn from(events: WebhookEvents) -> Self {
        events.0.into_iter().collect()
    }
}
