//! The fleet: images, their tags, the containers of each, the snapshots of each container.

mod container;
mod snapshot;

use std::sync::Arc;

use wsp_schemas::image::{Workload, WorkloadKey};

use crate::catalogue::{self, Catalogue};
use crate::seed;
use crate::spec::{FleetSpec, SpecError};
use crate::truth::{Change, WorkloadTruth};

pub use container::FleetContainer;
pub use snapshot::Snapshot;

const TEAMS: [&str; 5] = ["shop", "search", "billing", "media", "platform"];

/// A simulated fleet. Cheap: everything is made when it is asked for, and can be asked for in any order.
#[derive(Debug, Clone)]
pub struct Fleet {
    spec: Arc<FleetSpec>,
    workloads: Vec<Workload>,
}

/// One image and tag of a fleet, with its catalogue.
#[derive(Debug, Clone)]
pub struct FleetWorkload {
    spec: Arc<FleetSpec>,
    image: usize,
    version: usize,
    workload: Workload,
    catalogue: Arc<Catalogue>,
}

impl Fleet {
    /// Takes a spec that makes sense.
    pub fn new(spec: FleetSpec) -> Result<Self, SpecError> {
        spec.check()?;
        let mut workloads = Vec::with_capacity(spec.workloads());
        for image in spec.first_image..spec.first_image + spec.images {
            for version in 0..spec.versions {
                let reference = format!("{}:{}", image_name(image), tag(version));
                let rule = "makes names that are no image references";
                let workload = Workload::parse(&reference);
                workloads.push(workload.map_err(|_| SpecError { what: "images", value: reference, rule })?);
            }
        }
        Ok(Self { spec: Arc::new(spec), workloads })
    }

    /// What was asked for.
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    /// Names and tags of the workloads, in the order of [`Fleet::workloads`].
    pub fn workload_names(&self) -> impl ExactSizeIterator<Item = &Workload> {
        self.workloads.iter()
    }

    /// The workloads, image by image and tag by tag; the catalogue of each is made when it is reached.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = FleetWorkload> + '_ {
        self.workloads.iter().enumerate().map(|(index, workload)| {
            let image = self.spec.first_image + index / self.spec.versions;
            let version = index % self.spec.versions;
            FleetWorkload {
                spec: Arc::clone(&self.spec),
                image,
                version,
                workload: workload.clone(),
                catalogue: Arc::new(catalogue::build(&self.spec, image, version)),
            }
        })
    }

    /// All snapshots: workload by workload, container by container, window by window.
    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot> + '_ {
        let FleetSpec { containers, snapshots, .. } = *self.spec;
        self.workloads().flat_map(move |workload| {
            (0..containers).flat_map(move |index| {
                let container = workload.container(index);
                (0..snapshots).map(move |window| container.snapshot(window))
            })
        })
    }
}

impl FleetWorkload {
    /// Its name and tag.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The same behaviour under another name.
    pub(crate) fn named(mut self, workload: Workload) -> Self {
        self.workload = workload;
        self
    }

    /// Its key.
    pub fn key(&self) -> WorkloadKey {
        self.workload.key()
    }

    pub(crate) fn snapshots_per_container(&self) -> usize {
        self.spec.snapshots
    }

    /// One of its containers; `index` counts up to [`FleetSpec::containers`].
    pub fn container(&self, index: usize) -> FleetContainer {
        FleetContainer::new(self, index)
    }

    /// All its containers.
    pub fn containers(&self) -> impl ExactSizeIterator<Item = FleetContainer> + '_ {
        (0..self.spec.containers).map(|index| self.container(index))
    }

    /// What is true of it, whatever its containers happened to do.
    pub fn truth(&self) -> WorkloadTruth {
        let change = self.version.checked_sub(1).map(|previous| {
            let old = catalogue::build(&self.spec, self.image, previous);
            Change::between(tag(previous), &old, &self.catalogue)
        });
        let mut digests = vec![self.digest(0)];
        if self.tag_is_reused() {
            digests.push(self.digest(self.spec.containers));
        }
        WorkloadTruth::new(
            &self.spec,
            &self.workload,
            catalogue::archetype(self.image),
            digests,
            change,
            &self.catalogue,
        )
    }

    /// Digest that a container's image has.
    fn digest(&self, container: usize) -> String {
        let second = self.tag_is_reused() && container >= self.spec.containers.div_ceil(2);
        let bytes = seed::bytes(self.spec.seed, "digest", &[self.image, self.version, usize::from(second)]);
        format!("sha256:{}", seed::hex(&bytes))
    }

    fn tag_is_reused(&self) -> bool {
        self.spec.tag_reuse && self.image == self.spec.first_image && self.version + 1 == self.spec.versions
    }
}

fn image_name(image: usize) -> String {
    format!("registry.example.com/{}/{}-{image}", TEAMS[image % TEAMS.len()], catalogue::archetype(image))
}

fn tag(version: usize) -> String {
    format!("1.{version}")
}

#[cfg(test)]
mod tests;
