//! Names to public addresses. The HTTP client connects to what comes out of here and asks nobody again, so a name cannot
//! change its mind between the check and the connection.

use std::{io, net::SocketAddr};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::ResolverConfig,
    net::{NetError, runtime::TokioRuntimeProvider},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Forbidden, address::is_public};

/// An error, as HTTP clients take it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Resolves names as the system is configured, and keeps back what is not public.
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// A resolver by the system's configuration.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn from_system() -> io::Result<Self> {
        let inner = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        inner.map(|inner| Self { inner }).map_err(io::Error::other)
    }

    /// A resolver that asks these servers.
    ///
    /// # Errors
    /// If it cannot be set up.
    pub fn with_config(config: ResolverConfig) -> io::Result<Self> {
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder
            .build()
            .map(|inner| Self { inner })
            .map_err(io::Error::other)
    }

    /// The public addresses of a name.
    ///
    /// # Errors
    /// [`Forbidden`] if there is none, or what stands in the way.
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
