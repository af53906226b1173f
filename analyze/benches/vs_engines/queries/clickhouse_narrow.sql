SELECT image_name, image_tag, node_id, count() AS snapshot_count,
    min(addMilliseconds(window_start, first_seen_ms)) AS first_seen,
    max(addMilliseconds(window_start, last_seen_ms)) AS last_seen,
    sum(events) AS events
FROM file('{files}', Parquet)
GROUP BY image_name, image_tag, node_id
INTO OUTFILE '{result}' TRUNCATE FORMAT Parquet
SETTINGS max_threads = {threads}
