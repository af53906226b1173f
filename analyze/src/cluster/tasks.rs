//! Units of work that executors do one by one: each is a message, and so is all that comes of it.
//!
//! What a unit gives is told from what is not there, or there twice, by a row that ends it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::exec_datafusion_err;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::TryStreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bind;
use super::driver::{Cluster, partitions};
use crate::engine::{self, EngineError};
use crate::jobs::compact::remote::{MoveWork, Moving, PackWork, Packing};
use crate::jobs::detect::remote::{JudgeWork, Judging};
use crate::session::{Resources, store_url};
use crate::units::{Counter, UnitWork, UnitsExec};

/// How often work is given out of which a cluster does not give each unit once.
const ATTEMPTS: u32 = 3;

/// Bytes of answers in a batch, about: none is sent whose message would be too large.
const BATCH_BYTES: usize = 1 << 20;

/// What executors do with units.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Judge snapshots.
    Judge(JudgeWork),
    /// Move snapshots into `activity`.
    Move(MoveWork),
    /// Put small files of a table together.
    Pack(PackWork),
}

/// Does one kind of work.
enum Worker {
    Judge(Judging),
    Move(Moving),
    Pack(Packing),
}

impl Worker {
    fn new(work: &Work, context: &TaskContext) -> Result<Self> {
        let objects = context.runtime_env().object_store(store_url()?)?;
        Ok(match work {
            Work::Judge(work) => Self::Judge(Judging::new(work, &objects)?),
            Work::Move(work) => Self::Move(Moving::new(work, objects)),
            Work::Pack(work) => Self::Pack(Packing::new(work, objects)?),
        })
    }

    /// What comes of a unit, and how many snapshots were looked at.
    async fn answer(&self, unit: &[u8]) -> Result<(Vec<Vec<u8>>, usize)> {
        match self {
            Self::Judge(judging) => judging.answer(unit).await,
            Self::Move(moving) => moving.answer(unit).await,
            Self::Pack(packing) => Ok((vec![packing.answer(unit).await?], 0)),
        }
    }
}

/// Numbers, and units or what comes of them.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::UInt32, false),
        Field::new("message", DataType::Binary, true),
    ]))
}

fn rows<'a>(number: u32, messages: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Result<RecordBatch> {
    let numbers = UInt32Array::from(vec![number; messages.len()]);
    let messages: BinaryArray = messages.collect();
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(messages)])?)
}

/// What came of a unit, and the row that ends it.
fn batches(number: u32, answers: &[Vec<u8>]) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    let mut rest = answers;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|answer| {
            let is_first = bytes == 0;
            bytes += answer.len();
            is_first || bytes <= BATCH_BYTES
        });
        let (now, later) = rest.split_at(fits.count());
        batches.push(rows(number, now.iter().map(|answer| Some(answer.as_slice())))?);
        rest = later;
    }
    batches.push(rows(number, std::iter::once(None))?);
    Ok(batches)
}

impl Cluster {
    /// Has executors work on units, each with its weight in bytes; gives what comes of each, in the order of the units.
    pub(crate) async fn ask<U: Serialize, A: DeserializeOwned>(
        &self,
        work: Work,
        units: Vec<(u64, U)>,
        ledger: Option<&str>,
        resources: &Resources,
    ) -> Result<Vec<Vec<A>>, EngineError> {
        let count = units.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let bytes = units.iter().map(|(bytes, _)| bytes).sum();
        let mut pieces = Vec::with_capacity(count);
        for ((bytes, unit), number) in units.into_iter().zip(0..) {
            let message = serde_json::to_vec(&unit).map_err(|error| exec_datafusion_err!("{error}"))?;
            pieces.push((bytes, rows(number, std::iter::once(Some(message.as_slice())))?));
        }
        let parts = engine::deal(pieces, partitions(count, bytes));
        let context = self.session(resources, parts.len())?;
        if let Some(ledger) = ledger {
            bind(&context, ledger);
        }
        let units = MemorySourceConfig::try_new_exec(&parts, schema(), None)?;
        let plan: Arc<dyn ExecutionPlan> = Arc::new(UnitsExec::new(units, Arc::new(work), Arc::default())?);
        for attempt in 1.. {
            let given = self.run(Arc::clone(&plan), &context.copied_config()).await?;
            match by_unit(&given, count)? {
                Some(answers) => return Ok(answers),
                None if attempt < ATTEMPTS => {
                    tracing::warn!("the parts of a plan came twice or not at all: it is run again");
                }
                None => break,
            }
        }
        Err(exec_datafusion_err!("the parts of a plan came twice or not at all, {ATTEMPTS} times").into())
    }
}

