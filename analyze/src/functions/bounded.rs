//! Bounds on functions whose values grow: a statement of a few lines must not fill the memory with one value.
//!
//! The memory pool counts what operators hold, not what an expression makes of one batch. So each function here looks at its
//! arguments first, and refuses what would become more than [`MOST_BYTES`] for one batch. Functions that only make values out of
//! nothing are taken out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::compute::{cast, kernels::length::length};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DFSchema, Result, exec_err, internal_err, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Bytes that a function may make of one batch.
const MOST_BYTES: u64 = 64 << 20;
/// Lists in lists in lists have a use; beyond that they only grow.
const DEEPEST: usize = 3;

/// Functions with bounds on what they make.
const BOUNDED: [(&str, Growth); 21] = [
    ("array_append", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_prepend", Growth::Sum),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Separated),
    ("encode", Growth::Sum),
    ("like_escape", Growth::Sum),
    ("lower", Growth::Sum),
    ("make_array", Growth::Sum),
    ("overlay", Growth::Sum),
    ("to_char", Growth::Sum),
    ("upper", Growth::Sum),
    ("string_to_array", Growth::Escaped),
    ("to_json", Growth::Escaped),
    ("lpad", Growth::Pad),
    ("rpad", Growth::Pad),
    ("array_replace_all", Growth::Product),
    ("array_to_string", Growth::Product),
    ("regexp_replace", Growth::Product),
    ("replace", Growth::Product),
    ("repeat", Growth::Repeat),
];

/// Functions that are not there: lists and structures out of nothing, whose types can grow as their values do.
const LEFT_OUT: [&str; 8] =
    ["array_repeat", "array_resize", "generate_series", "make_map", "map", "named_struct", "range", "struct"];

/// How much longer a value can be than the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// As long as they are together, or twice.
    Sum,
    /// The first, as often as the second says.
    Repeat,
    /// As long as the second says.
    Pad,
    /// The first, with another one at each place of it.
    Product,
    /// All of them, with the first between each two.
    Separated,
    /// Each byte as six of JSON, or as a text of its own.
    Escaped,
}

/// Puts the bounds on a session's functions.
pub fn bound(context: &SessionContext) -> Result<()> {
    for (name, growth) in BOUNDED {
        context.register_udf(Bounded::of(context.udf(name)?, growth));
    }
    for name in LEFT_OUT {
        context.deregister_udf(name);
    }
    let joined = Joined {
        texts: Arc::new(Bounded::of(Arc::new(ScalarUDF::from(Join::default())), Growth::Sum)),
        lists: context.udf("array_concat")?,
        append: context.udf("array_append")?,
        prepend: context.udf("array_prepend")?,
    };
    let state = context.state_ref();
    state.write().register_expr_planner(Arc::new(joined))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    signature: Signature,
}

impl Bounded {
    fn of(inner: Arc<ScalarUDF>, growth: Growth) -> ScalarUDF {
        // It runs where its rows are: what it makes of literals stands in each of them.
        let signature = Signature { volatility: Volatility::Volatile, ..inner.signature().clone() };
        ScalarUDF::from(Self { inner, growth, signature })
    }

    /// Refuses what would be too long.
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = args.number_rows as u64;
        let mut bytes = 0u64;
        let lengths: Vec<Lengths> = args.args.iter().map(Lengths::of).collect::<Result<_>>()?;
        let first = lengths.first().map_or(0, |lengths| lengths.total(rows));
        let second = match (self.growth, args.args.get(1)) {
            (Growth::Repeat | Growth::Pad, Some(times)) => most(times)?,
            _ => 0,
        };
        match self.growth {
            Growth::Sum => {
                bytes = lengths.iter().fold(0, |all: u64, lengths| all.saturating_add(lengths.total(rows)));
            }
            Growth::Repeat => bytes = bytes.max(first).saturating_mul(second),
            Growth::Pad => bytes = rows.saturating_mul(second).saturating_mul(4),
            Growth::Separated => {
                let all = lengths.iter().fold(0, |all: u64, lengths| all.saturating_add(lengths.total(rows)));
                bytes = all.saturating_add(first.saturating_mul(lengths.len() as u64));
            }
            Growth::Escaped => bytes = bytes.max(first).saturating_mul(6),
            Growth::Product => {
                let longest = lengths.iter().skip(1).map(|lengths| lengths.longest).max().unwrap_or_default();
                let others =
                    lengths.iter().fold(0, |all: u64, lengths| all.saturating_add(lengths.total(rows)));
                bytes = others.saturating_add(first.saturating_add(rows).saturating_mul(longest));
            }
        }
        if bytes > MOST_BYTES {
            return exec_err!(
                "{}: its values would take up to {bytes} bytes for {rows} rows; at most {MOST_BYTES} are made at once",
                self.inner.name()
            );
        }
        Ok(())
    }
}

