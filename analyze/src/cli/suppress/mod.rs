//! `wsp suppress`: what is known behaviour is proposed, accepted and taken back.

mod text;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::detect::RuleArgs;
use super::output::{note, print_json, say};
use super::show::parse_share;
use super::{Ending, Failure, StoreArgs, parse_time};
use crate::jobs::suppress::{
    self, Changed, Decision, Export, Options, Scope, State, SuppressError, Suppression,
};
use crate::rules::Rules;
use crate::session::{self, Resources};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at open signals, and propose suppressions for those that are known behaviour, with evidence
    #[command(
        after_help = "What an attacker did in 80 % of the containers that a profile learned from is known behaviour to it: look at the \
                      evidence before you accept."
    )]
    Suggest(SuggestArgs),
    /// List suggestions and suppressions
    List(ListArgs),
    /// Show one, with its evidence
    Show(OneArgs),
    /// Accept a suggestion: its signals are marked, those that stand and those to come. Again, to say another end, author or reason
    Accept(AcceptArgs),
    /// Say no to a suggestion: it is not proposed again
    Reject(DecideArgs),
    /// Take an accepted suppression back: its signals are open again
    Remove(DecideArgs),
    /// Suppress by a predicate of your own, narrowing one rule
    Add(AddArgs),
    /// Write accepted suppressions for other tools
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct SuggestArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    rules: RuleArgs,
    /// Only for this image, as in nginx:1.25
    #[arg(long, value_name = "IMAGE:TAG")]
    image: Option<String>,
    /// Only for this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Commonality that process and node need, each
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = parse_share)]
    min_commonality: f64,
    /// Containers that the profile must have learned from
    #[arg(long, value_name = "N", default_value_t = 5)]
    min_containers: i32,
    /// Hosts that the profile must have learned from, and that must show the node
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_hosts: i32,
    /// Coverage that the profile needs
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = parse_share)]
    min_coverage: f64,
    /// Share of the profile's containers that need a lossless snapshot of the node's kind
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = parse_share)]
    min_completeness: f64,
    /// Say what would be suggested, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArg {
    Suggested,
    Accepted,
    Rejected,
    Removed,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The suppression: its id, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Who decides [default: the user that runs it, before sudo]
    #[arg(long, env = "WSP_AUTHOR", value_name = "NAME")]
    author: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
struct AcceptArgs {
    #[command(flatten)]
    one: OneArgs,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    rules: RuleArgs,
    /// Signals that are raised from then on are not hidden; those before stay so
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<DateTime<Utc>>,
}

#[derive(Debug, clap::Args)]
struct DecideArgs {
    #[command(flatten)]
    one: OneArgs,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Clone, Copy, ValueEnum, Default, PartialEq, Eq)]
enum ScopeArg {
    /// This image and tag
    #[default]
    Workload,
    /// All tags of the image
    Image,
    /// All images
    All,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The predicate is a condition over one signal, in SQL over the columns of the table `signals`: exe, target, kind, \
                  lineage, host, container_name, labels, attributes, … It narrows the rule, within the scope; it can hide nothing else."
)]
struct AddArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    rules: RuleArgs,
    /// The rule whose signals it hides
    #[arg(long, value_name = "ID")]
    rule: String,
    /// The image, as in nginx:1.25
    #[arg(long, value_name = "IMAGE:TAG", required_unless_present_any = ["scope"])]
    image: Option<String>,
    /// Whose signals
    #[arg(long, value_enum, default_value_t)]
    scope: ScopeArg,
    /// Which signals, as in: exe = '/usr/sbin/logrotate' AND target = '/var/log/app.log'
    #[arg(long, value_name = "SQL")]
    predicate: String,
    #[command(flatten)]
    who: Who,
    /// Signals that are raised from then on are not hidden; those before stay so
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<DateTime<Utc>>,
    /// Do it; without, only what it would hide is told
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// Exceptions of Falco rules, as YAML
    Falco,
    /// Conditions in SQL
    Sql,
    /// Queries of Datadog
    Datadog,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Form of the output
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    match args.command {
        Command::Suggest(args) => suggest(args).await,
        Command::List(args) => list(args).await,
        Command::Show(args) => {
            say(&text::one(&args.find().await?.1))?;
            Ok(Ending::Done)
        }
        Command::Accept(args) => accept(args).await,
        Command::Reject(args) => {
            let (store, one) = args.one.find().await?;
            decide(&store, one, args.who, State::Rejected, None).await
        }
        Command::Remove(args) => {
            let (store, one) = args.one.find().await?;
            decide(&store, one, args.who, State::Removed, None).await
        }
        Command::Add(args) => add(args).await,
        Command::Export(args) => export(args).await,
    }
}

