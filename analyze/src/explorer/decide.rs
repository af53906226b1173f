//! Decisions of the explorer: on what stands in the store, for one rule and one workload, as it was shown.

use chrono::{DateTime, Utc};

use super::contract::{DecisionAnswer, DecisionKind, DecisionRequest};
use super::{Only, Source};
use crate::jobs::suppress::{self, Decision, Scope, State, SuppressError, Suppression};
use crate::rules::{self, LoadError, Rules};
use crate::session::{self, Resources};

/// Bytes of an author, and of a reason.
const MOST_AUTHOR: usize = 200;
const MOST_REASON: usize = 4_000;

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecided {
    /// More than one workload's signals would be hidden.
    #[error("the suppression {id} is for {scope}: the explorer decides on one image and tag only")]
    Wider {
        /// The suppression.
        id: String,
        /// What it is for.
        scope: String,
    },
    /// It is not what was looked at.
    #[error("the suppression {id} was changed since it was shown: look at it again")]
    Changed {
        /// The suppression.
        id: String,
    },
    /// Something else would be accepted than what stands.
    #[error("what was sent is not the predicate of the suppression {id}: decide on what is shown")]
    OtherPredicate {
        /// The suppression.
        id: String,
    },
    /// The request.
    #[error("{0}")]
    Request(String),
    /// The suppression or its rule does not allow it.
    #[error(transparent)]
    Suppress(#[from] SuppressError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] LoadError),
    /// The engine.
    #[error("the decision failed")]
    Engine(#[from] datafusion::error::DataFusionError),
}

/// Whether the explorer may accept a suppression. Taking one back hides nothing, whatever its scope.
pub(super) fn check(rules: &Rules, one: &Suppression) -> Result<(), Undecided> {
    if !matches!(one.scope, Scope::Workload(_)) {
        return Err(Undecided::Wider { id: one.id.clone(), scope: one.scope.to_string() });
    }
    Ok(suppress::may_hide(rules, &one.rule)?)
}

/// Decides, and says what that did to signals.
pub(super) async fn decide(
    source: &Source,
    id: &str,
    request: DecisionRequest,
    now: DateTime<Utc>,
) -> Result<DecisionAnswer, Undecided> {
    let expires_at = end(&request, now)?;
    for (what, text, most) in
        [("author", &request.author, MOST_AUTHOR), ("reason", &request.reason, MOST_REASON)]
    {
        if text.as_ref().is_some_and(|text| text.len() > most) {
            return Err(Undecided::Request(format!("the {what} has more than {most} bytes")));
        }
    }
    if request.author.as_ref().is_some_and(|author| author.chars().any(char::is_control)) {
        return Err(Undecided::Request("the author has control characters".to_owned()));
    }
    let store = &source.store;
    let all = suppress::load(store).await.map_err(SuppressError::from)?;
    let is_shown = |one: &&Suppression| one.id == id && Only::shows(source.only.as_ref(), &one.scope);
    let Some(one) = all.iter().find(is_shown).cloned() else {
        return Err(SuppressError::Unknown { id: id.to_owned() }.into());
    };
    let context = session::new(&Resources::default())?;
    if request.decision == DecisionKind::Accept {
        check(&rules::load(&context, Some(store), &[]).await?, &one)?;
    }
    if one.change != request.change {
        return Err(Undecided::Changed { id: one.id });
    }
    if one.predicate != request.predicate {
        return Err(Undecided::OtherPredicate { id: one.id });
    }
    let to = match request.decision {
        DecisionKind::Accept => State::Accepted,
        DecisionKind::Reject => State::Rejected,
        DecisionKind::Remove => State::Removed,
    };
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let suppression =
        Suppression { author: given(request.author), reason: given(request.reason), expires_at, ..one };
    let changed = suppress::decide(store, &context, &[Decision { suppression, to }], now).await?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(DecisionAnswer { hidden: count(changed.hidden), shown: count(changed.shown) })
}

/// When an accepted suppression ends.
fn end(request: &DecisionRequest, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Undecided> {
    let Some(text) = request.expires_at.as_deref() else { return Ok(None) };
    if request.decision != DecisionKind::Accept {
        return Err(Undecided::Request("only what is accepted can end".to_owned()));
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(end) if end > now => Ok(Some(end.to_utc())),
        Ok(_) => Err(Undecided::Request("the end is past".to_owned())),
        Err(_) => {
            Err(Undecided::Request("the end is no RFC 3339 time, as in 2026-11-24T03:00:00Z".to_owned()))
        }
    }
}
