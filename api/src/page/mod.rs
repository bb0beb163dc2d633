//! The page: what a person sees at `/` and at `/j/{id}`. It is a static page that asks nothing but this api, as anybody could;
//! so nothing here knows of jobs. Its files are `assets/`, as they were written: they are part of the program, and are compressed
//! once.

mod assets;
mod policy;

use std::sync::Arc;

use poem::{
    Request, Response, handler,
    http::header,
    web::{Data, Path},
};

pub(crate) use self::{assets::Assets, policy::StoreOrigin};
use crate::{context::Context, docs, problem::Problem};

/// Where one is below the root, which is all that the two addresses of the page differ in.
#[derive(Clone, Copy)]
enum Depth {
    Home,
    Job,
}

/// The page. Where it is turned off, the description is what there is to see.
#[handler]
pub(crate) async fn home(Data(context): Data<&Arc<Context>>, request: &Request) -> Response {
    match &context.page {
        Some(assets) => shell(context, assets, Depth::Home, request).await,
        None => docs::lead(),
    }
}

/// The same page, at a job.
#[handler]
pub(crate) async fn job(
    Data(context): Data<&Arc<Context>>,
    request: &Request,
) -> Result<Response, Problem> {
    let assets = context.page.as_ref().ok_or_else(no_such)?;
    Ok(shell(context, assets, Depth::Job, request).await)
}

/// A file of the page. An address names the version of all of them, so that it may be kept for ever.
#[handler]
pub(crate) fn asset(
    Data(context): Data<&Arc<Context>>,
    Path((version, name)): Path<(String, String)>,
    request: &Request,
) -> Result<Response, Problem> {
    let assets = context.page.as_ref().ok_or_else(no_such)?;
    let asset = assets.find(&name).ok_or_else(no_such)?;
    // While processes are replaced one by one, one may be asked for a file of another's version.
    let caching = if version == assets.version {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    Ok(asset
        .answer(request)
        .header(header::CACHE_CONTROL, caching)
        .body(asset.body(request)))
}

fn no_such() -> Problem {
    Problem::not_found("path")
}

async fn shell(context: &Context, assets: &Assets, depth: Depth, request: &Request) -> Response {
    let shell = match depth {
        Depth::Home => &assets.home,
        Depth::Job => &assets.job,
    };
    let origin = context.store_origin.get(&context.storage).await;
    shell
        .answer(request)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_SECURITY_POLICY, policy::page(origin))
        .header("cross-origin-opener-policy", "same-origin")
        .body(shell.body(request))
}
