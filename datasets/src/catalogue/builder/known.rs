//! What a catalogue has so far, for what is added beside it.

use std::collections::HashSet;

use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::{Fact, File, Node, Socket};

use super::{Builder, Owner};
use crate::catalogue::{Class, Template};

impl Builder {
    /// Tools that other processes start, each once, in the order in which they were added.
    pub(crate) fn tools(&self) -> Vec<String> {
        let mut tools = Vec::new();
        for template in self.groups.iter().filter(|group| !group.apart).flat_map(|group| &group.nodes) {
            let Node { fact: Fact::Process(_), parent: Some(_), exe: Some(exe), .. } = &template.node else {
                continue;
            };
            let exe = exe.to_escaped();
            if exe.starts_with("/usr/bin/") && !tools.contains(&exe) {
                tools.push(exe);
            }
        }
        tools
    }

    /// Files that a process has in every window, whatever the version.
    pub(crate) fn files<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a File> {
        self.lasting().filter(|template| template.node.parent == Some(owner.id)).filter_map(|template| {
            match &template.node.fact {
                Fact::File(file) => Some(file),
                _ => None,
            }
        })
    }

    /// Processes that are in every window, whatever the version.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Owner> + '_ {
        self.lasting().filter_map(|template| match (&template.node.fact, &template.node.exe) {
            (Fact::Process(_), Some(exe)) => Some(Owner { id: template.id, exe: exe.to_escaped() }),
            _ => None,
        })
    }

    /// The best known of the services that such a process calls by name: the process, the name, the port.
    pub(crate) fn service(&self) -> Option<(Owner, String, u16)> {
        let always: HashSet<NodeId> = self.lasting().map(|template| template.id).collect();
        let whole = self.groups.iter().filter(|group| group.versions == (0, usize::MAX));
        let mut groups: Vec<_> = whole.filter(|group| !group.apart && !group.start_only()).collect();
        groups.sort_by(|a, b| (b.p_container * b.p_window).total_cmp(&(a.p_container * a.p_window)));
        groups.into_iter().flat_map(|group| &group.nodes).find_map(|template| {
            let Node { fact: Fact::Connect(Socket { address, port, name_source, .. }), parent, exe, .. } =
                &template.node
            else {
                return None;
            };
            let owner =
                Owner { id: parent.filter(|id| always.contains(id))?, exe: exe.as_ref()?.to_escaped() };
            name_source.map(|_| (owner, address.to_escaped(), *port))
        })
    }

    /// A process that connects to many addresses, and the port.
    pub(crate) fn peers(&self) -> Option<(Owner, u16)> {
        self.crowds.iter().find_map(super::Crowd::remote)
    }

    fn lasting(&self) -> impl Iterator<Item = &Template> {
        let always =
            |group: &&super::Group| group.class == Class::Always && group.versions == (0, usize::MAX);
        self.groups.iter().filter(always).flat_map(|group| &group.nodes)
    }
}
