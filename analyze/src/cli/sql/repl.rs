//! The conversation: lines in, tables out, with a history and completion.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::ValueEnum as _;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};
use terminal_size::{Height, Width, terminal_size};
use wsp_schemas::store::Store;

use crate::cli::output::{Format, as_table, print, say};
use crate::cli::{Ending, Failure};
use crate::engine::Engine;
use crate::rows::Reader;
use crate::views::{self, QueryError, Rights};

const HELP: &str = "\
queries end in ;
\\d            views, and tables behind them
\\d NAME       columns of one, and what they mean
\\df           functions
\\timing       say how long each query takes, or no longer
\\format FORM  table, json, csv
\\i FILE       run the queries of a file
\\refresh      look for newer tables: all that is asked before sees one state
\\q            end; so does Ctrl-D
Tab completes names; Ctrl-C takes back what is typed, or ends a query; long tables go through $PAGER.";
const VIEWS: &str =
    "SELECT \"view\", count(*) AS columns FROM docs GROUP BY 1 ORDER BY starts_with(\"view\", 'raw.'), 1";
const FUNCTIONS: &str = "SELECT routine_name AS function, string_agg(DISTINCT function_type, ', ') AS kind FROM information_schema.routines GROUP BY 1 ORDER BY 1";

/// A conversation.
pub(super) struct Repl<'a> {
    store: &'a Store,
    context: SessionContext,
    engine: Engine,
    rights: Rights,
    format: Format,
    timing: bool,
    editor: Option<Editor<Words, FileHistory>>,
    history: Option<PathBuf>,
}

/// What comes after a line.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl<'a> Repl<'a> {
    pub(super) async fn new(
        store: &'a Store,
        context: SessionContext,
        engine: Engine,
        rights: Rights,
        format: Format,
    ) -> Result<Self, Failure> {
        let config = Config::builder().history_ignore_space(true).auto_add_history(true).build();
        let mut editor = Editor::with_config(config).map_err(Failure::new)?;
        editor.set_helper(Some(Words::of(&context).await?));
        let history = history_file();
        if let Some(path) = &history {
            // A first conversation has none.
            let _ = editor.load_history(path);
        }
        Ok(Self { store, context, engine, rights, format, timing: false, editor: Some(editor), history })
    }

    pub(super) async fn run(mut self) -> Result<Ending, Failure> {
        say(&format!("profiles of {}; \\? for help", self.store))?;
        while let Some(mut editor) = self.editor.take() {
            let read = tokio::task::spawn_blocking(move || (editor.readline("wsp> "), editor));
            let (line, editor) = read.await.map_err(Failure::new)?;
            self.editor = Some(editor);
            let then = match line {
                Ok(line) => self.line(&line).await,
                // Taken back.
                Err(ReadlineError::Interrupted) => Ok(Then::GoOn),
                Err(ReadlineError::Eof) => Ok(Then::End),
                Err(error) => return Err(Failure::new(error)),
            };
            match then {
                Ok(Then::GoOn) => {}
                Ok(Then::End) => break,
                // What is wrong with one query ends no conversation.
                Err(failure) => drop(failure.report()),
            }
        }
        self.keep_history();
        Ok(Ending::Done)
    }

    async fn line(&mut self, line: &str) -> Result<Then, Failure> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('\\') else {
            self.statements(line).await?;
            return Ok(Then::GoOn);
        };
        let command = command.trim_end_matches(';');
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (name, rest) {
            ("q", _) => return Ok(Then::End),
            ("?" | "h" | "help", _) => say(HELP)?,
            ("d" | "dt" | "dv", "") => self.statements(VIEWS).await?,
            ("d", name) => self.statements(&format!("DESCRIBE {name}")).await?,
            ("df", _) => self.statements(FUNCTIONS).await?,
            ("timing", _) => {
                self.timing = !self.timing;
                say(if self.timing { "timing is on" } else { "timing is off" })?;
            }
            ("format", form) => {
                self.format =
                    Format::from_str(form, true)
                        .ok()
                        .filter(|format| *format != Format::Parquet)
                        .ok_or_else(|| Failure::new(format!("`{form}` is no form: table, json or csv")))?;
            }
            ("i", file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::new(error).hint(format!("queries are read from `{file}`")))?;
                self.statements(&text).await?;
            }
            ("refresh", _) => {
                let local_files = self.rights == Rights::All;
                let context = views::open_for(self.store, &self.engine).await?;
                self.context = if local_files { context.enable_url_table() } else { context };
            }
            _ => return Err(Failure::new(format!("there is no \\{name}: \\? lists what there is"))),
        }
        Ok(Then::GoOn)
    }

    async fn statements(&self, text: &str) -> Result<(), Failure> {
        for statement in views::statements(text)? {
            let began = Instant::now();
            let answer = async {
                let frame = views::run(&self.context, statement, self.rights).await?;
                let schema = frame.schema().as_arrow().clone();
                let rows = self.engine.collect(frame).await.map_err(QueryError::from)?;
                Ok::<_, Failure>((schema, rows))
            };
            let (schema, batches) = tokio::select! {
                answer = answer => answer?,
                _ = tokio::signal::ctrl_c() => return Err(Failure::new("the query was ended")),
            };
            let took = began.elapsed();
            let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
            if self.format == Format::Table {
                page(&as_table(&schema, &batches)?)?;
                say(&format!("({rows} row{})", if rows == 1 { "" } else { "s" }))?;
            } else {
                print(&schema, &batches, self.format)?;
            }
            if self.timing {
                say(&format!("{:.3} s", took.as_secs_f64()))?;
            }
        }
        Ok(())
    }

    fn keep_history(&mut self) {
        if let (Some(editor), Some(path)) = (&mut self.editor, &self.history) {
            let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(ReadlineError::Io);
            if let Err(error) = kept.and_then(|()| editor.save_history(path)) {
                tracing::warn!("the history cannot be kept in `{}`: {error}", path.display());
            }
        }
    }
}

