//! Catalogues: everything that the containers of one image can do, and how likely each of them does it.

mod archetypes;
mod attacks;
mod builder;
mod crowds;
mod drift;
mod filler;
mod platform;
mod raw;
mod rows;

use serde::{Deserialize, Serialize};
use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::Node;

pub(crate) use crowds::Crowd;
pub use crowds::{Alphabet, Scope};
pub(crate) use raw::{Names, kubernetes_suffix as suffix};

use crate::seed;
use crate::spec::FleetSpec;
use archetypes::ARCHETYPES;
use builder::Builder;

/// Why a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// In every window of every container.
    Always,
    /// In windows that cover the container's start, and in no others.
    Startup,
    /// In some containers, and there in some windows.
    Sometimes,
    /// Named at random in each container.
    Random,
    /// Injected.
    Attack,
    /// Injected too, and harmless: what a healthy workload comes to do after it was learned.
    Drift,
}

/// Nodes that come together: in one window either all of them or none.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) class: Class,
    /// Probability that a container has it at all.
    pub(crate) p_container: f64,
    /// Probability that a window of such a container shows it.
    pub(crate) p_window: f64,
    /// First seen while the container starts up, where the window covers that.
    pub(crate) early: bool,
    /// Where the window opened over a running container, /proc could only guess its parents.
    pub(crate) guessed: bool,
    /// No container draws whether it has it: it is injected, by streams of random numbers of its own.
    pub(crate) apart: bool,
    /// Versions of the image that have it: from the first to below the second.
    pub(crate) versions: (usize, usize),
    /// Parents come before children. A parent outside the group is in an `always` group.
    pub(crate) nodes: Vec<Template>,
}

/// A node, but for what differs between windows.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) id: NodeId,
    pub(crate) node: Node,
    /// For humans.
    pub(crate) label: String,
    /// Path before the rules, with placeholders for what differs between containers.
    pub(crate) raw: Option<String>,
}

/// What the containers of one image and tag do.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    /// `always` groups come first.
    pub(crate) groups: Vec<Group>,
    pub(crate) crowds: Vec<Crowd>,
}

/// Name of the archetype of an image.
pub(crate) fn archetype(image: usize) -> &'static str {
    ARCHETYPES[image % ARCHETYPES.len()].name
}

/// The catalogue of one version of one image.
pub(crate) fn build(spec: &FleetSpec, image: usize, version: usize) -> Catalogue {
    let mut builder = Builder::new(seed::rng(spec.seed, "catalogue", &[image]), spec.versions);
    let archetype = &ARCHETYPES[image % ARCHETYPES.len()];
    let main = (archetype.build)(&mut builder);
    let probe = platform::add(&mut builder, &main);
    attacks::add(&mut builder, &main);
    filler::add(&mut builder, &main, archetype, spec.nodes);
    builder.apart(seed::rng(spec.seed, "attacks", &[image]));
    attacks::add_apart(&mut builder, &main, &probe);
    if spec.drift_share > 0.0 {
        builder.apart(seed::rng(spec.seed, "drifts", &[image]));
        drift::add(&mut builder, &main);
    }
    builder.finish(version)
}

impl Catalogue {
    /// Positions of the groups of a class.
    pub(crate) fn of_class(&self, class: Class) -> Vec<usize> {
        (0..self.groups.len()).filter(|group| self.groups[*group].class == class).collect()
    }
}

impl Group {
    /// Whether it is seen only in windows that cover the start.
    pub(crate) fn start_only(&self) -> bool {
        self.class == Class::Startup
    }

    /// Expected number of its nodes in a mid-life window.
    fn weight(&self) -> f64 {
        match self.class {
            Class::Startup | Class::Attack | Class::Drift => 0.0,
            _ => self.p_container * self.p_window * count(self.nodes.len()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of nodes are far below 2^52")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use wsp_schemas::paths::normalise;
    use wsp_schemas::snapshot::Fact;

    use super::*;

    #[test]
    fn catalogues_hold_what_they_promise() {
        let spec = FleetSpec { versions: 3, drift_share: 1.0, ..FleetSpec::default() };
        for image in 0..ARCHETYPES.len() {
            for version in 0..3 {
                let catalogue = build(&spec, image, version);
                let mut ids = HashSet::new();
                let always: HashSet<NodeId> =
                    (catalogue.groups.iter().filter(|group| group.class == Class::Always))
                        .flat_map(|group| group.nodes.iter().map(|node| node.id))
                        .collect();
                for group in &catalogue.groups {
                    let mut own = HashSet::new();
                    for template in &group.nodes {
                        let known = |id| own.contains(&id) || always.contains(&id);
                        assert!(
                            template.node.parent.is_none_or(known),
                            "{} in {}",
                            template.label,
                            group.name
                        );
                        assert!(ids.insert(template.id), "{} twice, in {}", template.label, group.name);
                        assert_eq!(template.id, template.node.id());
                        own.insert(template.id);
                        if let Fact::File(file) = &template.node.fact {
                            assert_eq!(*normalise(file.path.as_bytes()), *file.path.as_bytes());
                        }
                    }
                }
                let weight: f64 = catalogue.groups.iter().map(Group::weight).sum::<f64>()
                    + catalogue.crowds.iter().map(Crowd::weight).sum::<f64>();
                assert!((250.0..410.0).contains(&weight), "{image} {version}: {weight}");
                for class in [Class::Always, Class::Startup, Class::Sometimes, Class::Attack, Class::Drift] {
                    assert!(catalogue.groups.iter().any(|group| group.class == class), "{image}: {class:?}");
                }
            }
        }
    }

    #[test]
    fn versions_gain_and_lose_nodes() {
        let spec = FleetSpec { versions: 4, ..FleetSpec::default() };
        let ids = |version| -> HashSet<NodeId> {
            build(&spec, 0, version)
                .groups
                .iter()
                .flat_map(|group| group.nodes.iter().map(|node| node.id))
                .collect()
        };
        for version in 1..4 {
            let (old, new) = (ids(version - 1), ids(version));
            assert!(old.difference(&new).count() > 0 && new.difference(&old).count() > 0);
            assert!(old.intersection(&new).count() * 10 > old.len() * 6);
        }
    }
}
