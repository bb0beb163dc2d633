//! The extractor of query parameters.

use poem::{FromRequest, Request, RequestBody};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::problem::{Kind, Problem};

/// Query parameters. Unknown ones are ignored.
pub(crate) struct Query<T>(pub(crate) T);

impl<'a, T: DeserializeOwned> FromRequest<'a> for Query<T> {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let parsed = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs));
        let value = parsed.map_err(|error| {
            let (name, reason) = (error.path().to_string(), error.inner());
            Problem::new(
                Kind::InvalidParameter,
                format!("the parameter {name}: {reason}"),
            )
        })?;
        Ok(Self(value))
    }
}
