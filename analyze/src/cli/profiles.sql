SELECT
    image,
    revision,
    status,
    snapshot_count,
    container_count,
    host_count,
    nodes,
    commonality,
    coverage,
    last_window_end
FROM profiles
ORDER BY image_name, image_tag, revision
