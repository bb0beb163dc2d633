//! Ports on loopback: the usual one, so that addresses stay the same from run to run, or a free one where it is taken.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::Options;

/// Binds the usual port or a free one.
///
/// # Errors
/// If there is none.
pub async fn bind(options: &Options, usual: u16) -> Result<TcpListener> {
    let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if options.usual_ports
        && let Ok(listener) = TcpListener::bind(port(usual)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(port(0)).await.context("no port is free on 127.0.0.1")
}

/// Picks the usual port or a free one for a process that binds it itself.
///
/// # Errors
/// If there is none.
pub async fn pick(options: &Options, usual: u16) -> Result<SocketAddr> {
    Ok(bind(options, usual).await?.local_addr()?)
}
