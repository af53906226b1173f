//! One trial for each property of a store.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};

use super::check::Checker;
use crate::trial::{Finding, failed, races, second_is_refused};

impl Checker<'_> {
    pub(super) async fn write(&self) -> Finding {
        for sample in 0..self.options.samples {
            let name = format!("write/{sample}");
            let key = self.trial.key(&name);
            for content in [self.trial.content(&name), self.trial.content("again")] {
                self.trial.put(&key, content.clone()).await?;
                expect_content(&self.trial.get(&key).await?, &content, "what was just written")?;
            }
        }
        Ok(format!("{} objects, each written twice", self.options.samples))
    }

    pub(super) async fn absence(&self) -> Finding {
        if self.trial.is_absent(&self.trial.key("absent")).await? {
            Ok("as `not found`".to_owned())
        } else {
            Err("an object was read that nobody wrote".to_owned())
        }
    }

    /// Names as those of snapshots and table partitions are, with `=` and folders.
    pub(super) async fn list(&self) -> Finding {
        let mut expected = BTreeMap::new();
        for sample in 0..self.options.samples {
            let name = format!("list/part={sample:03}/object");
            let (key, content) = (self.trial.key(&name), self.trial.content(&name));
            expected.insert(key.clone(), content.len() as u64);
            self.trial.put(&key, content).await?;
            expect_listing(&self.trial.list("list").await?, &expected)?;
        }
        // A table's log is listed from its last checkpoint on.
        let Some(first) = expected.keys().next().cloned() else { return Ok("nothing".to_owned()) };
        let after = self.trial.list_after("list", &first).await?;
        if !after.iter().eq(expected.keys().skip(1)) {
            return Err(format!(
                "a listing of what follows the first of {} objects shows {}",
                expected.len(),
                after.len()
            ));
        }
        Ok(format!("{} objects, listed after each write", expected.len()))
    }

    pub(super) async fn range(&self) -> Finding {
        let (key, content) = (self.trial.key("range"), self.trial.content("range"));
        self.trial.put(&key, content.clone()).await?;
        let (middle, end) = (content.len() / 2, content.len());
        for range in [0..4, middle..middle + 7, end - 8..end] {
            let asked = range.start as u64..range.end as u64;
            let part = self.trial.store().objects.get_range(&key, asked).await;
            let part = part.map_err(failed("a read of a range"))?;
            expect_content(&part, &content.slice(range), "the bytes of the range")?;
        }
        Ok("start, middle and end of an object".to_owned())
    }

    pub(super) async fn create(&self) -> Finding {
        second_is_refused(&self.trial, self.options.samples).await?
    }

    pub(super) async fn race(&self) -> Finding {
        races(&self.trial, self.options.rounds, self.options.writers).await?
    }

    /// As damaged snapshots are moved to quarantine.
    pub(super) async fn rename(&self) -> Finding {
        let [from, copied, moved] =
            ["rename/from", "rename/copied", "rename/moved"].map(|name| self.trial.key(name));
        let (objects, content) = (&self.trial.store().objects, self.trial.content("rename"));
        self.trial.put(&from, content.clone()).await?;
        objects.copy(&from, &copied).await.map_err(failed("a copy"))?;
        expect_content(&self.trial.get(&copied).await?, &content, "the copy of what was written")?;
        objects.rename(&from, &moved).await.map_err(failed("a rename"))?;
        expect_content(&self.trial.get(&moved).await?, &content, "what was renamed")?;
        if !self.trial.is_absent(&from).await? {
            return Err("an object that was renamed still stands under its old key".to_owned());
        }
        match objects.rename(&from, &moved).await {
            // A merge that was stopped relies on it: what it had moved is not there any more.
            Err(Error::NotFound { .. }) => Ok("content and keys as expected".to_owned()),
            Err(error) => Err(failed("a rename of a missing object")(error).into()),
            Ok(()) => Err("the rename of a missing object is said to be done".to_owned()),
        }
    }

    pub(super) async fn delete(&self) -> Finding {
        let key = self.trial.key("delete/object");
        self.trial.put(&key, self.trial.content("delete")).await?;
        self.trial.store().objects.delete(&key).await.map_err(failed("a delete"))?;
        if !self.trial.is_absent(&key).await? {
            return Err("a deleted object can still be read".to_owned());
        }
        if !self.trial.list("delete").await?.is_empty() {
            return Err("a listing still shows a deleted object".to_owned());
        }
        Ok("neither read nor listed any more".to_owned())
    }

    pub(super) async fn clock(&mut self) -> Finding {
        let key = self.trial.key("clock");
        let before = Utc::now();
        self.trial.put(&key, self.trial.content("clock")).await?;
        let after = Utc::now();
        let object = self.trial.store().objects.head(&key).await;
        let object = object.map_err(failed("a look at an object's metadata"))?;
        let skew = skew(object.last_modified, before, after);
        self.skew = Some(skew);
        let seconds = skew.num_milliseconds().abs() as f64 / 1000.0;
        let text = match skew.num_milliseconds() {
            0 => "the store's agrees with ours".to_owned(),
            ahead if ahead > 0 => format!("the store's is {seconds:.1} s ahead of ours"),
            _ => format!("the store's is {seconds:.1} s behind ours"),
        };
        let limit = TimeDelta::from_std(self.options.max_skew).unwrap_or(TimeDelta::MAX);
        if skew.abs() <= limit { Ok(text) } else { Err(text) }
    }
}

/// How far a time is outside of the request that set it. Stores tell whole seconds.
fn skew(told: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    let resolution = TimeDelta::seconds(1);
    if told > after {
        told - after
    } else if told + resolution < before {
        told + resolution - before
    } else {
        TimeDelta::zero()
    }
}

fn expect_content(found: &Bytes, expected: &Bytes, what: &str) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} does not come back: {} bytes instead of {}", found.len(), expected.len()))
}

fn expect_listing(found: &BTreeMap<Path, u64>, expected: &BTreeMap<Path, u64>) -> Result<(), String> {
    let missing = expected.keys().filter(|key| !found.contains_key(*key)).count();
    if missing > 0 {
        return Err(format!("a listing does not show {missing} of {} objects just written", expected.len()));
    }
    let resized = expected.iter().find(|(key, size)| found.get(*key) != Some(size));
    match resized {
        Some((_, size)) => Err(format!("a listing shows another size than the {size} bytes just written")),
        None if found.len() > expected.len() => Err("a listing shows objects that nobody wrote".to_owned()),
        None => Ok(()),
    }
}
