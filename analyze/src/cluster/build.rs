use std::any::Any;
use std::collections::BTreeSet;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::registry::{FunctionRegistry as _, MemoryFunctionRegistry};
use datafusion::prelude::{SessionConfig, SessionContext};

use wsp_schemas::tables::ALL;

use super::driver::REFUSED;
use crate::jobs::merge::sighting_schema;

/// Settings by which a job tells nodes what it is.
#[derive(Debug, Clone, Default)]
pub(super) struct JobSettings {
    /// Version of the program.
    version: String,
    /// Our functions, by which its plans may call them.
    functions: String,
    /// BLAKE3 of the columns of scans and tables: builds of one version may differ in them.
    columns: String,
    /// Id of the ledger of its store; empty where that is not to be looked at.
    ledger: String,
}

impl JobSettings {
    fn all(&mut self) -> [(&'static str, &mut String); 4] {
        let Self { version, functions, columns, ledger } = self;
        [("version", version), ("functions", functions), ("columns", columns), ("ledger", ledger)]
    }
}

impl ExtensionOptions for JobSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = self.all().into_iter().find(|(known, _)| *known == name);
        let (_, setting) = setting.ok_or_else(|| exec_datafusion_err!("there is no setting wsp.{name}"))?;
        value.clone_into(setting);
        Ok(())
    }

    /// With the prefix, which the engine adds to its own only.
    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |(name, value): (&str, &mut String)| ConfigEntry {
            key: format!("{}.{name}", Self::PREFIX),
            value: Some(value.clone()),
            description: "what a job of wsp is",
        };
        self.clone().all().into_iter().map(entry).collect()
    }
}

impl ConfigExtension for JobSettings {
    const PREFIX: &'static str = "wsp";
}

/// What a node must have in common with the job whose plans it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Build {
    version: String,
    functions: BTreeSet<String>,
    columns: String,
}

impl Build {
    /// This program's.
    pub(super) fn own() -> Result<Self> {
        let mut registry = MemoryFunctionRegistry::new();
        crate::functions::register(&mut registry)?;
        let tables = ALL.map(|table| (table.name, table.arrow_schema()));
        let columns = format!("{:?} {tables:?}", sighting_schema());
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            functions: registry.udfs().into_iter().chain(registry.udafs()).collect(),
            columns: blake3::hash(columns.as_bytes()).to_hex().to_string(),
        })
    }

    /// Has a job's settings say so.
    pub(super) fn told(self, config: SessionConfig) -> SessionConfig {
        let functions: Vec<String> = self.functions.into_iter().collect();
        config.with_option_extension(JobSettings {
            version: self.version,
            functions: functions.join(","),
            columns: self.columns,
            ledger: String::new(),
        })
    }

    /// Refuses the plans of a job that differs.
    pub(super) fn check(&self, config: &SessionConfig) -> Result<()> {
        self.difference(config).map_or(Ok(()), |reason| Err(exec_datafusion_err!("{REFUSED}{reason}")))
    }

    fn difference(&self, config: &SessionConfig) -> Option<String> {
        let Some(job) = config.options().extensions.get::<JobSettings>() else {
            return Some("the job does not say that it is of wsp".to_owned());
        };
        if job.version != self.version {
            let version = if job.version.is_empty() { "of no version" } else { &job.version };
            return Some(format!("this node is wsp {}, the job is wsp {version}", self.version));
        }
        let mut functions = job.functions.split(',');
        if let Some(missing) = functions.find(|function| !self.functions.contains(*function)) {
            return Some(format!("this node has no function `{missing}`, which the job may call"));
        }
        (job.columns != self.columns).then(|| {
            format!("this node is another build of wsp {} than the job: their columns differ", self.version)
        })
    }
}

/// Says which store a session's plans are about.
pub(crate) fn bind(context: &SessionContext, ledger: &str) {
    let state = context.state_ref();
    let mut state = state.write();
    if let Some(job) = state.config_mut().options_mut().extensions.get_mut::<JobSettings>() {
        ledger.clone_into(&mut job.ledger);
    }
}

/// The ledger of the store that a job is about; none where that is not to be looked at.
pub(super) fn ledger(config: &SessionConfig) -> Option<&str> {
    let job = config.options().extensions.get::<JobSettings>()?;
    Some(job.ledger.as_str()).filter(|ledger| !ledger.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_refused_with_the_reason() {
        let own = || Build::own().unwrap();
        let refused = |job: Build| {
            let refused = own().check(&job.told(SessionConfig::new())).unwrap_err().to_string();
            assert!(refused.contains(REFUSED), "{refused}");
            refused
        };
        own().check(&own().told(SessionConfig::new())).unwrap();
        assert!(refused(Build { version: "0.0.7".to_owned(), ..own() }).contains("the job is wsp 0.0.7"));
        let mut more = own();
        more.functions.insert("fold_paths".to_owned());
        assert!(refused(more).contains("no function `fold_paths`"));
        assert!(refused(Build { columns: "00".to_owned(), ..own() }).contains("another build"));
        for foreign in
            [SessionConfig::new(), SessionConfig::new().with_option_extension(JobSettings::default())]
        {
            assert!(own().check(&foreign).unwrap_err().to_string().contains(REFUSED));
        }
    }

    #[test]
    fn what_a_job_says_of_itself_goes_the_way_of_settings() {
        let context = SessionContext::new_with_config(Build::own().unwrap().told(SessionConfig::new()));
        bind(&context, "some-id");
        let mut there = SessionConfig::new().with_option_extension(JobSettings::default());
        for entry in context.state().config().options().entries() {
            if let Some(value) = entry.value.filter(|_| entry.key.starts_with("wsp.")) {
                there.options_mut().set(&entry.key, &value).unwrap();
            }
        }
        Build::own().unwrap().check(&there).unwrap();
        assert_eq!(ledger(&there), Some("some-id"));
    }
}
