//! Resolves names to public addresses. The HTTP client connects to the addresses that this resolver
//! returns, and does not resolve again, so a name cannot change its address between the check and
//! the connection (DNS rebinding).

use std::{io, net::SocketAddr};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::ResolverConfig,
    net::{NetError, runtime::TokioRuntimeProvider},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Forbidden, address::is_public};

/// Error type that HTTP clients take.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Resolves names as the system is configured, and drops addresses that are not public.
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// Creates a resolver with the system's configuration.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn from_system() -> io::Result<Self> {
        let inner = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        inner.map(|inner| Self { inner }).map_err(io::Error::other)
    }

    /// Creates a resolver that queries these servers.
    ///
    /// # Errors
    /// If the resolver cannot be created.
    pub fn with_config(config: ResolverConfig) -> io::Result<Self> {
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder
            .build()
            .map(|inner| Self { inner })
            .map_err(io::Error::other)
    }

    /// Returns the public addresses of a name.
    ///
    /// # Errors
    /// [`Forbidden`] if there is none, or the error of the lookup.
    pub(super) async fn find(&self, name: &str) -> Result<Vec<SocketAddr>, BoxError> {
        match self.public_addresses(name).await {
            Ok(addresses) => Ok(addresses),
            Err(Error::Forbidden(forbidden)) => Err(forbidden.into()),
            Err(error) => Err(error.into()),
        }
    }

    async fn public_addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Error> {
        let found = self.inner.lookup_ip(name).await?;
        let public: Vec<_> = found
            .iter()
            .filter(|address| is_public(*address))
            .map(|address| SocketAddr::new(address, 0))
            .collect();
        if public.is_empty() {
            Err(Forbidden::Name(name.to_owned()).into())
        } else {
            Ok(public)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the name cannot be resolved: {0}")]
    Lookup(#[from] NetError),
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.find(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