async fn suggest(args: SuggestArgs) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let rules = args.rules.load(Some(&store)).await?;
    let workload = args.image.as_deref().map(Workload::parse).transpose().map_err(Failure::new)?;
    let options = Options {
        min_commonality: args.min_commonality,
        min_containers: args.min_containers,
        min_hosts: args.min_hosts,
        min_coverage: args.min_coverage,
        min_completeness: args.min_completeness,
        workload,
        rule: args.rule,
        dry_run: args.dry_run,
    };
    let context = session::new(&Resources::default())?;
    let suggested = suppress::suggest(&store, &context, &rules, &options, Utc::now()).await?;
    if args.json {
        print_json(&suggested)?;
    } else {
        say(&text::suggested(&suggested, args.dry_run, &args.store.typed()?))?;
    }
    Ok(Ending::Done)
}

async fn list(args: ListArgs) -> Result<Ending, Failure> {
    let mut all = suppress::load(&args.store.open()?).await?;
    if let Some(state) = args.state {
        let state = match state {
            StateArg::Suggested => State::Suggested,
            StateArg::Accepted => State::Accepted,
            StateArg::Rejected => State::Rejected,
            StateArg::Removed => State::Removed,
        };
        all.retain(|one| one.state == state);
    }
    if args.json {
        print_json(&all.iter().map(text::as_json).collect::<Vec<_>>())?;
    } else {
        say(&text::list(&all))?;
    }
    Ok(Ending::Done)
}

impl OneArgs {
    /// The suppression that is meant, and its store.
    async fn find(&self) -> Result<(Store, Suppression), Failure> {
        let store = self.store.open()?;
        let one = suppress::find(&suppress::load(&store).await?, &self.id)?;
        Ok((store, one))
    }
}

impl Who {
    /// Who is known to the system decides, where nobody is named.
    fn or_user(self) -> Self {
        let users = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
        let mut names = self.author.into_iter().chain(users);
        Self { author: names.find(|name| !name.trim().is_empty()), ..self }
    }
}

async fn accept(args: AcceptArgs) -> Result<Ending, Failure> {
    let (store, one) = args.one.find().await?;
    may_be_hidden(&args.rules.load(Some(&store)).await?, &one.rule)?;
    let now = Utc::now();
    not_past(args.expires, now)?;
    // Of one that is accepted already, what is not said anew stays: an end is not taken away in silence.
    let (mut who, mut expires) = (args.who, args.expires);
    if one.state == State::Accepted {
        who = Who { author: who.author.or(one.author.clone()), reason: who.reason.or(one.reason.clone()) };
        expires = expires.or(one.expires_at.filter(|end| *end > now));
    }
    decide(&store, one, who, State::Accepted, expires).await
}

