use std::env::VarError;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::say;
use super::{Ending, Failure, StoreArgs, parse_duration, parse_size};
use crate::serve::{self, Login, Options};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Clients see one database with the views of `wsp sql` (schema public) and the tables behind them (schema raw); maps \
                  are shown as JSON. Nothing can be written. A statement sees the tables as they are, at most --refresh old; \
                  those of one transaction all see the same.\n\n\
                  psql 'host=127.0.0.1 user=wsp'\n\n\
                  A password is needed where others than this host can connect: in --password-file, or in WSP_PASSWORD."
)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "WSP_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:5432")]
    listen: SocketAddr,
    /// The user that clients log in as
    #[arg(long, value_name = "NAME", default_value = "wsp")]
    user: String,
    /// A file whose first line is the password [default: the variable WSP_PASSWORD; without both, this host's users get in without]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Certificate chain for TLS, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let others than this host connect without TLS
    #[arg(long)]
    without_tls: bool,
    /// Time that a statement has, with the reading of its rows
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    statement_timeout: Duration,
    /// What the statements of all clients may hold in memory together
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    memory: usize,
    /// What they may put on disk beyond that
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = parse_size)]
    spill: usize,
    /// Clients at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_connections: u32,
    /// Look for newer tables after this time, before the next statement
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    refresh: Duration,
    /// Give metrics for Prometheus here, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
}

/// Where a password may be.
const PASSWORD: &str = "WSP_PASSWORD";

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let password = match &args.password_file {
        Some(path) => Some(password(path)?),
        None => match std::env::var(PASSWORD) {
            Ok(password) => Some(password),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                return Err(Failure::new(format!("the password in {PASSWORD} is not UTF-8"))
                    .hint("give it in a file, with --password-file"));
            }
        },
    };
    let is_open = !is_loopback(args.listen.ip());
    if is_open && password.is_none() {
        return Err(Failure::new(format!(
            "others than this host could connect to {} without a password",
            args.listen
        ))
        .hint("give one with --password-file, or listen on 127.0.0.1"));
    }
    if is_open && args.tls_cert.is_none() && !args.without_tls {
        return Err(Failure::new(format!("what is sent to {} could be read on its way", args.listen))
            .hint("give a certificate with --tls-cert and --tls-key, or say --without-tls where the network is yours"));
    }
    let store = args.store.open()?;
    let options = Options {
        listen: args.listen,
        login: password.map(|password| Login { user: args.user.clone(), password }),
        tls: args.tls_cert.zip(args.tls_key),
        statement_timeout: args.statement_timeout,
        memory: args.memory,
        spill: args.spill as u64,
        max_connections: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
        refresh: args.refresh,
        metrics: args.metrics,
    };
    let listening = serve::listen(&store, options).await.map_err(|error| Failure::from(error).on(&store))?;
    say(&format!("listening on {}", listening.address))?;
    if let Some(address) = listening.metrics() {
        say(&format!("metrics at http://{address}/metrics"))?;
    }
    listening.serve(super::told_to_stop()?).await;
    Ok(Ending::Done)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn password(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(error).hint(format!("the password is read from `{}`", path.display()))
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
