//! What can be typed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use wsp_datasets::{FleetSpec, TruthOption};

/// Fleets with a known truth, bundled recordings, and bad input, for trying out and testing wsp
#[derive(Debug, Parser)]
#[command(name = "wsp-datasets", version, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the snapshots of a simulated fleet, and the truth about it beside them
    ///
    /// The same options write the same bytes, on any machine and with any number of jobs. Below truth/ of the store stands
    /// what each container really did and how likely it was: see datasets/README.md.
    Generate(Generate),
    /// List the recordings of real containers that this program has in it
    List(List),
    /// Copy the recordings into a store; what is there already stays
    Copy(Copy),
    /// Write one object for each way in which a snapshot can be wrong
    ///
    /// truth/hostile.json of the store says what is wrong with each, and what a merge must do with it.
    Hostile(Hostile),
    /// Replay days of uploads of a fleet of any size, as object metadata, through wsp merge
    ///
    /// A store on loopback lists what such a fleet would upload, hour by hour, and makes a file when it is read; wsp merge runs
    /// against it as often as it would, and each run is measured: requests, time, memory, and what the tables become.
    #[cfg(feature = "fleet")]
    Fleet(FleetArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Where to: a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL", env = "WSP_STORE")]
    pub(crate) store: String,
    /// Images, each with behaviour of its own
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().images)]
    images: usize,
    /// Number of the first image: two fleets of one store must not share images
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().first_image)]
    first_image: usize,
    /// Tags of each image; each gains and loses some behaviour
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().versions)]
    versions: usize,
    /// Containers of each tag
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().containers)]
    containers: usize,
    /// Snapshots of each container
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().snapshots)]
    snapshots: usize,
    /// Hosts that the containers are spread over
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().hosts)]
    hosts: usize,
    /// Nodes of a snapshot, about; some 60 to 80 are always there
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().nodes)]
    nodes: usize,
    /// Source of all randomness
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().seed)]
    seed: u64,
    /// Length of a window: 90s, 30m, 1h
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    interval: Duration,
    /// Earliest start of a window
    #[arg(long, value_name = "RFC3339", default_value_t = FleetSpec::default().start)]
    start: DateTime<Utc>,
    /// First windows start within this time of --start
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    spread: Duration,
    /// Share of the containers that were running when their first window opened
    #[arg(long, value_name = "0..1", default_value_t = FleetSpec::default().late_share)]
    late_share: f64,
    /// Share of the snapshots that lost events
    #[arg(long, value_name = "0..1", default_value_t = FleetSpec::default().lossy_share)]
    lossy_share: f64,
    /// Share of the containers that are attacked
    #[arg(long, value_name = "0..1", default_value_t = FleetSpec::default().attack_share)]
    attack_share: f64,
    /// First window that an attack may fall into, counted from 0
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().attack_from)]
    attack_from: usize,
    /// Share of the containers that come to do something new and harmless
    #[arg(long, value_name = "0..1", default_value_t = FleetSpec::default().drift_share)]
    drift_share: f64,
    /// First window in which a container may drift, counted from 0
    #[arg(long, value_name = "N", default_value_t = FleetSpec::default().drift_from)]
    drift_from: usize,
    /// Share of the hosts without a DNS sensor
    #[arg(long, value_name = "0..1", default_value_t = FleetSpec::default().blind_share)]
    blind_share: f64,
    /// Push the newest tag of the first image again: half of its containers have another digest
    #[arg(long)]
    tag_reuse: bool,
    /// Do not write the truth
    #[arg(long)]
    no_truth: bool,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Copy {
    /// Where to
    #[arg(long, value_name = "URL", env = "WSP_STORE")]
    pub(crate) store: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Hostile {
    /// Where to
    #[arg(long, value_name = "URL", env = "WSP_STORE")]
    pub(crate) store: String,
}

#[cfg(feature = "fleet")]
#[derive(Debug, clap::Args)]
pub(crate) struct FleetArgs {
    /// Hosts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    hosts: u32,
    /// Images; of two, one may run a thousand times as often as the other [default: one a 20 hosts, at least 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    images: Option<u32>,
    /// Containers of each host
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    containers: u16,
    /// Containers of a host that are recorded at the same time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    slots: u16,
    /// Length of a window: 90s, 30m, 1h
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = some_time)]
    interval: Duration,
    /// Time from one version of an image to the next
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = some_time)]
    release: Duration,
    /// Hosts go on recording workloads whose profile is stable, as without wsp-capture run --profiles
    #[arg(long)]
    record_stable: bool,
    /// Hours that pass
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8784))]
    hours: u32,
    /// Hours from one merge to the next
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8784))]
    every: u32,
    /// The program wsp [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    wsp: Option<std::path::PathBuf>,
    /// As JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// More options of wsp merge
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

#[cfg(feature = "fleet")]
impl FleetArgs {
    pub(crate) fn plan(&self) -> crate::scale::Plan {
        let beside = || std::env::current_exe().unwrap_or_default().with_file_name("wsp");
        crate::scale::Plan {
            spec: crate::scale::Spec {
                hosts: self.hosts,
                images: self.images.unwrap_or_else(|| (self.hosts / 20).max(50)),
                containers: self.containers,
                slots: self.slots,
                interval: self.interval,
                release: self.release,
                start: FleetSpec::default().start,
            },
            skip_stable: !self.record_stable,
            hours: self.hours,
            every: self.every,
            wsp: self.wsp.clone().unwrap_or_else(beside),
            options: self.options.clone(),
        }
    }
}

/// As [`duration`], and not nothing.
#[cfg(feature = "fleet")]
fn some_time(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("must be longer".to_owned()) } else { Ok(time) })
}

impl Generate {
    pub(crate) fn spec(&self) -> FleetSpec {
        FleetSpec {
            seed: self.seed,
            images: self.images,
            first_image: self.first_image,
            versions: self.versions,
            containers: self.containers,
            snapshots: self.snapshots,
            hosts: self.hosts,
            interval: self.interval,
            start: self.start,
            spread: self.spread,
            nodes: self.nodes,
            late_share: self.late_share,
            lossy_share: self.lossy_share,
            attack_share: self.attack_share,
            attack_from: self.attack_from,
            drift_share: self.drift_share,
            drift_from: self.drift_from,
            blind_share: self.blind_share,
            tag_reuse: self.tag_reuse,
        }
    }

    pub(crate) fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }

    pub(crate) fn truth(&self) -> TruthOption {
        if self.no_truth { TruthOption::Skip } else { TruthOption::Write }
    }
}

/// Reads `90s`, `30m`, `24h`, `2d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a number and its unit: 90s, 30m, 24h or 2d".to_owned();
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help() {
        let mut command = Args::command().term_width(110);
        command.build();
        let mut text = command.render_long_help().to_string();
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            text += &format!(
                "\n\n==== {} ====\n\n{}",
                sub.get_name(),
                sub.clone().term_width(110).render_long_help()
            );
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let args = Args::try_parse_from(["wsp-datasets", "generate", "--store", "x"]).unwrap();
        let Command::Generate(generate) = args.command else { panic!("another command") };
        assert_eq!(generate.spec(), FleetSpec::default());
        assert_eq!(generate.truth(), TruthOption::Write);
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for text in ["", "m", "30", "-1m", "1.5h", "30µ", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
