//! Ports on loopback: the one that this stack had before, as histories hold addresses; else the usual one; else a free one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::Options;

/// Binds a port for the component of this name and remembers it.
///
/// # Errors
/// If there is none.
pub async fn bind(options: &Options, component: &str, usual: u16) -> Result<TcpListener> {
    let memory = memory(options, component);
    let before = std::fs::read_to_string(&memory).ok().and_then(|text| text.trim().parse().ok());
    let usual = options.usual_ports.then_some(usual);
    for port in [before, usual, Some(0)].into_iter().flatten() {
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            std::fs::create_dir_all(memory.with_file_name(""))?;
            std::fs::write(&memory, listener.local_addr()?.port().to_string())?;
            return Ok(listener);
        }
    }
    None.context("no port is free on 127.0.0.1")
}

/// Picks a port for a process that binds it itself.
///
/// # Errors
/// If there is none.
pub async fn pick(options: &Options, component: &str, usual: u16) -> Result<SocketAddr> {
    Ok(bind(options, component, usual).await?.local_addr()?)
}

fn memory(options: &Options, component: &str) -> PathBuf {
    options.directory.join("ports").join(component)
}
