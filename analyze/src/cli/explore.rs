//! `wsp explore`: profiles and signals in a browser.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use super::output::say;
use super::report::Of;
use super::{Ending, Failure};
use crate::explorer::server::{self, Options};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Pages show what containers did: who can reach the address can read them. Decisions need the token in the address that is printed; the browser that is opened asks for it."
)]
pub(super) struct Args {
    #[command(flatten)]
    of: Of,
    /// Address to listen on; port 0 is any that is free
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Let whoever has the printed address accept, reject and take back suppressions
    #[arg(long)]
    allow_write: bool,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    if !args.listen.ip().to_canonical().is_loopback() {
        return Err(Failure::new(format!("others than this host could read the pages at {}", args.listen))
            .hint(
                "listen on 127.0.0.1, and let others in by a proxy that asks who they are, or by `ssh -L`",
            ));
    }
    let source = args.of.source()?;
    let store = source.store.clone();
    let token = args.allow_write.then(|| format!("{:032x}", rand::random::<u128>()));
    let options = Options { listen: args.listen, token: token.clone() };
    let listening = server::listen(source, options).await.map_err(|error| Failure::from(error).on(&store))?;
    let token = token.map(|token| format!("#token={token}")).unwrap_or_default();
    let address = format!("http://{}/index.html", listening.address);
    say(&format!("listening on {address}{token}"))?;
    // Without the token: every user of this host can read what programs are started with. The page asks for it.
    if !args.no_open && std::io::stdout().is_terminal() && open::that_detached(&address).is_err() {
        say("no browser could be opened: open the address yourself")?;
    }
    listening.serve(super::told_to_stop()?).await;
    Ok(Ending::Done)
}
