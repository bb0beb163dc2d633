//! The web page at `/` and `/j/{id}`. It is static and calls only this api, as any client could, so
//! nothing here knows of jobs.
//!
//! - `assets`: the files in `assets/`, embedded in the binary as they are and compressed once
//! - `policy`: the content security policy

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

/// Depth of a URL below the root: the only difference between the two URLs of the page.
#[derive(Clone, Copy)]
enum Depth {
    Home,
    Job,
}

/// Serves the page, or redirects to Swagger UI if the page is turned off.
#[handler]
pub(crate) async fn home(Data(context): Data<&Arc<Context>>, request: &Request) -> Response {
    match &context.page {
        Some(assets) => shell(context, assets, Depth::Home, request).await,
        None => docs::redirect(),
    }
}

/// Serves the same page at a job.
#[handler]
pub(crate) async fn job(
    Data(context): Data<&Arc<Context>>,
    request: &Request,
) -> Result<Response, Problem> {
    let assets = context.page.as_ref().ok_or_else(no_such)?;
    Ok(shell(context, assets, Depth::Job, request).await)
}

/// Serves a file of the page. Its URL names the version of all files, so it can be cached for ever.
#[handler]
pub(crate) fn asset(
    Data(context): Data<&Arc<Context>>,
    Path((version, name)): Path<(String, String)>,
    request: &Request,
) -> Result<Response, Problem> {
    let assets = context.page.as_ref().ok_or_else(no_such)?;
    let asset = assets.find(&name).ok_or_else(no_such)?;
    // During a rolling update, a process may be asked for a file of another process's version.
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
