//! Ports on loopback. A component gets the port that it had before, as workflow histories hold
//! addresses; else its usual port; else a free one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use super::Options;

/// Binds a port for the component of this name and stores its number for the next start.
///
/// # Errors
/// If no port is free, or its number cannot be stored.
pub async fn bind(options: &Options, component: &str, usual: u16) -> Result<TcpListener> {
    bind_one_of(options, component, usual, [0]).await
}

async fn bind_one_of(
    options: &Options,
    component: &str,
    usual: u16,
    others: impl IntoIterator<Item = u16>,
) -> Result<TcpListener> {
    let memory = memory(options, component);
    let before = std::fs::read_to_string(&memory)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let usual = options.usual_ports.then_some(usual);
    for port in before.into_iter().chain(usual).chain(others) {
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
        {
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
/// If no port is free, or its number cannot be stored.
pub async fn pick(options: &Options, component: &str, usual: u16) -> Result<SocketAddr> {
    let picked = pick_all(options, &[(component.to_owned(), usual)]).await?;
    picked.into_iter().next().context("no port was picked")
}

/// Picks ports for a process that binds them itself, below the ephemeral range: until it does, a
/// connection of any process may get an ephemeral one. Temporal, too, picks ephemeral ports for
/// itself, and stores its own as a signed 16-bit integer.
///
/// # Errors
/// If no port is free, or a number cannot be stored.
pub async fn pick_all(options: &Options, components: &[(String, u16)]) -> Result<Vec<SocketAddr>> {
    /// Range below the ephemeral ports and above most well-known services.
    const LOW: std::ops::Range<u16> = 20_000..32_000;
    /// Number of ports picked by this process so far: a picked port is not bound at once, so it
    /// must not be picked again.
    static PICKED: AtomicU16 = AtomicU16::new(0);
    // Each process begins at another port, far from those of processes with similar ids.
    let spread = std::process::id().wrapping_mul(7919) % u32::from(LOW.end - LOW.start);
    let spread = u16::try_from(spread).unwrap_or_default();
    let count = u16::try_from(components.len()).unwrap_or_default();
    let spread = (spread + PICKED.fetch_add(count, Ordering::Relaxed)) % (LOW.end - LOW.start);
    let mut held = Vec::new();
    for (component, usual) in components {
        let others = (LOW.start + spread..LOW.end).chain(LOW);
        held.push(bind_one_of(options, component, *usual, others).await?);
    }
    held.iter()
        .map(|listener| Ok(listener.local_addr()?))
        .collect()
}

fn memory(options: &Options, component: &str) -> PathBuf {
    options.directory.join("ports").join(component)
}
