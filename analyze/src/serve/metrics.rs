//! What the server counts, in Prometheus' text format.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Server;
use crate::metrics::Page;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
enum Outcome {
    ok,
    error,
}

/// Counters.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) failed_logins: Counter,
    statements: Family<Ended, Counter>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            refused: Counter::default(),
            failed_logins: Counter::default(),
            statements: Family::default(),
            // 1 ms to half a minute.
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        }
    }
}

impl Metrics {
    pub(super) fn statement(&self, succeeded: bool, took: Duration) {
        let result = if succeeded { Outcome::ok } else { Outcome::error };
        self.statements.get_or_create(&Ended { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    fn registry(&self, memory: usize) -> Registry {
        let mut registry = Registry::with_prefix("wsp_serve");
        registry.register("connections", "Clients that are connected", self.connections.clone());
        registry.register(
            "refused_connections",
            "Clients that were refused since there were too many",
            self.refused.clone(),
        );
        registry.register("failed_logins", "Logins that failed", self.failed_logins.clone());
        registry.register("statements", "Statements that ended", self.statements.clone());
        registry.register_with_unit(
            "statement_duration",
            "Time from a statement to its last row",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "memory",
            "What statements hold of --memory",
            Unit::Bytes,
            ConstGauge::new(i64::try_from(memory).unwrap_or(i64::MAX)),
        );
        registry
    }
}

/// What Prometheus is told.
pub(super) fn page(server: &Server, path: &str) -> Page {
    match path {
        "/metrics" => Page::Metrics(server.metrics.registry(server.sessions.memory())),
        _ => Page::Missing("metrics are at /metrics"),
    }
}
