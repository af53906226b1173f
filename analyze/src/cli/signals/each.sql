-- One row a signal.
SELECT
    signal_id AS signal,
    time,
    severity,
    rule,
    image,
    profile_context AS context,
    coalesce(novelty, '') AS novelty,
    exe,
    target,
    lineage,
    container_name,
    container_id,
    host,
    commonality,
    process_commonality,
    events,
    suppressed_by,
    summary,
    snapshot_id,
    source
FROM chosen
ORDER BY time DESC, signal
LIMIT $limit
