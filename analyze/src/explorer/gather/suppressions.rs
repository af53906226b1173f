//! Suggestions and suppressions, with what they hide, and the commands that decide on them.

use super::{Gatherer, Only, rfc3339};
use crate::explorer::contract::{Commands, Suppression};
use crate::explorer::{ExplorerError, decide};
use crate::jobs::suppress::{self, Scope, State};

impl Gatherer {
    /// The newest first; of those images that the pages are limited to.
    pub(super) async fn suppressions(&self) -> Result<Vec<Suppression>, ExplorerError> {
        let mut all = suppress::load(&self.store).await?;
        all.retain(|one| Only::shows(self.only.as_ref(), &one.scope));
        all.sort_by_key(|one| std::cmp::Reverse(one.change));
        let hides = suppress::matches(&self.store, &self.context, &all).await?;
        Ok(all.iter().zip(hides).map(|(one, hides)| self.shown(one, hides)).collect())
    }

    fn shown(&self, one: &suppress::Suppression, hides: suppress::Matches) -> Suppression {
        // What is accepted may be taken back, whatever its scope.
        let is_decidable = one.state == State::Accepted || decide::check(&self.rules, one).is_ok();
        let command = |verb: &str, is_next: bool| {
            let words = is_next.then(|| {
                let words = ["wsp", "suppress", verb, one.id.as_str()].into_iter();
                let words = words.chain(self.arguments.iter().map(String::as_str));
                shlex::try_join(words).ok()
            });
            words.flatten()
        };
        Suppression {
            commands: Commands {
                accept: command("accept", one.state != State::Accepted),
                reject: command("reject", one.state == State::Suggested),
                remove: command("remove", one.state == State::Accepted),
            },
            id: one.id.clone(),
            change: one.change,
            state: one.state.as_str().to_owned(),
            rule: one.rule.clone(),
            scope: one.scope.as_str().to_owned(),
            image: match &one.scope {
                Scope::Workload(workload) => Some(workload.to_string()),
                Scope::Image(name) => Some(name.clone()),
                Scope::All => None,
            },
            predicate: one.predicate.clone(),
            author: one.author.clone(),
            reason: one.reason.clone(),
            changed_at: rfc3339(one.changed_at),
            expires_at: one.expires_at.map(rfc3339),
            evidence: serde_json::from_str(&one.evidence).ok(),
            hides: hides.hidden,
            would_hide: hides.open,
            is_decidable,
        }
    }
}
