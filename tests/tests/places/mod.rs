//! Whatever holds of a folder holds of object stores: the contract that everything relies on, the demo and the jobs after it,
//! mistakes that users make, and stores that lie.

mod contract;
mod jobs;
mod lies;
mod mistakes;

use std::process::Command;

use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::azurite::Azurite;
use wsp_tests::program::{self, Ended, command, finish};
use wsp_tests::s3::{Gate, S3Server};

/// Where a test keeps its stores; whatever serves it ends with this.
pub(crate) struct Place {
    url: String,
    environment: Vec<(&'static str, String)>,
    _folder: Option<tempfile::TempDir>,
    _azurite: Option<Azurite>,
}

impl Place {
    pub(crate) fn memory() -> Self {
        Self { url: "memory:///".to_owned(), environment: Vec::new(), _folder: None, _azurite: None }
    }

    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap().to_owned();
        Self { url, _folder: Some(folder), ..Self::memory() }
    }

    /// A server with the empty bucket `bucket`.
    pub(crate) async fn s3(gate: Gate) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let server = S3Server::start_with(folder.path(), gate).await.unwrap();
        let environment = server.environment().into();
        Self { url: "s3://bucket".to_owned(), environment, _folder: Some(folder), ..Self::memory() }
    }

    pub(crate) fn azure() -> Self {
        let azurite = Azurite::start();
        let environment = azurite.environment().into();
        Self { url: "az://bucket".to_owned(), environment, _azurite: Some(azurite), ..Self::memory() }
    }

    /// The URL of a store there.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// Opens a store there, in this process and as the programs do.
    pub(crate) fn open(&self, name: &str) -> Store {
        program::enter(self.environment.iter().cloned());
        open(&self.at(name), Missing::Create).unwrap()
    }

    fn lead(&self, name: &str) -> Command {
        let mut command = command(name);
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs a program that finds the place by its environment.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        finish(self.lead(name).args(arguments))
    }

    pub(crate) fn wsp(&self, arguments: &[&str]) -> Ended {
        self.run("wsp", arguments)
    }
}
