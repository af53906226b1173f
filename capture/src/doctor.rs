//! What this host can do for the probe, and what to do about the rest. Never fails: what cannot be found out is reported.

mod place;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::place::{clock, spool, store};
use crate::hierarchy::Hierarchy;
use crate::probe::hooks::{self, PARTS, Sensor};
use crate::probe::host::{self, KernelVersion};
use crate::probe::{NO_V2, try_hooks};

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

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "because")]
pub enum Verdict {
    /// Everything runs.
    Ready,
    /// It runs, but not all of it, or not well.
    Limited(Vec<String>),
    /// It does not run.
    CannotRun(Vec<String>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready: all sensors run"),
            Self::Limited(limits) => write!(f, "ready with limits: {}", limits.join("; ")),
            Self::CannotRun(reasons) => write!(f, "cannot run: {}", reasons.join("; ")),
        }
    }
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        let said = |check: &Check| format!("{}: {}", check.name, check.found);
        let failed = |check: &&Check| matches!(check.status, Status::Failed { .. });
        let dead =
            |report: &SensorReport| report.hook.is_none().then(|| format!("no {} sensor", report.sensor));
        if !self.can_run() {
            let reasons: Vec<_> = self.checks.iter().filter(failed).map(said).collect();
            let sensor = || self.sensors.iter().find_map(dead).into_iter().collect();
            return Verdict::CannotRun(if reasons.is_empty() { sensor() } else { reasons });
        }
        let degraded = self.checks.iter().filter(|check| check.status != Status::Ok).map(said);
        let limits: Vec<_> = self.sensors.iter().filter_map(dead).chain(degraded).collect();
        if limits.is_empty() { Verdict::Ready } else { Verdict::Limited(limits) }
    }

    /// All of it, the verdict too.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            report: &'a Report,
            #[serde(flatten)]
            verdict: Verdict,
        }
        serde_json::to_string_pretty(&Whole { report: self, verdict: self.verdict() })
    }

    /// True where the probe runs, if perhaps not with every sensor.
    pub fn can_run(&self) -> bool {
        self.sensors.iter().any(|report| report.sensor == Sensor::Process && report.hook.is_some())
            && !self.checks.iter().any(|check| matches!(check.status, Status::Failed { .. }))
    }
}

/// Examines this host. Loads and attaches every hook for a moment where that is allowed; mounts tracefs where it is not.
pub fn examine() -> Report {
    let mut checks = vec![kernel(), btf(), capabilities(), processes()];
    let (cgroups, hierarchy) = cgroups();
    checks.push(cgroups);
    checks.push(tracefs());
    let hopeless = checks.iter().any(|check| {
        matches!(check.name, "kernel" | "btf" | "capabilities")
            && matches!(check.status, Status::Failed { .. })
    });
    let hooks = if hopeless { not_tried() } else { tried(hierarchy.as_ref(), &mut checks) };
    let sensors = Sensor::ALL.map(|sensor| SensorReport { sensor, hook: serving(sensor, &hooks) }).into();
    Report { checks, hooks, sensors }
}

fn kernel() -> Check {
    kernel_of(host::kernel_release().unwrap_or_else(|error| format!("unknown ({error})")))
}

fn kernel_of(release: String) -> Check {
    let name = "kernel";
    let floor = KernelVersion::FLOOR;
    let fix = format!("run a kernel of at least {floor}");
    match KernelVersion::parse(&release) {
        Some(version) if version >= floor => Check { name, found: release, status: Status::Ok },
        _ => {
            Check { name, found: format!("{release} is older than {floor}"), status: Status::Failed { fix } }
        }
    }
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
    let fix: Vec<String> =
        missing.iter().map(|c| format!("{} {} (without it {})", c.name, c.purpose, c.without)).collect();
    let fix = format!("run as root, or grant {}", fix.join("; "));
    let status = if missing.is_empty() {
        Status::Ok
    } else if missing.iter().any(|capability| capability.is_essential()) {
        Status::Failed { fix }
    } else {
        Status::Degraded { fix }
    };
    Check { name, found, status }
}

fn processes() -> Check {
    let name = "processes";
    let fix = "run in the host's pid namespace: hostPID: true, or --pid=host".to_owned();
    match host::sees_all_processes() {
        Ok(true) => Check { name, found: "all of the host's are in /proc".to_owned(), status: Status::Ok },
        Ok(false) => Check {
            name,
            found: "only those of a pid namespace are in /proc".to_owned(),
            status: Status::Failed { fix },
        },
        Err(error) => Check { name, found: format!("unknown ({error})"), status: Status::Failed { fix } },
    }
}

