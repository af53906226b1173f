SELECT
    image,
    revision AS rev,
    status,
    snapshot_count AS snapshots,
    container_count AS containers,
    host_count AS hosts,
    nodes,
    commonality,
    coverage,
    last_window_end AS last_seen
FROM profiles
ORDER BY image_name, image_tag, revision
