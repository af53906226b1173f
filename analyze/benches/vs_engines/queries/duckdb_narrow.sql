COPY (
    SELECT image_name, image_tag, node_id, count(*) AS snapshot_count,
        min(window_start + to_milliseconds(first_seen_ms)) AS first_seen,
        max(window_start + to_milliseconds(last_seen_ms)) AS last_seen,
        sum(events)::BIGINT AS events
    FROM read_parquet('{files}', hive_partitioning = false)
    GROUP BY ALL
) TO '{result}' (FORMAT parquet)
