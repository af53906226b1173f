//! Naming containers while they are being recorded.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{Identity, IdentityError, Sources};

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
/// Wait between tries while a runtime is away.
const AWAY: Duration = Duration::from_secs(2);
/// Wait between tries where nobody knows the container: a map may come to name it.
const NOBODY: Duration = Duration::from_secs(30);

/// An identity that is being found out. What is found stays, however long the container has been gone.
#[derive(Debug, Clone)]
pub struct Pending(watch::Receiver<Known>);

#[derive(Debug, Clone)]
enum Known {
    /// Not yet.
    Asking,
    /// All have been asked and nobody knows, for now.
    Nobody,
    /// Who it is.
    As(Box<Identity>),
}

impl Pending {
    /// One that is known.
    pub fn known(identity: Identity) -> Self {
        Self(watch::channel(Known::As(Box::new(identity))).1)
    }

    /// What is known by now: none where it is still being found out.
    pub fn peek(&self) -> Option<Identity> {
        match &*self.0.borrow() {
            Known::As(identity) => Some(Identity::clone(identity)),
            _ => None,
        }
    }

    /// True where it is known by now to be a pod's sandbox.
    pub fn is_sandbox(&self) -> bool {
        matches!(&*self.0.borrow(), Known::As(identity) if identity.sandbox)
    }

    /// Waits until it is known, or until everybody has been asked and nobody knows. While a runtime is away that may take
    /// as long as that.
    pub async fn get(&mut self, id: &str) -> Identity {
        match self.0.wait_for(|known| !matches!(known, Known::Asking)).await.as_deref() {
            Ok(Known::As(identity)) => identity.as_ref().clone(),
            _ => Identity::unknown(id),
        }
    }
}

/// Starts to find out who a container is. It is asked at once, for a short-lived container is forgotten soon; and then for as
/// long as somebody waits for the answer.
pub fn resolve(sources: Sources, id: String, cgroup: PathBuf) -> Pending {
    if sources.is_empty() {
        return Pending::known(Identity::unknown(&id));
    }
    let (tell, pending) = watch::channel(Known::Asking);
    tokio::spawn(async move {
        let mut waits = WAITS.iter();
        loop {
            let error = match sources.identify(&id, Some(&cgroup)).await {
                Ok(identity) => {
                    // Nobody waits any more: that is fine.
                    let _ = tell.send(Known::As(Box::new(identity)));
                    return;
                }
                Err(error) => error,
            };
            let wait = match waits.next() {
                Some(wait) => *wait,
                None if matches!(error, IdentityError::NoContainer { .. }) => {
                    let was = tell.send_replace(Known::Nobody);
                    if matches!(was, Known::Asking) {
                        tracing::warn!(
                            container = id,
                            "nobody knows the container: its snapshots are kept without a workload"
                        );
                    }
                    NOBODY
                }
                None => AWAY,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = tell.closed() => return,
            }
        }
    });
    Pending(pending)
}
