-- One row a node and workload: which snapshots showed it, how often, when, and the attributes of its first sighting.
-- Rows without an id are the reports on the workloads.
SELECT
    workload,
    id_high,
    id_low,
    members_union(members) AS members,
    min(first) AS first,
    arg_min(attributes, first) AS attributes,
    sum(events) AS events,
    sum(overflow) AS overflow,
    max(last_seen) AS last_seen,
    bool_and(startup) AS startup,
    bool_or(lineage_complete) AS lineage_complete,
    max(report) AS report
FROM sightings
GROUP BY workload, id_high, id_low
