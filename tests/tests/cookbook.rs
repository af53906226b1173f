//! `analyze/COOKBOOK.md`: its own commands make the store, each answer is what `wsp sql` prints, and `wsp serve` gives as many rows.
//! `WSP_BLESS=1` writes the answers anew.

use std::ops::Range;
use std::path::{Path, PathBuf};

use tokio_postgres::SimpleQueryMessage;
use wsp_tests::program::{command, finish, root};

use crate::demo::split;
use crate::serve::Server;

/// Rows and characters that can be read on a page.
const ROWS: usize = 12;
const WIDTH: usize = 180;

/// A heading with a statement and its answer, as the page has them.
struct Question {
    title: String,
    sql: String,
    answer: String,
    /// Where in the page the answer stands: the block, or the empty place behind the statement.
    place: Range<usize>,
}

fn page() -> PathBuf {
    root().join("analyze/COOKBOOK.md")
}

/// The first block of a language from a place on: what is in it, and where it stands.
fn block(page: &str, language: &str, within: Range<usize>) -> Option<(String, Range<usize>)> {
    let opening = format!("\n```{language}\n");
    let start = within.start + page[within.clone()].find(&opening)?;
    let inside = start + opening.len();
    let end = inside + page[inside..within.end].find("\n```\n")?;
    Some((page[inside..end].to_owned(), start..end + "\n```\n".len()))
}

fn questions(page: &str) -> Vec<Question> {
    let starts: Vec<usize> = page.match_indices("\n## ").map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([page.len()]);
    let each = starts.iter().zip(ends).map(|(&start, end)| {
        let title = page[start + "\n## ".len()..end].lines().next().unwrap().to_owned();
        let (sql, statement) =
            block(page, "sql", start..end).unwrap_or_else(|| panic!("{title}: there is no statement"));
        let after = statement.end - 1..end;
        let (answer, place) =
            block(page, "text", after).unwrap_or_else(|| (String::new(), statement.end..statement.end));
        Question { title, sql, answer, place }
    });
    each.collect()
}

/// Runs the page's commands, as a reader types them, on a store of that name.
fn make_store(page: &str, store: &str) {
    let (commands, _) = block(page, "sh", 0..page.len()).unwrap();
    let mut lines = commands.lines();
    assert_eq!(lines.next(), Some("export WSP_STORE=cookbook"));
    for line in lines {
        let words = split(line);
        let ended = finish(command(&words[0]).args(&words[1..]).env("WSP_STORE", store));
        // 3: some snapshots of the fleet are lossy.
        assert!([0, 3].contains(&ended.code), "{line}: {ended:?}");
    }
}

/// What is printed, or what is wrong with the statement.
fn ask(sql: &str, store: &str) -> String {
    let ended = finish(command("wsp").args(["sql", sql, "--store", store]));
    let told = if ended.code == 0 { ended.stdout } else { ended.stderr };
    told.trim_end().to_owned()
}

fn rows_of(answer: &str) -> usize {
    answer.lines().filter(|line| line.starts_with('│')).count().saturating_sub(1)
}

/// What is wrong with a page whose questions have these answers.
fn complaints(questions: &[Question], answers: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (question, answer) in questions.iter().zip(answers) {
        let rows = rows_of(answer);
        let width = answer.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        if !(1..=ROWS).contains(&rows) || width > WIDTH {
            all.push(format!("{}: {rows} rows of {width} characters\n{answer}", question.title));
        }
        if question.answer != *answer {
            all.push(format!("{}\nthe page:\n{}\nthe store:\n{answer}", question.title, question.answer));
        }
    }
    all
}

/// `wsp serve` runs the same statements, and gives as many rows.
fn served(questions: &[Question], answers: &[String], store: &Path) {
    let server = Server::of(store, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = server.client().await;
        for (question, answer) in questions.iter().zip(answers) {
            let given = client.simple_query(&question.sql).await;
            let given = given.unwrap_or_else(|error| panic!("{}: {error:?}", question.title));
            let rows = given.iter().filter(|one| matches!(one, SimpleQueryMessage::Row(_))).count();
            assert_eq!(rows, rows_of(answer), "{}", question.title);
        }
    });
}

#[test]
fn every_question_of_the_cookbook_has_its_answer() {
    let mut text = std::fs::read_to_string(page()).unwrap();
    let questions = questions(&text);
    assert!(questions.len() >= 20, "{} questions", questions.len());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    make_store(&text, store);
    let mut answers: Vec<String> = questions.iter().map(|question| ask(&question.sql, store)).collect();
    if std::env::var_os("WSP_BLESS").is_some() {
        for (question, answer) in questions.iter().zip(&answers).rev() {
            text.replace_range(question.place.clone(), &format!("\n```text\n{answer}\n```\n"));
        }
        std::fs::write(page(), &text).unwrap();
    }
    let told = complaints(&self::questions(&text), &answers);
    assert!(
        told.is_empty(),
        "WSP_BLESS=1 writes the answers of analyze/COOKBOOK.md anew\n{}",
        told.join("\n")
    );
    served(&questions, &answers, folder.path());
    // A figure that somebody changes is seen.
    let digit = answers[0].rfind(|byte: char| byte.is_ascii_digit()).unwrap();
    answers[0].replace_range(digit..=digit, "#");
    assert_eq!(complaints(&self::questions(&text), &answers).len(), 1);
}
