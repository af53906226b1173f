//! Functions about nodes: their ids, paths and members, and how sure a share is.
//!
//! - `node_key(text)`: the 16 bytes of a node id that is given in hex, for the tables in `raw`.
//! - `normalise_path(path)`: a path as nodes have it, after the path rules.
//! - `members_count(members)`, `members_list(members)`, `members_below(members, n)`: how many snapshots have a node, their ordinals,
//!   and those of the first `n` snapshots.
//! - `wilson_low(k, n)`, `wilson_high(k, n)`: the 95 % Wilson interval of a share of `k` of `n`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BinaryBuilder, Float64Array, Int32Builder, ListBuilder};
use arrow::array::{Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use wsp_schemas::identity::NodeId;
use wsp_schemas::{paths, text};

use super::MemberSet;
use super::members::is_members;
use crate::stats::wilson;

/// All of them.
pub(super) fn about_nodes() -> impl Iterator<Item = Arc<ScalarUDF>> {
    use What::*;
    [NodeKey, NormalisePath, MembersCount, MembersList, MembersBelow, WilsonLow, WilsonHigh]
        .map(of)
        .into_iter()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    NodeKey,
    NormalisePath,
    MembersCount,
    MembersList,
    MembersBelow,
    WilsonLow,
    WilsonHigh,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AboutNodes {
    what: What,
    signature: Signature,
}

fn arguments(what: What) -> Vec<DataType> {
    match what {
        What::NodeKey | What::NormalisePath => vec![DataType::Utf8],
        What::MembersCount | What::MembersList => vec![DataType::Binary],
        What::MembersBelow => vec![DataType::Binary, DataType::Int64],
        What::WilsonLow | What::WilsonHigh => vec![DataType::Int64; 2],
    }
}

fn of(what: What) -> Arc<ScalarUDF> {
    let signature = match what {
        What::MembersCount | What::MembersList | What::MembersBelow => {
            Signature::user_defined(Volatility::Immutable)
        }
        _ => Signature::exact(arguments(what), Volatility::Immutable),
    };
    Arc::new(ScalarUDF::from(AboutNodes { what, signature }))
}

fn item() -> Field {
    Field::new("item", DataType::Int32, true)
}

fn members(bytes: &[u8]) -> Result<MemberSet> {
    MemberSet::from_bytes(bytes).map_err(|error| exec_datafusion_err!("these are no members: {error}"))
}

/// A column of sets of members, of their storage type.
fn each_set<T>(values: &ArrayRef, then: impl Fn(MemberSet) -> T) -> Result<Vec<Option<T>>> {
    let values = values.as_binary::<i32>();
    values.iter().map(|bytes| bytes.map(|bytes| members(bytes).map(&then)).transpose()).collect()
}

impl ScalarUDFImpl for AboutNodes {
    fn name(&self) -> &str {
        match self.what {
            What::NodeKey => "node_key",
            What::NormalisePath => "normalise_path",
            What::MembersCount => "members_count",
            What::MembersList => "members_list",
            What::MembersBelow => "members_below",
            What::WilsonLow => "wilson_low",
            What::WilsonHigh => "wilson_high",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = arguments(self.what);
        let fits = |(given, wanted): (&DataType, &DataType)| match wanted {
            DataType::Binary => is_members(given),
            _ => given.is_integer() || given.is_null(),
        };
        if given.len() == wanted.len() && given.iter().zip(&wanted).all(fits) {
            return Ok(wanted);
        }
        plan_err!(
            "{} takes the members of a node{}",
            self.name(),
            if wanted.len() > 1 { " and a number" } else { "" }
        )
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::NodeKey | What::MembersBelow => DataType::Binary,
            What::NormalisePath => DataType::Utf8,
            What::MembersCount => DataType::Int32,
            What::MembersList => DataType::List(Arc::new(item())),
            What::WilsonLow | What::WilsonHigh => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values: Vec<ArrayRef> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let first = values.first().ok_or_else(|| exec_datafusion_err!("{} has arguments", self.name()))?;
        let made: ArrayRef = match self.what {
            What::NodeKey => {
                let mut keys = BinaryBuilder::new();
                for text in first.as_string::<i32>() {
                    match text.map(NodeId::parse) {
                        None => keys.append_null(),
                        Some(Some(id)) => keys.append_value(id.as_bytes()),
                        Some(None) => return exec_err!("node_key: a node id has 32 hexadecimal digits"),
                    }
                }
                Arc::new(keys.finish())
            }
            What::NormalisePath => {
                let normal = |path: &str| {
                    // Text columns hold an escape of the bytes that the rules are about.
                    let bytes = text::unescape(path).unwrap_or_else(|_| path.as_bytes().to_vec());
                    text::escape(&paths::normalise(&bytes)).into_owned()
                };
                let paths = first.as_string::<i32>().iter().map(|path| path.map(normal));
                Arc::new(paths.collect::<StringArray>())
            }
            What::MembersCount => {
                let count = |set: MemberSet| i32::try_from(set.iter().count()).unwrap_or(i32::MAX);
                Arc::new(Int32Array::from(each_set(first, count)?))
            }
            What::MembersList => {
                let mut lists = ListBuilder::new(Int32Builder::new()).with_field(item());
                for set in each_set(first, |set| set)? {
                    match set {
                        None => lists.append_null(),
                        Some(set) => {
                            lists
                                .append_value(set.iter().map(|n| Some(i32::try_from(n).unwrap_or(i32::MAX))));
                        }
                    }
                }
                Arc::new(lists.finish())
            }
            What::MembersBelow => {
                let below = cast(&values[1], &DataType::Int64)?;
                let below = below.as_primitive::<Int64Type>();
                let mut sets = BinaryBuilder::new();
                for (set, below) in each_set(first, |set| set)?.into_iter().zip(below) {
                    let (Some(set), Some(below)) = (set, below) else {
                        sets.append_null();
                        continue;
                    };
                    let mut kept = MemberSet::default();
                    for ordinal in set.iter().take_while(|ordinal| i64::from(*ordinal) < below) {
                        kept.insert(ordinal).map_err(|error| exec_datafusion_err!("{error}"))?;
                    }
                    sets.append_value(kept.as_bytes());
                }
                Arc::new(sets.finish())
            }
            What::WilsonLow | What::WilsonHigh => {
                let (k, n) = (first.as_primitive::<Int64Type>(), values[1].as_primitive::<Int64Type>());
                let count = |value: i64| u32::try_from(value).ok();
                let bound = |(k, n): (Option<i64>, Option<i64>)| {
                    let (k, n) = (k.and_then(count)?, n.and_then(count)?);
                    let (low, high) = wilson(k.min(n), n)?;
                    Some(if self.what == What::WilsonLow { low } else { high })
                };
                Arc::new(k.iter().zip(n).map(bound).collect::<Float64Array>())
            }
        };
        Ok(ColumnarValue::Array(made))
    }
}
