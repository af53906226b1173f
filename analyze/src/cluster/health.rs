use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::ClusterError;
use crate::metrics::{Page, serve};

/// What a node says of itself, at an address of its own: the engine's port is for nodes only.
#[derive(Debug)]
pub(super) struct Health {
    listener: TcpListener,
    address: SocketAddr,
}

impl Health {
    pub(super) async fn listen(address: SocketAddr) -> Result<Self, ClusterError> {
        let failed = |source| ClusterError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is told to stop.
    pub(super) fn start(
        self,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
        metrics: impl Fn() -> prometheus_client::registry::Registry + Send + Sync + 'static,
        stop: CancellationToken,
    ) {
        let page = move |path: &str| match path {
            "/metrics" => Page::Metrics(metrics()),
            "/healthz" => Page::Health(true, "ok"),
            "/readyz" if is_ready() => Page::Health(true, "ready"),
            "/readyz" => Page::Health(false, "not ready"),
            _ => Page::Missing("there are /metrics, /healthz and /readyz"),
        };
        tokio::spawn(serve(self.listener, page, stop));
    }
}
