//! The layers around every request and response, from the outermost to the innermost:
//!
//! - [`request_id`]: assigns the request id, and opens the span of the request
//! - [`observe`]: counts responses
//! - [`headers`]: adds default headers, and `Allow`
//! - [`problems`]: converts errors into problem details
//! - [`cors`]: allows pages of other origins
//! - [`hosts`]: refuses requests to names of other machines, without API keys
//! - [`peers`]: rate limits requests without a key

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod observe;
pub(crate) mod problems;
pub(crate) mod request_id;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, Response, endpoint::BoxEndpoint, middleware::CatchPanic};

use self::{cors::Origins, headers::Headers};
use crate::{
    Context,
    access::{hosts, peers},
    problem::Problem,
    router::Methods,
};

/// Puts the layers around the routes. The last one is the outermost.
pub(crate) fn around<E>(
    routes: E,
    methods: Methods,
    context: Arc<Context>,
    origins: &Origins,
) -> BoxEndpoint<'static, Response>
where
    E: Endpoint + 'static,
{
    let methods = Arc::new(methods);
    let (allowed, routed) = (Arc::clone(&methods), Arc::clone(&methods));
    let headers = Arc::new(Headers::of(&context.public_url));
    let (peers, hosts) = (Arc::clone(&context.peers), Arc::clone(&context.hosts));
    let cors = origins.cors(&context.public_url);
    routes
        .around(move |next, request| peers::admit(Arc::clone(&peers), next, request))
        .around(move |next, request| hosts::admit(Arc::clone(&hosts), next, request))
        .data(context)
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        // Within CORS, so that responses to errors get its headers. Outside of it, as a request
        // that CORS refuses is a problem as well.
        .around(problems::answer)
        .with_if(!origins.is_empty(), cors)
        .around(cors::same_origin)
        // Boxed, as the type of a layer contains all layers within it: optimized builds cannot
        // compute the layout of all of them at once.
        .boxed()
        .around(problems::answer)
        .around(move |next, request| headers::add(Arc::clone(&headers), next, request))
        .around(move |next, request| headers::allow(Arc::clone(&allowed), next, request))
        .around(move |next, request| observe::count(Arc::clone(&routed), next, request))
        .around(move |next, request| request_id::identify(Arc::clone(&methods), next, request))
        .boxed()
}
