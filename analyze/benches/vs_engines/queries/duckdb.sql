-- One scan. Grouping by container first makes "distinct containers" a count of rows, and feeds `arg_min` of the wide
-- struct to a second, smaller aggregation; the containers of a workload come from the same intermediate result.
COPY (
    WITH sightings AS (
        SELECT *,
            window_start + to_milliseconds(first_seen_ms) AS first_seen,
            window_start + to_milliseconds(last_seen_ms) AS last_seen
        FROM read_parquet('{files}', hive_partitioning = false)
    ),
    by_container AS MATERIALIZED (
        SELECT image_name, image_tag, node_id, host, container_id,
            count(*) AS snapshots,
            min((first_seen, snapshot_id)) AS first,
            max(last_seen) AS last_seen,
            sum(events) AS events,
            arg_min({{{struct}}}, (first_seen, snapshot_id)) AS attributes
        FROM sightings
        GROUP BY ALL
    ),
    workloads AS (
        SELECT image_name, image_tag, count(*) AS containers
        FROM (SELECT DISTINCT image_name, image_tag, host, container_id FROM by_container)
        GROUP BY ALL
    ),
    nodes AS (
        SELECT image_name, image_tag, node_id,
            sum(snapshots)::BIGINT AS snapshot_count,
            count(*) AS container_count,
            count(DISTINCT host) AS host_count,
            min(first[1]) AS first_seen,
            max(last_seen) AS last_seen,
            sum(events)::BIGINT AS events,
            arg_min(attributes, first) AS attributes
        FROM by_container
        GROUP BY ALL
    )
    SELECT image_name, image_tag, node_id, snapshot_count, container_count, host_count, first_seen, last_seen, events,
        container_count / containers AS commonality,
        unnest(attributes)
    FROM nodes JOIN workloads USING (image_name, image_tag)
) TO '{result}' (FORMAT parquet)