fn cgroups() -> (Check, Option<Hierarchy>) {
    let name = "cgroup";
    let found = match Hierarchy::of_host() {
        Ok(Some(found)) => found,
        Ok(None) => {
            let fix =
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1";
            let status = Status::Failed { fix: fix.to_owned() };
            return (
                Check { name, found: "no mount of v2, nor of a controller of v1".to_owned(), status },
                None,
            );
        }
        Err(error) => {
            let status = Status::Failed { fix: "mount /proc".to_owned() };
            return (Check { name, found: format!("unknown ({error})"), status }, None);
        }
    };
    let at = found.mount().display();
    let check = match found.controller() {
        None => {
            let layout = if found.mount() == Path::new("/sys/fs/cgroup") { "unified" } else { "hybrid" };
            Check { name, found: format!("v2 at {at} ({layout})"), status: Status::Ok }
        }
        Some(controller) => {
            let fix =
                "boot with systemd.unified_cgroup_hierarchy=1: DNS is seen by programs of cgroup v2 only";
            let status = Status::Degraded { fix: fix.to_owned() };
            Check { name, found: format!("v1 alone: {controller} at {at}"), status }
        }
    };
    (check, Some(found))
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

fn tried(hierarchy: Option<&Hierarchy>, checks: &mut Vec<Check>) -> Vec<HookReport> {
    let mut reports = not_tried();
    let v2 = hierarchy.filter(|hierarchy| hierarchy.controller().is_none());
    let scratch = v2.and_then(|hierarchy| ScratchCgroup::make(hierarchy.mount()));
    // Where none can be made, our own is as good: the programs let everything pass.
    let own = v2.and_then(host::own_cgroup).and_then(|own| File::open(own).ok());
    let cgroup = scratch.as_ref().map(|scratch| &scratch.directory).or(own.as_ref());
    let why = if v2.is_some() { "there was no cgroup to attach it to" } else { NO_V2 };
    let said = match try_hooks(cgroup.ok_or(why)) {
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
        let more = error.to_string();
        // Some libraries repeat their source in their own message.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
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
            writeln!(f, "  {:<11}{:<39}{outcome}", hook.sensor.name(), hook.hook)?;
        }
        writeln!(f, "\nsensors")?;
        for report in &self.sensors {
            match report.hook {
                Some(hook) => writeln!(f, "  {:<11}runs on {hook}", report.sensor.name())?,
                None => writeln!(f, "  {:<11}does not run", report.sensor.name())?,
            }
        }
        writeln!(f, "\n{}", self.verdict())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_made_whoever_asks() {
        let report = examine();
        assert_eq!(report.sensors.len(), Sensor::ALL.len());
        let text = report.to_string();
        assert!(text.contains("tp_btf/sched_process_exec"));
        assert!(text.trim_end().ends_with(&format!("\n{}", report.verdict())));
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert!(["ready", "limited", "cannot_run"].contains(&json["verdict"].as_str().unwrap()));
    }

    fn report(checks: Vec<Check>, dead: &[Sensor]) -> Report {
        let hook = |sensor: Sensor| (!dead.contains(&sensor)).then_some("x");
        let sensors = Sensor::ALL.map(|sensor| SensorReport { sensor, hook: hook(sensor) }).into();
        Report { checks, hooks: Vec::new(), sensors }
    }

    #[test]
    fn the_verdict_follows_from_checks_and_sensors() {
        let check = |name, found: &str, status| Check { name, found: found.to_owned(), status };
        let fix = || "do it".to_owned();
        let fine = || check("btf", "is there", Status::Ok);
        let old = || kernel_of("5.10.0-30-amd64".to_owned());
        let slow = || check("spool", "has no room", Status::Degraded { fix: fix() });
        let said = |checks, dead: &[Sensor]| report(checks, dead).verdict().to_string();
        assert_eq!(said(vec![fine()], &[]), "ready: all sensors run");
        assert_eq!(
            said(vec![fine(), slow()], &[Sensor::Dns]),
            "ready with limits: no dns sensor; spool: has no room"
        );
        assert_eq!(
            said(vec![old(), slow()], &Sensor::ALL),
            "cannot run: kernel: 5.10.0-30-amd64 is older than 6.1"
        );
        assert_eq!(said(vec![fine()], &[Sensor::Process]), "cannot run: no process sensor");
        assert_eq!(kernel_of("6.1.0-28-cloud-amd64".to_owned()).status, Status::Ok);
    }
}
