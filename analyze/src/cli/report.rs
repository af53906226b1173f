//! `wsp report`: profiles and signals as pages in a folder.

use std::path::PathBuf;

use chrono::Utc;
use wsp_schemas::image::Workload;
use wsp_schemas::text::for_display;

use super::output::say;
use super::profile::near;
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs};
use crate::explorer::{ExplorerError, Only, Source, report};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: Of,
    /// Folder for the pages: new, empty, or with an earlier report, which is replaced
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// What pages are of.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    #[command(flatten)]
    store: StoreArgs,
    /// Only this image, as in nginx:1.25; nginx is all its tags
    #[arg(long, value_name = "IMAGE[:TAG]")]
    image: Option<String>,
}

impl Of {
    pub(super) fn source(&self) -> Result<Source, Failure> {
        let only = self.image.as_deref().map(only).transpose()?;
        Ok(Source { store: self.store.open()?, arguments: self.store.arguments(), only })
    }
}

/// An image with a tag or digest is one workload; without, all of its name.
fn only(image: &str) -> Result<Only, Failure> {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Ok(Only::Workload(Workload::parse(image).map_err(Failure::new)?));
    }
    let tagged = Workload::parse(&format!("{image}:latest")).map_err(Failure::new)?;
    Ok(Only::Name(tagged.name().to_owned()))
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let source = args.of.source()?;
    let bar = Bar::new();
    let written = report::write(&source, &args.output, Utc::now(), &bar).await;
    drop(bar);
    let written = written.map_err(|error| Failure::from(error).on(&source.store))?;
    say(&format!(
        "{} pages, {:.1} MB; open {}",
        written.pages,
        written.bytes as f64 / 1e6,
        args.output.join("index.html").display()
    ))?;
    Ok(Ending::Done)
}

impl From<ExplorerError> for Failure {
    fn from(error: ExplorerError) -> Self {
        match error {
            ExplorerError::Query(error) => error.into(),
            ExplorerError::Table(error) => error.into(),
            ExplorerError::Engine(error) => error.into(),
            ExplorerError::Rows(error) => error.into(),
            ExplorerError::Rules(error) => error.into(),
            ExplorerError::Snapshots(error) => error.into(),
            ExplorerError::Suppress(error) => error.into(),
            ExplorerError::NoProfile { wanted, there } => {
                Self::new(format!("the store has no profile of {}", for_display(&wanted)))
                    .hint(near(there, &wanted))
            }
            error @ ExplorerError::Occupied { .. } => Self::new(error).hint("name a folder of its own"),
            error => Self::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_with_and_without_a_tag() {
        for (image, name) in
            [("nginx", "docker.io/library/nginx"), ("localhost:5000/team/app", "localhost:5000/team/app")]
        {
            assert_eq!(only(image).unwrap(), Only::Name(name.to_owned()));
        }
        for image in ["nginx:1.25", "localhost:5000/team/app:2"] {
            assert_eq!(only(image).unwrap(), Only::Workload(Workload::parse(image).unwrap()));
        }
        assert!(only("").is_err() && only("UPPER case").is_err());
    }
}
