-- One scan: the exact sets of containers are kept as states, and united over the workload by a window.
WITH nodes AS (
    SELECT image_name, image_tag, node_id,
        count() AS snapshot_count,
        uniqExactState(host, container_id) AS containers,
        uniqExact(host) AS host_count,
        min(addMilliseconds(window_start, first_seen_ms)) AS first_seen,
        max(addMilliseconds(window_start, last_seen_ms)) AS last_seen,
        sum(events) AS events,
        argMin(tuple({columns}), (addMilliseconds(window_start, first_seen_ms), snapshot_id)) AS attributes
    FROM file('{files}', Parquet)
    GROUP BY image_name, image_tag, node_id
)
SELECT image_name, image_tag, node_id, snapshot_count,
    finalizeAggregation(containers) AS container_count,
    host_count, first_seen, last_seen, events,
    container_count / uniqExactMerge(containers) OVER (PARTITION BY image_name, image_tag) AS commonality,
    {elements}
FROM nodes
INTO OUTFILE '{result}' TRUNCATE FORMAT Parquet
SETTINGS max_threads = {threads}
