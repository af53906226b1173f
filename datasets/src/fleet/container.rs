//! One container: everything about it that its windows share.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wsp_schemas::image::Workload;

use super::FleetWorkload;
use crate::catalogue::{Catalogue, Class, Names, Scope};
use crate::seed::{self, pick};
use crate::spec::FleetSpec;
use crate::truth::{AttackTruth, ContainerTruth, DriftTruth};

/// One container of a fleet. Its windows can be made in any order.
#[derive(Debug, Clone)]
pub struct FleetContainer {
    pub(super) spec: Arc<FleetSpec>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) workload: Workload,
    pub(super) digest: String,
    /// Image, version, container: what its draws are named by.
    pub(super) place: [usize; 3],
    pub(super) names: Names,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) started: DateTime<Utc>,
    pub(super) first_window: DateTime<Utc>,
    /// It ran when its first window opened.
    pub(super) late: bool,
    /// Its host has no DNS sensor.
    pub(super) blind: bool,
    /// Groups and crowds that it has, by their positions in the catalogue.
    pub(super) has: Vec<usize>,
    pub(super) crowds: Vec<(usize, Vec<String>)>,
    /// Group of the attack, and the window.
    pub(super) attack: Option<(usize, usize)>,
    /// Group of the drift, and the first window.
    pub(super) drift: Option<(usize, usize)>,
}

impl FleetContainer {
    pub(super) fn new(workload: &FleetWorkload, index: usize) -> Self {
        let (spec, catalogue) = (&workload.spec, &workload.catalogue);
        let place = [workload.image, workload.version, index];
        let mut rng = seed::rng(spec.seed, "container", &place);
        let names = Names::new(&mut rng);
        let app = workload.workload.name().rsplit('/').next().unwrap_or_default().to_owned();
        let namespace = *pick(&mut rng, &["default", "production", "staging"]);
        let pod = format!(
            "{app}-{}-{}",
            crate::catalogue::suffix(&mut rng, 9),
            crate::catalogue::suffix(&mut rng, 5)
        );
        let labels = [("app", app.clone()), ("namespace", namespace.to_owned()), ("pod", pod.clone())];
        let host_index = rng.random_range(0..spec.hosts);
        let spread_ms = millis(spec.spread);
        let first_window = spec.start + TimeDelta::milliseconds(rng.random_range(0..=spread_ms));
        let late = rng.random_bool(spec.late_share);
        let age = rng.random_range(3_600_000..20 * 86_400_000_i64);
        let started = if late { first_window - TimeDelta::milliseconds(age) } else { first_window };
        let has = (0..catalogue.groups.len())
            .filter(|group| !catalogue.groups[*group].apart)
            .filter(|group| rng.random_bool(catalogue.groups[*group].p_container))
            .collect();
        let crowds = crowds(catalogue, &mut rng);
        let attack = attack(spec, catalogue, &place, &mut rng);
        let drift = drift(spec, catalogue, &place);
        let mut host_rng = seed::rng(spec.seed, "host", &[host_index]);
        Self {
            spec: Arc::clone(spec),
            catalogue: Arc::clone(catalogue),
            workload: workload.workload.clone(),
            digest: workload.digest(index),
            place,
            name: format!("k8s_{app}_{pod}_{namespace}_{}_0", names.pod),
            names,
            host: format!(
                "node-{host_index:05}.{}.example.com",
                pick(&mut host_rng, &["eu-1", "eu-2", "us-1"])
            ),
            blind: host_rng.random_bool(spec.blind_share),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            started,
            first_window,
            late,
            has,
            crowds,
            attack,
            drift,
        }
    }

    /// What is true of it and of all its windows.
    pub fn truth(&self) -> ContainerTruth {
        let snapshots = (0..self.spec.snapshots).map(|window| self.snapshot(window).truth).collect();
        ContainerTruth { snapshots, ..self.truth_without_snapshots() }
    }

    /// The same without its windows, for those who have them already.
    pub(crate) fn truth_without_snapshots(&self) -> ContainerTruth {
        let name = |group: usize| self.catalogue.groups[group].name.clone();
        let nodes = |group: usize| {
            self.catalogue.groups[group].nodes.iter().map(|template| template.id.to_string()).collect()
        };
        let attacks = self.attack.iter().map(|(group, window)| AttackTruth {
            name: name(*group),
            window: *window,
            snapshot_id: self.snapshot_id(*window).to_string(),
            nodes: nodes(*group),
        });
        let drifts = (0..self.spec.snapshots).filter_map(|window| {
            self.drift_in(window).map(|group| DriftTruth {
                name: name(group),
                window,
                snapshot_id: self.snapshot_id(window).to_string(),
                nodes: nodes(group),
            })
        });
        ContainerTruth {
            container_id: self.names.container.clone(),
            host: self.host.clone(),
            image_digest: self.digest.clone(),
            started: self.started,
            covers_start: !self.late,
            kinds_without_sensor: if self.blind { vec!["dns".to_owned()] } else { Vec::new() },
            has_groups: self.has.iter().copied().filter(|group| !self.is_always(*group)).collect(),
            has_crowds: self.crowds.iter().map(|(crowd, _)| *crowd).collect(),
            attacks: attacks.collect(),
            drifts: drifts.collect(),
            snapshots: Vec::new(),
        }
    }

    pub(super) fn is_always(&self, group: usize) -> bool {
        self.catalogue.groups[group].class == Class::Always
    }
}

fn crowds(catalogue: &Catalogue, rng: &mut ChaCha8Rng) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (index, crowd) in catalogue.crowds.iter().enumerate() {
        let has = rng.random_bool(crowd.p_container);
        let names = if crowd.scope == Scope::Container { crowd.draw(rng) } else { Vec::new() };
        if has {
            found.push((index, names));
        }
    }
    found
}

/// All kinds are equally likely. One stream draws among those that are not apart, another one whether it is one that is: so
/// that kinds which are added move nothing but the containers that they are drawn for.
fn attack(
    spec: &FleetSpec,
    catalogue: &Catalogue,
    place: &[usize],
    rng: &mut ChaCha8Rng,
) -> Option<(usize, usize)> {
    let all = catalogue.of_class(Class::Attack);
    let apart = |group: &usize| catalogue.groups[*group].apart;
    let first: Vec<usize> = all.iter().copied().filter(|group| !apart(group)).collect();
    let attacked = rng.random_bool(spec.attack_share);
    let window = rng.random_range(spec.attack_from..spec.snapshots);
    let which = *pick(rng, &first);
    let other = *pick(&mut seed::rng(spec.seed, "attack kind", place), &all);
    attacked.then_some((if apart(&other) { other } else { which }, window))
}

fn drift(spec: &FleetSpec, catalogue: &Catalogue, place: &[usize]) -> Option<(usize, usize)> {
    let mut rng = seed::rng(spec.seed, "drift", place);
    rng.random_bool(spec.drift_share).then(|| {
        let which = *pick(&mut rng, &catalogue.of_class(Class::Drift));
        (which, rng.random_range(spec.drift_from..spec.snapshots))
    })
}

/// Whole milliseconds of a duration that was checked to be short.
pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
