//! What an operation can answer, said once: the documentation is made of it, and handlers answer through it.

use std::marker::PhantomData;

use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};

use super::schema;
use crate::problem::{Kind, Problem};

/// An operation's answers, beside those that any operation may give.
pub(crate) trait Operation: Send + Sync + 'static {
    /// The good ones.
    const SUCCESSES: &'static [Success];
    /// The problems that it may meet.
    const PROBLEMS: &'static [Kind];
}

/// The problems that any operation with a caller may meet.
const COMMON: [Kind; 5] = [
    Kind::InvalidParameter,
    Kind::Unauthenticated,
    Kind::RateLimited,
    Kind::Internal,
    Kind::TemporalUnavailable,
];

/// A good answer.
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) content: Content,
    pub(crate) headers: &'static [Header],
}

/// The body of a good answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    None,
    Job,
    JobPage,
    MediaPage,
    Deletion,
    Events,
    Deliveries,
    Delivery,
    WebhookSecret,
}

/// A header of a good answer.
pub(crate) struct Header {
    name: &'static str,
    description: &'static str,
}

pub(crate) const LOCATION: Header = Header {
    name: "Location",
    description: "Where to look next.",
};
pub(crate) const RETRY_AFTER: Header = Header {
    name: "Retry-After",
    description: "After how many seconds another look is worth it.",
};
pub(crate) const ETAG: Header = Header {
    name: "ETag",
    description: "Changes with the job; for `If-None-Match`.",
};
pub(crate) const IDEMPOTENT_REPLAYED: Header = Header {
    name: "Idempotent-Replayed",
    description: "`true` if the job had been asked for before with this `Idempotency-Key`.",
};
pub(crate) const PREFERENCE_APPLIED: Header = Header {
    name: "Preference-Applied",
    description: "What was made of `Prefer`, such as `wait=30`.",
};

/// What a handler returns.
pub(crate) type Outcome<O> = Result<Answer<O>, Refusal<O>>;

/// A good answer.
pub(crate) struct Answer<O>(Response, PhantomData<O>);

/// A problem.
pub(crate) struct Refusal<O>(Problem, PhantomData<O>);

impl<O> From<Response> for Answer<O> {
    fn from(response: Response) -> Self {
        Self(response, PhantomData)
    }
}

impl<O> From<Problem> for Refusal<O> {
    fn from(problem: Problem) -> Self {
        Self(problem, PhantomData)
    }
}

impl<O: Operation> IntoResponse for Answer<O> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<O> From<Refusal<O>> for poem::Error {
    fn from(refusal: Refusal<O>) -> Self {
        refusal.0.into()
    }
}

impl<O: Operation> ApiResponse for Answer<O> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: O::SUCCESSES.iter().map(success).collect(),
        }
    }

    fn register(registry: &mut Registry) {
        for Success { content, .. } in O::SUCCESSES {
            content.register(registry);
        }
    }
}

fn success(success: &Success) -> MetaResponse {
    let header = |header: &Header| MetaHeader {
        name: header.name.to_owned(),
        description: Some(header.description.to_owned()),
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    };
    MetaResponse {
        description: success.description,
        status: Some(success.status),
        status_range: None,
        content: success.content.media_type().into_iter().collect(),
        headers: success.headers.iter().map(header).collect(),
    }
}

impl<O: Operation> ApiResponse for Refusal<O> {
    fn meta() -> MetaResponses {
        let kinds = || COMMON.iter().chain(O::PROBLEMS);
        let mut statuses: Vec<u16> = kinds().map(|kind| kind.status().as_u16()).collect();
        statuses.sort_unstable();
        statuses.dedup();
        let responses = statuses.into_iter().map(|status| {
            let of_status = kinds().filter(|kind| kind.status() == status);
            let lines: Vec<String> = of_status
                .map(|kind| format!("`{}`: {}.", kind.uri(), kind.title()))
                .collect();
            MetaResponse {
                // Once for each operation of the process's one description.
                description: lines.join("\n\n").leak(),
                status: Some(status),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: "application/problem+json",
                    schema: schema::Problem::schema_ref(),
                }],
                headers: Vec::new(),
            }
        });
        MetaResponses {
            responses: responses.collect(),
        }
    }

    fn register(registry: &mut Registry) {
        schema::Problem::register(registry);
    }
}

impl Content {
    fn media_type(self) -> Option<MetaMediaType> {
        let json = |schema| {
            Some(MetaMediaType {
                content_type: "application/json",
                schema,
            })
        };
        match self {
            Self::None => None,
            Self::Job => json(schema::Job::schema_ref()),
            Self::JobPage => json(schema::JobPage::schema_ref()),
            Self::MediaPage => json(schema::MediaPage::schema_ref()),
            Self::Deletion => json(schema::Deletion::schema_ref()),
            Self::Deliveries => json(schema::WebhookDeliveries::schema_ref()),
            Self::Delivery => json(schema::WebhookDelivery::schema_ref()),
            Self::WebhookSecret => json(schema::WebhookSecret::schema_ref()),
            Self::Events => Some(MetaMediaType {
                content_type: "text/event-stream",
                schema: schema::JobEvent::schema_ref(),
            }),
        }
    }

    fn register(self, registry: &mut Registry) {
        match self {
            Self::None => {}
            Self::Events => schema::JobEvent::register(registry),
            Self::Job => schema::Job::register(registry),
            Self::JobPage => schema::JobPage::register(registry),
            Self::MediaPage => schema::MediaPage::register(registry),
            Self::Deletion => schema::Deletion::register(registry),
            Self::Deliveries => schema::WebhookDeliveries::register(registry),
            Self::Delivery => schema::WebhookDelivery::register(registry),
            Self::WebhookSecret => schema::WebhookSecret::register(registry),
        }
    }
}
