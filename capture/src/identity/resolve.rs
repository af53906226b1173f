//! Naming containers while they are being recorded.

use std::time::Duration;

use tokio::sync::watch;

use super::{Identity, Sources};

/// Waits between tries. A runtime may show a container only some time after it made its cgroup.
const WAITS: [Duration; 7] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// An identity that is being found out. What is found stays, however long the container has been gone.
#[derive(Debug, Clone)]
pub struct Pending(watch::Receiver<Option<Identity>>);

impl Pending {
    /// One that is known.
    pub fn known(identity: Identity) -> Self {
        Self(watch::channel(Some(identity)).1)
    }

    /// What is known by now: none where it is still being found out.
    pub fn peek(&self) -> Option<Identity> {
        self.0.borrow().clone()
    }

    /// Waits until it is known, or until it cannot be.
    pub async fn get(&mut self, id: &str) -> Identity {
        match self.0.wait_for(Option::is_some).await {
            Ok(identity) => identity.clone().unwrap_or_else(|| Identity::unknown(id)),
            Err(_) => Identity::unknown(id),
        }
    }
}

/// Starts to find out who a container is. It is asked at once, for a short-lived container is forgotten soon.
pub fn resolve(sources: Sources, id: String) -> Pending {
    if sources.is_empty() {
        return Pending::known(Identity::unknown(&id));
    }
    let (tell, pending) = watch::channel(None);
    tokio::spawn(async move {
        let mut waits = WAITS.iter();
        let identity = loop {
            let error = match sources.find(&id).await {
                Ok(identity) => break identity,
                Err(error) => error,
            };
            let Some(wait) = waits.next() else {
                tracing::warn!(container = id, %error, "nobody knows the container: its snapshots are kept without a workload");
                break Identity::unknown(&id);
            };
            tokio::time::sleep(*wait).await;
        };
        // Nobody waits any more: that is fine.
        let _ = tell.send(Some(identity));
    });
    Pending(pending)
}