/// The greatest value of a column of numbers.
fn most(times: &ColumnarValue) -> Result<u64> {
    let times = cast(&times.to_array(1)?, &DataType::Int64)?;
    let most = arrow::compute::max(times.as_primitive::<Int64Type>());
    Ok(most.and_then(|most| u64::try_from(most).ok()).unwrap_or_default())
}

/// How long the values of an argument are.
struct Lengths {
    /// Of all values.
    sum: u64,
    longest: u64,
    /// One value stands for all rows.
    is_scalar: bool,
}

impl Lengths {
    fn of(argument: &ColumnarValue) -> Result<Self> {
        let is_scalar = matches!(argument, ColumnarValue::Scalar(_));
        let values = argument.to_array(1)?;
        let lengths = match values.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => Some(cast(&length(&values)?, &DataType::Int64)?),
            _ => None,
        };
        Ok(match lengths {
            Some(lengths) => {
                let lengths = lengths.as_primitive::<Int64Type>();
                let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                let sum = number(arrow::compute::sum(lengths));
                Self { sum, longest: number(arrow::compute::max(lengths)), is_scalar }
            }
            // Lists, by what they hold; numbers are short.
            None => {
                let sum = size(&values);
                Self { sum, longest: sum, is_scalar }
            }
        })
    }

    fn total(&self, rows: u64) -> u64 {
        if self.is_scalar { self.sum.saturating_mul(rows) } else { self.sum }
    }
}

/// Bytes of what an array holds; of a part of one, the part.
fn size(values: &ArrayRef) -> u64 {
    values.to_data().get_slice_memory_size().map_or(u64::MAX, |size| size as u64)
}

/// Lists in each other.
fn depth(kind: &DataType) -> usize {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            1 + depth(item.data_type())
        }
        _ => 0,
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow::datatypes::FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        if depth(field.data_type()) > DEEPEST {
            return plan_err!("{}: lists stand in each other at most {DEEPEST} deep", self.inner.name());
        }
        Ok(field)
    }

    // Nothing is simplified before it runs: what that makes of literals has no bounds.

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.invoke_with_args(args)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn documentation(&self) -> Option<&datafusion::logical_expr::Documentation> {
        self.inner.documentation()
    }
}

/// `a || b`, as a function that has bounds.
#[derive(Debug)]
struct Joined {
    texts: Arc<ScalarUDF>,
    lists: Arc<ScalarUDF>,
    append: Arc<ScalarUDF>,
    prepend: Arc<ScalarUDF>,
}

impl ExprPlanner for Joined {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let depth_of = |side: &Expr| side.get_type(schema).map_or(0, |kind| depth(&kind));
        let function = match (depth_of(&expr.left), depth_of(&expr.right)) {
            (0, 0) => &self.texts,
            (left, right) if left == right => &self.lists,
            (left, right) if left > right => &self.append,
            _ => &self.prepend,
        };
        let sides = vec![expr.left, expr.right];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), sides))))
    }
}

/// Two texts as one; null where one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Join {
    signature: Signature,
}

impl Default for Join {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Join {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.len() == 2 { Ok(vec![DataType::LargeUtf8; 2]) } else { plan_err!("`||` has two sides") }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::LargeUtf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return internal_err!("`||` has two sides") };
        let (left, right) = (left.to_array(args.number_rows)?, right.to_array(args.number_rows)?);
        Ok(ColumnarValue::Array(concat_elements_dyn(&left, &right)?))
    }
}
