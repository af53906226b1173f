//! Gives a catalogue the size that was asked for: always-there files, start-up steps, and groups that only some
//! containers have. Deterministic: the draws come from the image's own generator.

use rand::RngExt;

use super::archetypes::Archetype;
use super::builder::{Builder, Owner, Program};
use super::count;
use crate::seed::pick;

/// Of what is missing to the asked-for size, this share is always there; the rest comes in optional groups.
const ALWAYS: f64 = 0.65;
/// Start-up nodes, as a share of the asked-for size.
const STARTUP: f64 = 0.2;
/// Share of the groups that come or go with a version of the image.
const CHURN: f64 = 0.25;

/// Probabilities that a container has an optional group; drawn evenly, so that rare groups are as many as common ones.
const P_CONTAINER: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95];
/// Probabilities that a window of such a container shows it.
const P_WINDOW: [f64; 5] = [0.15, 0.3, 0.5, 0.8, 1.0];

const WORDS: [&str; 40] = [
    "alpha", "amber", "atlas", "basic", "birch", "cedar", "charset", "codec", "crypto", "delta", "event",
    "filter", "geo", "graph", "header", "http", "image", "index", "json", "kernel", "lang", "limit",
    "locale", "mail", "metric", "parser", "proxy", "query", "rate", "route", "schema", "search", "stream",
    "string", "table", "token", "trace", "upload", "util", "xml",
];

/// Fills up to about `nodes` nodes in a mid-life window.
pub(super) fn add(b: &mut Builder, main: &Owner, archetype: &Archetype, nodes: usize) {
    let mut serial = 0;
    // A version has about half of the groups that come or go.
    let present = if b.versions() > 1 { 1.0 - CHURN / 2.0 } else { 1.0 };
    let (core, missing) = (b.weight(), (count(nodes) - b.weight()).max(0.0) / present);
    fill_always(b, main, archetype, core + missing * ALWAYS, &mut serial);
    fill_optional(b, main, archetype, core + missing, &mut serial);
    let mut step = 0;
    while b.startup_weight() + 1.0 < count(nodes) * STARTUP {
        step += 1;
        let p_container = *pick(&mut b.rng, &[1.0, 1.0, 0.9, 0.5]);
        let g = b.startup(format!("startup-{step}"), p_container);
        for _ in 0..b.rng.random_range(4..12_u8) {
            let path = path(b, archetype, &mut serial);
            b.reads(g, main, &[&path]);
        }
        b.churn(g, CHURN);
    }
}

fn fill_always(b: &mut Builder, main: &Owner, archetype: &Archetype, target: f64, serial: &mut u32) {
    let mut part = 0;
    while b.weight() + 1.0 < target {
        part += 1;
        let g = b.always(format!("always-{part}"));
        for _ in 0..b.rng.random_range(5..15_u8) {
            if b.weight() + 1.0 >= target {
                break;
            }
            let path = path(b, archetype, serial);
            b.reads(g, main, &[&path]);
        }
        b.churn(g, CHURN);
    }
}

fn fill_optional(b: &mut Builder, main: &Owner, archetype: &Archetype, target: f64, serial: &mut u32) {
    let mut part = 0;
    while b.weight() + 2.0 < target {
        part += 1;
        let (p_container, p_window) = (*pick(&mut b.rng, &P_CONTAINER), *pick(&mut b.rng, &P_WINDOW));
        let g = b.sometimes(format!("optional-{part}"), p_container, p_window);
        match b.rng.random_range(0..10_u8) {
            // A program with what it reads, asks for and talks to.
            0..4 => {
                let exe = format!("{}-{}", pick(&mut b.rng, archetype.tools), part);
                let args = format!("{exe} --{}", pick(&mut b.rng, &WORDS));
                let tool =
                    b.child(g, main, Program { exe: &exe, args: &args, uid: 1000, ..Program::default() });
                b.reads(g, &tool, &["/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
                for _ in 0..b.rng.random_range(1..8_u8) {
                    let path = path(b, archetype, serial);
                    b.reads(g, &tool, &[&path]);
                }
                if b.rng.random_bool(0.5) {
                    call(b, g, &tool, serial);
                }
            }
            // A remote that the main process uses.
            4..6 => call(b, g, main, serial),
            // A feature of the main process: several files.
            6..8 => {
                for _ in 0..b.rng.random_range(2..9_u8) {
                    let path = path(b, archetype, serial);
                    b.reads(g, main, &[&path]);
                }
            }
            // One file, independent of all others.
            _ => {
                let path = path(b, archetype, serial);
                b.writes(g, main, "upper", &[&path]);
            }
        }
        b.churn(g, CHURN);
    }
}

fn call(b: &mut Builder, group: usize, owner: &Owner, serial: &mut u32) {
    *serial += 1;
    let name = format!("{}-{serial}.svc.example.com", pick(&mut b.rng, &WORDS));
    let port = *pick(&mut b.rng, &[80, 443, 443, 5432, 8080, 9092]);
    b.calls(group, owner, &name, port);
}

fn path(b: &mut Builder, archetype: &Archetype, serial: &mut u32) -> String {
    *serial += 1;
    let word = pick(&mut b.rng, &WORDS);
    pick(&mut b.rng, archetype.files).replace("{word}", word).replace("{n}", &serial.to_string())
}