/// Where the history is (XDG base directories).
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("wsp/sql_history"))
}

/// Prints, through a pager where a terminal is too small.
fn page(table: &str) -> Result<(), Failure> {
    let (rows, widest) =
        table.lines().fold((0, 0), |(rows, widest), line| (rows + 1, line.chars().count().max(widest)));
    let fits = !std::io::stdout().is_terminal()
        || terminal_size().is_none_or(|(Width(width), Height(height))| {
            rows + 3 < usize::from(height) && widest <= usize::from(width)
        });
    if !fits {
        let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
        let started = Command::new("sh")
            .args(["-c", pager.as_deref().unwrap_or("less")])
            // One screen needs no key; wide lines are cut.
            .env("LESS", std::env::var("LESS").unwrap_or_else(|_| "FSX".to_owned()))
            .stdin(Stdio::piped())
            .spawn();
        if let Ok(mut pager) = started {
            // It may be left before its end.
            let _ = pager.stdin.take().map(|mut input| input.write_all(table.as_bytes()));
            if pager.wait().is_ok_and(|ended| ended.success()) {
                return Ok(());
            }
        }
    }
    say(table)
}

/// What Tab completes: views, columns, functions and SQL's words.
struct Words {
    names: Vec<String>,
}

impl Words {
    async fn of(context: &SessionContext) -> Result<Self, Failure> {
        let mut names: Vec<String> = Vec::new();
        let listed =
            views::query(context, "SELECT \"view\" AS n FROM docs UNION SELECT \"column\" FROM docs");
        for batch in listed.await?.collect().await? {
            let read = Reader::new(&batch);
            names.extend((0..batch.num_rows()).filter_map(|row| read.text("n", row).map(str::to_owned)));
        }
        let state = context.state();
        names.extend(state.scalar_functions().keys().map(|name| format!("{name}(")));
        names.extend(state.aggregate_functions().keys().map(|name| format!("{name}(")));
        names.extend(state.table_functions().keys().map(|name| format!("{name}(")));
        names.extend(ALL_KEYWORDS.iter().map(|word| (*word).to_owned()));
        names.sort();
        names.dedup();
        Ok(Self { names })
    }
}

impl Helper for Words {}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..at).unwrap_or_default();
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let start = before.rfind(|letter| !is_word(letter)).map_or(0, |end| {
            end + before.get(end..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
        });
        let word = before.get(start..).unwrap_or_default();
        // After `nodes.` columns follow.
        let (prefix, word) = match word.rsplit_once('.') {
            Some((table, column)) if table != "raw" => (format!("{table}."), column),
            _ => (String::new(), word),
        };
        if word.is_empty() {
            return Ok((start, Vec::new()));
        }
        let matches =
            |name: &&String| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        Ok((start, self.names.iter().filter(matches).map(|name| format!("{prefix}{name}")).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Validator for Words {
    /// A query goes on to its `;`, a command ends with its line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_whole = text.is_empty() || text.starts_with('\\') || ends_in_semicolon(text);
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether a text ends in a semicolon that stands in no text, name or comment.
fn ends_in_semicolon(text: &str) -> bool {
    let mut rest = text.chars().peekable();
    let mut last = ' ';
    while let Some(letter) = rest.next() {
        match letter {
            '\'' | '"' => {
                last = ' ';
                // An open one goes on in the next line.
                if !rest.by_ref().any(|next| next == letter) {
                    return false;
                }
            }
            '-' if rest.peek() == Some(&'-') => drop(rest.by_ref().find(|next| *next == '\n')),
            '/' if rest.peek() == Some(&'*') => {
                let mut before = ' ';
                rest.by_ref().find(|next| std::mem::replace(&mut before, *next) == '*' && *next == '/');
            }
            letter if letter.is_whitespace() => {}
            letter => last = letter,
        }
    }
    last == ';'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_ends_in_a_semicolon_of_its_own() {
        for whole in
            ["SELECT 1;", "SELECT ';' ; ", "SELECT 1; -- so;", "SELECT 1 /* ; */;", "SELECT 'it''s';"]
        {
            assert!(ends_in_semicolon(whole), "{whole}");
        }
        for part in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1 /* ;", "SELECT \"a;", "SELECT ';'"] {
            assert!(!ends_in_semicolon(part), "{part}");
        }
    }
}
