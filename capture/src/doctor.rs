//! What this host can do for the probe, and what to do about the rest. Never fails: what cannot be found out is reported.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::probe::hooks::{self, PARTS, Sensor};
use crate::probe::host::{self, KernelVersion};
use crate::probe::try_hooks;

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something is missing, but the probe runs.
    Degraded {
        /// What to do.
        fix: String,
    },
    /// The probe does not run.
    Failed {
        /// What to do.
        fix: String,
    },
}

/// One check of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Whether that is enough.
    #[serde(flatten)]
    pub status: Status,
}

/// What became of one row of the attach table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookReport {
    /// What it serves.
    pub sensor: Sensor,
    /// Its name.
    pub hook: &'static str,
    /// First kernel that has it.
    pub since: &'static str,
    /// What happened.
    pub outcome: Outcome,
    /// What happens without it.
    pub fallback: &'static str,
}

/// What happened when a hook was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Loaded and attached.
    Works,
    /// The kernel said no.
    Refused(String),
    /// A check failed before.
    NotTried,
}

/// A sensor and whether it will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SensorReport {
    /// Which.
    pub sensor: Sensor,
    /// The hook that serves it, where it will run.
    pub hook: Option<&'static str>,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The host.
    pub checks: Vec<Check>,
    /// The attach table.
    pub hooks: Vec<HookReport>,
    /// What follows.
    pub sensors: Vec<SensorReport>,
}

impl Report {
    /// True where the probe runs, if perhaps not with every sensor.
    pub fn can_run(&self) -> bool {
        self.sensors.iter().any(|report| report.sensor == Sensor::Process && report.hook.is_some())
            && !self.checks.iter().any(|check| matches!(check.status, Status::Failed { .. }))
    }

    /// True where every sensor runs and nothing is to be done.
    pub fn is_complete(&self) -> bool {
        self.can_run()
            && self.checks.iter().all(|check| check.status == Status::Ok)
            && self.sensors.iter().all(|report| report.hook.is_some())
    }
}

/// Examines this host. Loads and attaches every hook for a moment where that is allowed; mounts tracefs where it is not.
pub fn examine() -> Report {
    let mut checks = vec![kernel(), btf(), capabilities()];
    let (cgroups, mount) = cgroups();
    checks.push(cgroups);
    checks.push(tracefs());
    let hopeless = checks.iter().any(|check| {
        matches!(check.name, "kernel" | "btf" | "capabilities")
            && matches!(check.status, Status::Failed { .. })
    });
    let hooks = if hopeless { not_tried() } else { tried(mount.as_deref(), &mut checks) };
    let sensors = Sensor::ALL.map(|sensor| SensorReport { sensor, hook: serving(sensor, &hooks) }).into();
    Report { checks, hooks, sensors }
}

fn kernel() -> Check {
    let release = host::kernel_release().unwrap_or_else(|error| format!("unknown ({error})"));
    let status = match KernelVersion::parse(&release) {
        Some(version) if version >= KernelVersion::FLOOR => Status::Ok,
        _ => Status::Failed { fix: format!("run a kernel of at least {}", KernelVersion::FLOOR) },
    };
    Check { name: "kernel", found: release, status }
}

fn btf() -> Check {
    let there = Path::new(host::BTF_PATH).exists();
    let found = format!("{} {}", host::BTF_PATH, if there { "is there" } else { "is missing" });
    let fix = "run a kernel built with CONFIG_DEBUG_INFO_BTF=y".to_owned();
    Check { name: "btf", found, status: if there { Status::Ok } else { Status::Failed { fix } } }
}

fn capabilities() -> Check {
    let name = "capabilities";
    let effective = match host::effective_capabilities() {
        Ok(effective) => effective,
        Err(error) => {
            let fix = "mount /proc".to_owned();
            return Check { name, found: format!("unknown ({error})"), status: Status::Failed { fix } };
        }
    };
    let (held, missing): (Vec<_>, Vec<_>) =
        host::CAPABILITIES.iter().partition(|capability| host::holds(effective, capability));
    let names = |list: &[&host::Capability]| list.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
    let found = match (held.is_empty(), missing.is_empty()) {
        (_, true) => names(&held),
        (true, false) => "none of those needed".to_owned(),
        (false, false) => format!("{}; not {}", names(&held), names(&missing)),
    };
    let fix: Vec<String> = missing.iter().map(|c| format!("{} {}", c.name, c.purpose)).collect();
    let fix = format!("run as root, or grant {}", fix.join(", "));
    let status = if missing.is_empty() {
        Status::Ok
    } else if missing.iter().any(|capability| capability.is_essential()) {
        Status::Failed { fix }
    } else {
        Status::Degraded { fix }
    };
    Check { name, found, status }
}

