SELECT
    node_id, parent_id, kind, target, exe, commonality, container_count, eligible_containers, snapshot_count, phase, stable, rare, late,
    lineage_complete, lossy_count, events, access, root_kind, exec_from, args, args_overflow, uids, first_seen, last_seen
FROM nodes
WHERE image_name = $name AND image_tag = $tag AND revision = $revision
ORDER BY kind, commonality DESC NULLS LAST, target, node_id
