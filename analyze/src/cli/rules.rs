use std::path::PathBuf;

use clap::Subcommand;
use wsp_schemas::store::Access;
use wsp_schemas::text::for_display;

use super::detect::RuleArgs;
use super::output::{print_json, rows, say};
use super::{Ending, Failure};
use crate::rules::{self, Origin, Rule, Rules, example};
use crate::session::{self, Resources};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List rules: the shipped ones, the store's and those of files
    List(ListArgs),
    /// Show one rule, whole
    Show(ShowArgs),
    /// Say what is wrong with rule files, if anything is
    Check(CheckArgs),
    /// Run the examples of rules: each says what the rule must match, or must not
    Test(TestArgs),
}

/// The store whose rules are looked at, too.
#[derive(Debug, clap::Args)]
struct MaybeStore {
    /// Folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, whose `rules/` is read, too
    #[arg(long, env = "WSP_STORE", value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    store: MaybeStore,
    #[command(flatten)]
    rules: RuleArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The rule
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    store: MaybeStore,
    #[command(flatten)]
    rules: RuleArgs,
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Rule files, or folders of *.toml files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct TestArgs {
    #[command(flatten)]
    store: MaybeStore,
    #[command(flatten)]
    rules: RuleArgs,
}

impl MaybeStore {
    async fn rules(&self, rules: &RuleArgs) -> Result<Rules, Failure> {
        let store = match &self.store {
            Some(store) => Some(super::open(store, &self.access)?),
            None => None,
        };
        rules.load(store.as_ref()).await
    }
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    match args.command {
        Command::List(args) => {
            let rules = args.store.rules(&args.rules).await?;
            if args.json {
                print_json(&rules.iter().map(|rule| as_json(rule)).collect::<Vec<_>>())?;
            } else {
                say(&list(&rules))?;
            }
            Ok(Ending::Done)
        }
        Command::Show(args) => {
            let rules = args.store.rules(&args.rules).await?;
            let rule = rules.get(&args.id).ok_or_else(|| unknown(&rules, &args.id))?;
            say(&show(rule))?;
            Ok(Ending::Done)
        }
        Command::Check(args) => check(&args.paths),
        Command::Test(args) => test(&args.store.rules(&args.rules).await?),
    }
}

/// Names a rule that is not there, and what it may have meant.
pub(super) fn unknown(rules: &Rules, id: &str) -> Failure {
    let failure = Failure::new(format!("there is no rule `{id}`"));
    let near = rules.iter().map(|rule| (strsim::jaro_winkler(&rule.id, id), &rule.id));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, near)) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`wsp rules list` lists them"),
    }
}

fn origin(rule: &Rule) -> &str {
    match &rule.origin {
        Origin::Shipped => "shipped",
        Origin::User(path) => path,
    }
}

fn as_json(rule: &Rule) -> serde_json::Value {
    serde_json::json!({
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "technique": rule.techniques,
        "suppressible": rule.suppressible,
        "description": rule.description,
        "predicate": rule.predicate.text(),
        "origin": origin(rule),
    })
}

fn list(rules: &Rules) -> String {
    let mut all: Vec<_> = rules.iter().collect();
    all.sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
    rows(
        ["rule", "severity", "technique", "suppressible", "title", "from"],
        all.into_iter().map(|rule| {
            [
                rule.id.clone(),
                rule.severity.as_str().to_owned(),
                rule.techniques.join(" "),
                if rule.suppressible { "yes" } else { "no" }.to_owned(),
                rule.title.clone(),
                origin(rule).to_owned(),
            ]
        }),
    )
}

fn show(rule: &Rule) -> String {
    let lines =
        |text: &str| text.lines().map(|line| for_display(line).into_owned()).collect::<Vec<_>>().join("\n");
    format!(
        "{}: {}\nseverity {}, technique {}, {}, from {}\n\n{}\n\n{}",
        rule.id,
        for_display(&rule.title),
        rule.severity.as_str(),
        if rule.techniques.is_empty() { "–".to_owned() } else { rule.techniques.join(" ") },
        if rule.suppressible { "suppressible" } else { "never suppressed" },
        for_display(origin(rule)),
        lines(&rule.description),
        lines(rule.predicate.text()),
    )
}

fn check(paths: &[PathBuf]) -> Result<Ending, Failure> {
    let context = session::new(&Resources::default())?;
    let mut ending = Ending::Done;
    for file in rules::files(paths)? {
        let shown = for_display(&file.0).into_owned();
        match rules::parse(&context, &file.1, Origin::User(file.0)) {
            Ok(rule) => say(&format!("{shown}: the rule `{}` is good", rule.id))?,
            Err(error) => {
                ending = Ending::Failed;
                let text = error.to_string();
                let lines: Vec<_> = text.lines().map(|line| for_display(line).into_owned()).collect();
                say(&format!("{shown}: {}", lines.join("\n  ")))?;
            }
        }
    }
    Ok(ending)
}

fn test(rules: &Rules) -> Result<Ending, Failure> {
    let (mut examples, mut without) = (0, Vec::new());
    let mut wrong = Vec::new();
    for rule in rules.iter() {
        examples += rule.examples.len();
        if rule.examples.is_empty() {
            without.push(rule.id.as_str());
        }
        wrong.extend(example::run(rule));
    }
    for error in &wrong {
        say(&for_display(&error.to_string()))?;
    }
    if !without.is_empty() {
        say(&format!("without examples: {}", without.join(", ")))?;
    }
    say(&format!("{examples} examples of {} rules, {} wrong", rules.iter().len(), wrong.len()))?;
    Ok(if wrong.is_empty() { Ending::Done } else { Ending::Failed })
}
