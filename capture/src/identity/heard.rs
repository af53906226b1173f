//! What a runtime announced about its containers, for those that are gone before they can be asked about.
//!
//! A runtime holds a container's lock while it starts it. One that lives for less than that and is removed on exit answers
//! no question at all; but its creation was announced, with name, image and labels.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::StreamExt as _;

use super::allowed_labels;
use super::remembered::Remembered;

/// Wait before connecting again.
const AGAIN: Duration = Duration::from_secs(1);

/// What was announced of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
}

/// Announcements so far, shared with the task that hears them.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Remembered<Told>);

impl Heard {
    /// Starts to listen, for as long as the runtime of this task lives.
    pub(super) fn listen(docker: Docker) -> Self {
        let heard = Self::default();
        let listener = heard.clone();
        tokio::spawn(async move {
            let mut since = chrono::Utc::now();
            loop {
                let options = EventsOptions {
                    since: Some(since.timestamp().to_string()),
                    filters: Some(HashMap::from([("type".to_owned(), vec!["container".to_owned()])])),
                    ..EventsOptions::default()
                };
                // What is announced while nobody listens is told after the next connecting.
                since = chrono::Utc::now();
                let mut events = std::pin::pin!(docker.events(Some(options)));
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => listener.hear(event),
                        Err(error) => {
                            tracing::debug!(%error, "the runtime's announcements broke off");
                            break;
                        }
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        heard
    }

    /// What was announced of a container, by its full id.
    pub(super) fn of(&self, id: &str) -> Option<Told> {
        self.0.get(id)
    }

    fn hear(&self, event: EventMessage) {
        let Some(actor) = event.actor else { return };
        let (Some(id), Some(mut attributes)) = (actor.id, actor.attributes) else { return };
        // Labels and the runtime's own attributes stand side by side: these two are the runtime's.
        let (name, image) = (attributes.remove("name"), attributes.remove("image"));
        let told = Told { name, image, labels: allowed_labels(attributes) };
        self.0.put(&id, told);
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn announcements_are_remembered() {
        let heard = Heard::default();
        let attributes = [("name", "web"), ("image", "nginx:1"), ("app", "shop"), ("secret", "x")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let actor = EventActor { id: Some("1".to_owned()), attributes: Some(attributes) };
        heard.hear(EventMessage { actor: Some(actor), ..EventMessage::default() });
        let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let told = Told { name: Some("web".to_owned()), image: Some("nginx:1".to_owned()), labels };
        assert_eq!((heard.of("1"), heard.of("0")), (Some(told), None));
    }
}
