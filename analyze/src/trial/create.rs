//! Put-if-absent, the promise that everything rests on: a Delta commit is one object that exactly one writer may create.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{Error, ObjectStore as _, PutMode, PutPayload};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use wsp_schemas::store::Store;

use super::{RequestFailed, Trial, failed};

/// Keys of a short trial.
const SAMPLES: usize = 2;
/// Races of a short trial, and writers in each.
const ROUNDS: usize = 5;
const WRITERS: usize = 8;

/// What a short trial found.
#[derive(Debug)]
pub(crate) enum TrialError {
    /// The promise is not kept, and how that showed.
    Broken(String),
    /// A request was not answered.
    Failed(RequestFailed),
}

/// Tries in short whether a store lets one writer create an object, and removes the trial objects again.
pub(crate) async fn only_one_creates(store: &Store) -> Result<(), TrialError> {
    let trial = Trial::new(store);
    let found = both(&trial).await;
    for left in trial.clean_up().await {
        tracing::warn!(object = left.object, reason = left.reason, "a trial object could not be removed");
    }
    found.map_err(TrialError::Failed)?.map(drop).map_err(TrialError::Broken)
}

async fn both(trial: &Trial<'_>) -> Result<Finding, RequestFailed> {
    match second_is_refused(trial, SAMPLES).await? {
        Ok(_) => races(trial, ROUNDS, WRITERS).await,
        broken => Ok(broken),
    }
}

/// What was seen of a promise that is kept, or how it is broken.
pub(crate) type Finding = Result<String, String>;

/// Whether the second writer of a key is refused, and changes nothing; an error where a request failed.
pub(crate) async fn second_is_refused(trial: &Trial<'_>, samples: usize) -> Result<Finding, RequestFailed> {
    for sample in 0..samples {
        let name = format!("create/{sample}");
        let (key, content) = (trial.key(&name), trial.content(&name));
        if !trial.create(&key, content.clone()).await? {
            return Ok(Err("a new key is said to exist already".to_owned()));
        }
        let won = trial.create(&key, trial.content("second")).await?;
        let kept = trial.get(&key).await? == content;
        match (won, kept) {
            (false, true) => {}
            (false, false) => {
                return Ok(Err("the second writer of a key was refused, and its content stands".to_owned()));
            }
            (true, _) => {
                return Ok(Err(
                    "the second writer of a key was not refused: it wrote over the first".to_owned()
                ));
            }
        }
    }
    Ok(Ok(format!("{samples} keys, the second writer was refused")))
}

/// Whether races for a key have one winner each; an error where a request failed.
pub(crate) async fn races(
    trial: &Trial<'_>,
    rounds: usize,
    writers: usize,
) -> Result<Finding, RequestFailed> {
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..rounds {
        if let Err(reason) = race(trial, round, writers).await? {
            *wrong.entry(reason).or_default() += 1;
        }
    }
    if wrong.is_empty() {
        return Ok(Ok(format!("{rounds} races of {writers} writers, one winner each")));
    }
    let wrong: Vec<String> = wrong
        .into_iter()
        .map(|(reason, times)| format!("in {times} of {rounds} races of {writers} writers {reason}"))
        .collect();
    Ok(Err(wrong.join("; ")))
}

/// One race; what was wrong with its result.
async fn race(trial: &Trial<'_>, round: usize, writers: usize) -> Result<Result<(), String>, RequestFailed> {
    let key = trial.key(&format!("race/{round}"));
    let start = Arc::new(Barrier::new(writers));
    let mut racing = JoinSet::new();
    for writer in 0..writers {
        let content = trial.content(&format!("race/{round} of writer {writer}"));
        let (objects, key, start) = (Arc::clone(&trial.store().objects), key.clone(), Arc::clone(&start));
        racing.spawn(async move {
            start.wait().await;
            let put = objects.put_opts(&key, PutPayload::from(content.clone()), PutMode::Create.into()).await;
            match put {
                Ok(_) => Ok(Some(content)),
                Err(Error::AlreadyExists { .. }) => Ok(None),
                Err(error) => Err(failed("a write in a race")(error)),
            }
        });
    }
    // All of them, before one that failed ends the trial: a write that is under way would be left behind.
    let mut winners: Vec<Bytes> = Vec::new();
    let mut wrong = None;
    while let Some(written) = racing.join_next().await {
        let ended = written.map_err(|source| failed("a writer in a race")(Error::JoinError { source }));
        match ended.and_then(|written| written) {
            Ok(content) => winners.extend(content),
            Err(error) => wrong = Some(error),
        }
    }
    if let Some(error) = wrong {
        return Err(error);
    }
    let stored = trial.get(&key).await?;
    Ok(match winners.as_slice() {
        [winner] if *winner == stored => Ok(()),
        [_] => Err("the content of another writer stands".to_owned()),
        [] => Err("no writer was told that it won".to_owned()),
        _ => Err("several writers were told that they won".to_owned()),
    })
}
