//! Errors as PostgreSQL's clients know them: a code of five characters (appendix A of its manual), one message, a hint.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use wsp_schemas::text::for_display;

use crate::views::guard::Refused;

/// An error of a statement.
pub(super) fn error(code: &str, message: impl Into<String>) -> PgWireError {
    info("ERROR", code, message.into(), None)
}

/// An error that ends the connection.
pub(super) fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    info("FATAL", code, message.into(), None)
}

fn info(severity: &str, code: &str, message: String, hint: Option<String>) -> PgWireError {
    let mut info = ErrorInfo::new(severity.to_owned(), code.to_owned(), message);
    info.hint = hint;
    PgWireError::UserError(Box::new(info))
}

/// Why a statement is not run.
pub(super) fn refused(refused: &Refused) -> PgWireError {
    let code = match refused {
        Refused::NotReading { .. } => "42501",
        Refused::TooLong { .. }
        | Refused::TooDeep { .. }
        | Refused::TooManyOperators { .. }
        | Refused::TooManyTables { .. } => "54001",
    };
    error(code, refused.to_string())
}

/// Any error, of the login where the client is not in yet: such a one ends the connection, whatever it is.
pub(super) fn of_login(error: PgWireError) -> PgWireError {
    match error {
        PgWireError::UserError(mut info) => {
            info.severity = "FATAL".to_owned();
            PgWireError::UserError(info)
        }
        PgWireError::InvalidPassword(user) => {
            fatal("28P01", format!("password authentication failed for user \"{}\"", for_display(&user)))
        }
        PgWireError::UserNameRequired => fatal("28000", "a user name is needed"),
        PgWireError::IoError(error) => PgWireError::IoError(error),
        error => fatal("28000", for_display(&error.to_string())),
    }
}

/// Gives an error of the engine its code, and says it in one message.
pub(super) fn translate(error: &mut PgWireError) {
    let PgWireError::ApiError(cause) = &*error else { return };
    *error = if let Some(cause) = cause.downcast_ref::<DataFusionError>() {
        of_engine(cause.find_root())
    } else if let Some(cause) = cause.downcast_ref::<ParserError>() {
        self::error("42601", for_display(&cause.to_string()))
    } else {
        return;
    };
}

fn of_engine(found: &DataFusionError) -> PgWireError {
    if let DataFusionError::External(cause) = found
        && let Some(cause) = cause.downcast_ref::<Refused>()
    {
        return refused(cause);
    }
    let (code, hint) = code(found);
    let mut message = for_display(&match found {
        // The engine shows a parser's error in its debug form.
        DataFusionError::SQL(error, _) => error.to_string(),
        found => found.strip_backtrace(),
    })
    .into_owned();
    if is_exhausted(found) {
        tracing::debug!("{message}");
        message = "out of memory: the statements of all clients hold what they may".to_owned();
    }
    // What the engine says of itself in front is of no use to a client.
    for prefix in ["sql parser error: ", "Error during planning: ", "Schema error: ", "Execution error: "] {
        if let Some(rest) = message.strip_prefix(prefix) {
            message = rest.to_owned();
        }
    }
    info("ERROR", code, message, hint)
}

/// Whether what the statements may use is used up: memory, or disk. The writers of spilled rows know no error for the second.
fn is_exhausted(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::ResourcesExhausted(_) => true,
        DataFusionError::ArrowError(arrow, _) => {
            matches!(&**arrow, ArrowError::IoError(text, _) if text.contains("max_temp_directory_size"))
        }
        _ => false,
    }
}

fn code(error: &DataFusionError) -> (&'static str, Option<String>) {
    match error {
        error if is_exhausted(error) => (
            "53200",
            Some("ask for less at once, or give the server more memory (--memory, --spill)".to_owned()),
        ),
        DataFusionError::SQL(..) => ("42601", None),
        DataFusionError::SchemaError(schema, _) => match **schema {
            SchemaError::AmbiguousReference { .. } => ("42702", None),
            SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
                ("42701", None)
            }
            SchemaError::FieldNotFound { .. } => ("42703", None),
        },
        DataFusionError::Plan(text) if text.contains("table '") && text.contains("not found") => (
            "42P01",
            Some("the tables are views: `\\d` lists them, and `raw` has what is behind them".to_owned()),
        ),
        DataFusionError::Plan(text) if text.starts_with("Invalid function") => ("42883", None),
        DataFusionError::Plan(_) => ("42601", None),
        DataFusionError::NotImplemented(_) => ("0A000", None),
        DataFusionError::ArrowError(arrow, _) => match **arrow {
            ArrowError::DivideByZero => ("22012", None),
            ArrowError::CastError(_) | ArrowError::ParseError(_) => ("22P02", None),
            ArrowError::ArithmeticOverflow(_) => ("22003", None),
            ArrowError::IoError(..) => ("58030", None),
            _ => ("22000", None),
        },
        DataFusionError::Execution(_) => ("22000", None),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            ("58030", Some("the store did not give what the tables name; try again".to_owned()))
        }
        _ => ("XX000", None),
    }
}