async fn decide(
    store: &Store,
    one: Suppression,
    who: Who,
    to: State,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Ending, Failure> {
    let who = who.or_user();
    let suppression = Suppression { author: who.author, reason: who.reason, expires_at, ..one };
    let id = suppression.id.clone();
    let context = session::new(&Resources::default())?;
    let decisions = [Decision { suppression, to }];
    let changed = suppress::decide(store, &context, &decisions, Utc::now()).await?;
    say(&done(&id, to, expires_at, changed))?;
    Ok(Ending::Done)
}

/// Refuses rules whose signals are never hidden, and those that are not there.
fn may_be_hidden(rules: &Rules, rule: &str) -> Result<(), Failure> {
    suppress::may_hide(rules, rule).map_err(|error| match error {
        SuppressError::UnknownRule { .. } => super::rules::unknown(rules, rule),
        error => error.into(),
    })
}

fn not_past(expires: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Failure> {
    match expires.filter(|end| *end <= now) {
        Some(end) => Err(Failure::new(format!("--expires {} is past", wsp_schemas::keys::show_time(end)))
            .hint("name a later time, or leave it out for no end")),
        None => Ok(()),
    }
}

fn done(id: &str, to: State, expires_at: Option<DateTime<Utc>>, changed: Changed) -> String {
    let mut text = format!("{id} is {}", to.as_str());
    if let Some(end) = expires_at {
        text += &format!(" until {}", wsp_schemas::keys::show_time(end));
    }
    if changed.hidden > 0 {
        text += &format!("; {} signals are hidden by it now", changed.hidden);
    }
    if changed.shown > 0 {
        text += &format!("; {} signals are open again", changed.shown);
    }
    text
}

async fn add(args: AddArgs) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let rules = args.rules.load(Some(&store)).await?;
    let now = Utc::now();
    not_past(args.expires, now)?;
    may_be_hidden(&rules, &args.rule)?;
    let workload = args.image.as_deref().map(Workload::parse).transpose().map_err(Failure::new)?;
    let scope = match (args.scope, workload) {
        (ScopeArg::Workload, Some(workload)) => Scope::Workload(workload),
        (ScopeArg::Image, Some(workload)) => Scope::Image(workload.name().to_owned()),
        (ScopeArg::All, None) => Scope::All,
        (ScopeArg::All, Some(_)) => {
            return Err(Failure::new("--scope all is for all images: --image does not go with it"));
        }
        (_, None) => return Err(Failure::new("the scope needs an image").hint("add --image IMAGE:TAG")),
    };
    let context = session::new(&Resources::default())?;
    let hidden = suppress::preview(&store, &context, &args.rule, &scope, &args.predicate).await?;
    say(&text::preview(&args.rule, &scope, &hidden))?;
    if !args.yes {
        say("nothing was changed; --yes does it")?;
        return Ok(Ending::Done);
    }
    let predicate = args.predicate.trim().to_owned();
    let one = Suppression {
        id: suppress::id(&args.rule, &scope, &predicate),
        state: State::Accepted,
        rule: args.rule,
        scope,
        predicate,
        evidence: serde_json::json!({ "hidden_when_added": hidden }).to_string(),
        author: None,
        reason: None,
        changed_at: now,
        expires_at: None,
        change: 0,
    };
    decide(&store, one, args.who, State::Accepted, args.expires).await
}

async fn export(args: ExportArgs) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let all = suppress::load(&store).await?;
    let format = match args.format {
        ExportFormat::Falco => Export::Falco,
        ExportFormat::Sql => Export::Sql,
        ExportFormat::Datadog => Export::Datadog,
    };
    let exported = suppress::export(&all, format, Utc::now());
    match args.output {
        Some(path) => std::fs::write(&path, &exported.text).map_err(|error| {
            Failure::new(error).hint(format!("the result is written to `{}`", path.display()))
        })?,
        None => say(exported.text.trim_end())?,
    }
    for (id, reason) in &exported.left_out {
        note(&format!("{id} is left out: {reason}"))?;
    }
    Ok(if exported.left_out.is_empty() { Ending::Done } else { Ending::Partial })
}

impl From<SuppressError> for Failure {
    fn from(error: SuppressError) -> Self {
        match error {
            SuppressError::Table(error) => error.into(),
            SuppressError::Engine(error) => error.into(),
            SuppressError::Rows(error) => error.into(),
            error @ SuppressError::State { state: "accepted", to: "rejected", .. } => {
                Self::new(error).hint("`wsp suppress remove` takes it back")
            }
            error @ (SuppressError::Unknown { .. } | SuppressError::Ambiguous { .. }) => {
                Self::new(error).hint("`wsp suppress list` lists them")
            }
            error => Self::new(error),
        }
    }
}
