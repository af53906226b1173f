-- A row of a profile, folded or not.
SELECT kind, exe, commonality, commonality_low, commonality_high, container_count, eligible_containers, host_count,
    snapshot_count, first_seen, last_seen, stable, rare, late, pattern, collapsed_nodes, members, phase
FROM nodes
WHERE image_name = $name AND image_tag = $tag AND revision = $revision AND node_id = $id
