//! Results on standard output: tables for people, JSON and CSV for programs.

use std::io::{IsTerminal as _, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::ValueEnum;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use parquet::arrow::ArrowWriter;
use wsp_schemas::text::for_display;

use super::Failure;

/// Form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// One array of objects
    Json,
    /// With a header line
    Csv,
    /// A Parquet file; not to a terminal
    Parquet,
}

/// Prints rows; `schema` gives the columns of a result without rows.
pub(super) fn print(schema: &Schema, batches: &[RecordBatch], format: Format) -> Result<(), Failure> {
    let out = std::io::stdout();
    // Files keep every byte; a terminal must not obey them.
    let mut out = Printer { terminal: out.is_terminal() && format != Format::Table, out: out.lock() };
    match format {
        Format::Table => writeln!(out, "{}", table(schema, batches)?)?,
        Format::Json => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::JsonArray>(&mut out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
            writeln!(out)?;
        }
        Format::Csv => {
            // Into memory first: the writer's errors do not tell a reader that went away from a bug of ours.
            let mut text = Vec::new();
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut text);
            if batches.is_empty() {
                writer.write(&as_text(&RecordBatch::new_empty(Arc::new(schema.clone())))?)?;
            }
            for batch in batches {
                writer.write(&as_text(batch)?)?;
            }
            drop(writer);
            out.write_all(&text)?;
        }
        Format::Parquet => {
            if out.terminal {
                return Err(Failure::new("a Parquet file is no text for a terminal")
                    .hint("redirect it, as in: wsp … --format parquet > FILE.parquet"));
            }
            // Into memory first, as above.
            let mut file = Vec::new();
            let mut writer = ArrowWriter::try_new(&mut file, Arc::new(schema.clone()), None)?;
            for batch in batches {
                writer.write(batch)?;
            }
            writer.close()?;
            out.write_all(&file)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Rows as a table for people.
pub(super) fn as_table(schema: &Schema, batches: &[RecordBatch]) -> Result<String, Failure> {
    Ok(table(schema, batches)?.to_string())
}

/// Standard output, with control characters as visible escapes where it is a terminal.
struct Printer<W> {
    out: W,
    terminal: bool,
}

impl<W: Write> Write for Printer<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.terminal {
            for line in String::from_utf8_lossy(bytes).split_inclusive('\n') {
                let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
                write!(self.out, "{}{end}", for_display(text))?;
            }
        } else {
            self.out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Prints a value that is no table.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints text for people. Whatever comes from a container must have gone through [`for_display`].
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Says something beside the result, on standard error.
pub(super) fn note(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stderr().lock(), "{}", for_display(text))?;
    Ok(())
}

/// Problems for people, under what is wrong with them: a line for each object, and one for its reason. Nothing where there are none.
pub(super) fn problems<'a>(
    what: &str,
    problems: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> String {
    if problems.len() == 0 {
        return String::new();
    }
    let mut text = format!("\n{} {what}", problems.len());
    for (object, reason) in problems {
        text += &format!("\n  {}\n    {}", for_display(object), for_display(reason));
    }
    text
}

/// A table of texts for people; cells may hold anything.
pub(super) fn rows<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(headings);
    for row in rows {
        table.add_row(row.iter().map(|cell| for_display(cell).into_owned()));
    }
    table.to_string()
}

fn table(schema: &Schema, batches: &[RecordBatch]) -> Result<Table, ArrowError> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(schema.fields().iter().map(|field| for_display(field.name()).into_owned()));
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%SZ"));
    for batch in batches {
        let formatters = formatters(batch, &options)?;
        for row in 0..batch.num_rows() {
            table.add_row(formatters.iter().zip(batch.columns()).map(|(formatter, column)| {
                let text = match column.data_type() {
                    // Three digits: what a person reads of a share.
                    DataType::Float64 if column.is_valid(row) => shorten(&formatter.value(row).to_string()),
                    _ => formatter.value(row).to_string(),
                };
                for_display(&text).into_owned()
            }));
        }
    }
    for (field, column) in schema.fields().iter().zip(table.column_iter_mut()) {
        if field.data_type().is_numeric() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(table)
}

fn shorten(number: &str) -> String {
    number.parse::<f64>().map_or_else(|_| number.to_owned(), |number| format!("{number:.3}"))
}

fn formatters<'a>(
    batch: &'a RecordBatch,
    options: &'a FormatOptions<'_>,
) -> Result<Vec<ArrayFormatter<'a>>, ArrowError> {
    batch.columns().iter().map(|column| ArrayFormatter::try_new(column, options)).collect()
}

/// All columns as text: CSV has no lists, maps or bytes.
fn as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default();
    let formatters = formatters(batch, &options)?;
    let columns = formatters.iter().zip(batch.columns()).map(|(formatter, column)| -> ArrayRef {
        let cells =
            (0..batch.num_rows()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        Arc::new(cells.collect::<StringArray>())
    });
    let fields: Vec<Field> =
        batch.schema().fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect())
}