fn cgroups() -> (Check, Option<PathBuf>) {
    let name = "cgroup";
    match host::cgroup2_mount() {
        Ok(Some(mount)) => {
            let layout = if mount == Path::new("/sys/fs/cgroup") { "unified" } else { "hybrid" };
            let found = format!("v2 at {} ({layout})", mount.display());
            (Check { name, found, status: Status::Ok }, Some(mount))
        }
        Ok(None) => {
            let fix =
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1";
            (
                Check {
                    name,
                    found: "no v2 mount".to_owned(),
                    status: Status::Failed { fix: fix.to_owned() },
                },
                None,
            )
        }
        Err(error) => {
            let status = Status::Failed { fix: "mount /proc".to_owned() };
            (Check { name, found: format!("unknown ({error})"), status }, None)
        }
    }
}

fn tracefs() -> Check {
    let name = "tracefs";
    match host::ensure_tracefs() {
        Ok(()) => Check { name, found: "mounted".to_owned(), status: Status::Ok },
        Err(error) => {
            let fix = "mount -t tracefs tracefs /sys/kernel/tracing".to_owned();
            Check { name, found: format!("not usable ({error})"), status: Status::Failed { fix } }
        }
    }
}

fn not_tried() -> Vec<HookReport> {
    hooks::hooks()
        .map(|hook| HookReport {
            sensor: hook.sensor,
            hook: hook.name,
            since: hook.since,
            outcome: Outcome::NotTried,
            fallback: hook.fallback,
        })
        .collect()
}

fn tried(mount: Option<&Path>, checks: &mut Vec<Check>) -> Vec<HookReport> {
    let mut reports = not_tried();
    let scratch = mount.and_then(ScratchCgroup::make);
    let said = match try_hooks(scratch.as_ref().map(|scratch| &scratch.directory)) {
        Ok(said) => said,
        Err(error) => {
            let found = with_causes(&error);
            let fix = "report this with the kernel's version".to_owned();
            checks.push(Check { name: "load", found, status: Status::Failed { fix } });
            return reports;
        }
    };
    for (hook, outcome) in said {
        if let Some(report) = reports.iter_mut().find(|report| report.hook == hook.name) {
            report.outcome = outcome.map_or_else(Outcome::Refused, |()| Outcome::Works);
        }
    }
    reports
}

/// The hook that a sensor will run on: that of its first part. It needs one that works for each part that is not optional.
fn serving(sensor: Sensor, hooks: &[HookReport]) -> Option<&'static str> {
    let works =
        |name: &str| hooks.iter().any(|report| report.hook == name && report.outcome == Outcome::Works);
    let mut serving = None;
    for part in PARTS.iter().filter(|part| part.sensor() == sensor) {
        match part.hooks.iter().find(|hook| works(hook.name)) {
            Some(hook) => serving = serving.or(Some(hook.name)),
            None if part.optional => {}
            None => return None,
        }
    }
    serving
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A cgroup of our own to attach to; it goes when this is dropped.
struct ScratchCgroup {
    path: PathBuf,
    directory: File,
}

impl ScratchCgroup {
    fn make(mount: &Path) -> Option<Self> {
        let path = mount.join(format!("wsp-doctor-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        match File::open(&path) {
            Ok(directory) => Some(Self { path, directory }),
            Err(_) => {
                // It is empty, so it can go; and if not, it does no harm.
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }
}

impl Drop for ScratchCgroup {
    fn drop(&mut self) {
        // As above.
        let _ = fs::remove_dir(&self.path);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            match &check.status {
                Status::Ok => writeln!(f, "ok       {:<14}{}", check.name, check.found)?,
                Status::Degraded { fix } => {
                    writeln!(f, "degraded {:<14}{}\n           -> {fix}", check.name, check.found)?;
                }
                Status::Failed { fix } => {
                    writeln!(f, "FAILED   {:<14}{}\n           -> {fix}", check.name, check.found)?;
                }
            }
        }
        writeln!(f, "\nhooks")?;
        for hook in &self.hooks {
            let outcome = match &hook.outcome {
                Outcome::Works => "works".to_owned(),
                Outcome::Refused(reason) => {
                    format!("refused: {reason}\n           without it: {}", hook.fallback)
                }
                Outcome::NotTried => "not tried".to_owned(),
            };
            writeln!(f, "  {:<11}{:<30}{outcome}", hook.sensor.name(), hook.hook)?;
        }
        writeln!(f, "\nsensors")?;
        for report in &self.sensors {
            match report.hook {
                Some(hook) => writeln!(f, "  {:<11}runs on {hook}", report.sensor.name())?,
                None => writeln!(f, "  {:<11}does not run", report.sensor.name())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_made_whoever_asks() {
        let report = examine();
        assert_eq!(report.sensors.len(), Sensor::ALL.len());
        assert!(report.to_string().contains("tp_btf/sched_process_exec"));
        assert!(serde_json::to_value(&report).is_ok());
    }
}
