//! What every request and answer goes through, in one order.
//!
//! - [`request_id`]: which request it is, everywhere
//! - [`observe`]: counting what was answered
//! - [`headers`]: what browsers and proxies go by
//! - [`cors`]: pages of other origins
//! - [`problems`]: errors as callers see them
//! - [`peers`]: how many requests come without a key

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod observe;
pub(crate) mod problems;
pub(crate) mod request_id;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, Response, endpoint::BoxEndpoint, middleware::CatchPanic};

use self::{cors::Origins, headers::Headers};
use crate::{Context, access::peers, problem::Problem, router::Methods};

/// Puts the layers around the routes: the last is the first that a request meets.
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
    let peers = Arc::clone(&context.peers);
    let cors = origins.cors(&context.public_url);
    routes
        .around(move |next, request| peers::admit(Arc::clone(&peers), next, request))
        .data(context)
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        // An answer of any kind has the headers that cross-origin callers need; and what is refused them is a problem too.
        .around(problems::answer)
        .with_if(!origins.is_empty(), cors)
        // Each layer's type has those within it as its own; optimized builds cannot lay out all of them at a time.
        .boxed()
        .around(problems::answer)
        .around(move |next, request| headers::add(Arc::clone(&headers), next, request))
        .around(move |next, request| headers::allow(Arc::clone(&allowed), next, request))
        .around(move |next, request| observe::count(Arc::clone(&routed), next, request))
        .around(move |next, request| request_id::identify(Arc::clone(&methods), next, request))
        .boxed()
}