/// None where a unit did not end, or ended twice.
fn by_unit<A: DeserializeOwned>(given: &[RecordBatch], count: usize) -> Result<Option<Vec<Vec<A>>>> {
    let mut answers: BTreeMap<u32, Vec<A>> = BTreeMap::new();
    let mut ended = vec![0_u32; count];
    for batch in given {
        let numbers = batch["number"].as_primitive::<UInt32Type>();
        let messages = batch["message"].as_binary::<i32>();
        for (number, row) in numbers.values().iter().zip(0..) {
            if messages.is_null(row) {
                let ended = ended.get_mut(*number as usize);
                *ended.ok_or_else(|| exec_datafusion_err!("there is no unit {number}"))? += 1;
                continue;
            }
            let answer = serde_json::from_slice(messages.value(row))
                .map_err(|error| exec_datafusion_err!("what came of a unit cannot be read: {error}"))?;
            answers.entry(*number).or_default().push(answer);
        }
    }
    if ended.iter().any(|times| *times != 1) {
        return Ok(None);
    }
    Ok(Some(ended.iter().zip(0..).map(|(_, number)| answers.remove(&number).unwrap_or_default()).collect()))
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Judge(_) => "judge",
            Self::Move(_) => "move",
            Self::Pack(_) => "pack",
        })
    }
}

impl UnitWork for Work {
    const NAME: &'static str = "TaskExec";

    fn schema(&self) -> Result<SchemaRef> {
        Ok(schema())
    }

    fn start(
        self: Arc<Self>,
        mut units: SendableRecordBatchStream,
        _: usize,
        context: Arc<TaskContext>,
        counter: Arc<Counter>,
    ) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStreamBuilder::new(schema(), 2);
        let sender = stream.tx();
        stream.spawn(async move {
            let worker = Worker::new(&self, &context)?;
            while let Some(batch) = units.try_next().await? {
                let numbers = batch["number"].as_primitive::<UInt32Type>();
                let messages = batch["message"].as_binary::<i32>();
                for (number, unit) in numbers.values().iter().zip(messages.iter().flatten()) {
                    // The job was given up.
                    if sender.is_closed() {
                        return Ok(());
                    }
                    let (answers, looked_at) = worker.answer(unit).await?;
                    counter.add(looked_at);
                    for batch in batches(*number, &answers)? {
                        let _ = sender.send(Ok(batch)).await;
                    }
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_in_batches_that_end() {
        let large = vec![b'1'; BATCH_BYTES];
        let batches = batches(3, &[vec![b'1'], large.clone(), large, vec![b'1'], vec![b'1']]).unwrap();
        let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [1, 1, 1, 2, 1]);
        assert_eq!(super::batches(0, &[]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_there_once_is_not_taken() {
        let answer =
            |number, text: &'static str| rows(number, std::iter::once(Some(text.as_bytes()))).unwrap();
        let end = |number| rows(number, std::iter::once(None)).unwrap();
        let whole = [answer(1, "7"), answer(0, "5"), end(1), answer(0, "6"), end(0)];
        assert_eq!(by_unit::<u8>(&whole, 2).unwrap(), Some(vec![vec![5, 6], vec![7]]));
        assert_eq!(by_unit::<u8>(&whole, 3).unwrap(), None, "one did not end");
        let twice: Vec<RecordBatch> = whole.iter().cloned().chain([answer(1, "7"), end(1)]).collect();
        assert_eq!(by_unit::<u8>(&twice, 2).unwrap(), None);
        assert!(by_unit::<u8>(&whole, 1).is_err(), "a number that nobody gave");
        assert!(by_unit::<u8>(&[answer(0, "{"), end(0)], 1).is_err());
    }
}
