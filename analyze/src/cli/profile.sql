SELECT revision, status, stable_reason, stable_at, snapshot_count, container_count, host_count, nodes, commonality, coverage, tag_reused, overflow, path_rules
FROM profiles
WHERE image_name = $name AND image_tag = $tag AND ($revision IS NULL OR revision = $revision)
ORDER BY revision DESC
LIMIT 1
