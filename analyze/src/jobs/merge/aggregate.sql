-- One row a node and profile: which snapshots showed it, how often, when, and where its first sighting stands.
-- `first` packs (first_seen, rank of the snapshot id, source row): its minimum is the sighting whose attributes count.
SELECT
    workload,
    id_high,
    id_low,
    members_union(ordinal, members) AS members,
    min(first) AS first,
    sum(events) AS events,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen,
    bool_and(startup) AS startup,
    bool_or(lineage_complete) AS lineage_complete
FROM sightings
GROUP BY workload, id_high, id_low
ORDER BY workload, id_high, id_low
