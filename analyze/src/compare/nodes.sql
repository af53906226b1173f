-- Every node of either profile, with what both say of it.
SELECT
    coalesce(b.node_id, a.node_id) AS node_id,
    coalesce(b.parent_id, a.parent_id) AS parent_id,
    coalesce(b.kind, a.kind) AS kind,
    coalesce(b.target, a.target) AS target,
    coalesce(b.exe, a.exe) AS exe,
    coalesce(b.root_kind, a.root_kind) AS root_kind,
    a.node_id IS NOT NULL AS in_a,
    b.node_id IS NOT NULL AS in_b,
    a.phase AS phase_a,
    b.phase AS phase_b,
    a.commonality AS commonality_a,
    b.commonality AS commonality_b,
    a.container_count AS containers_a,
    b.container_count AS containers_b,
    a.eligible_containers AS eligible_a,
    b.eligible_containers AS eligible_b
FROM (SELECT * FROM nodes WHERE image_name = $name_a AND image_tag = $tag_a AND revision = $revision_a) a
FULL OUTER JOIN (SELECT * FROM nodes WHERE image_name = $name_b AND image_tag = $tag_b AND revision = $revision_b) b
    ON a.node_id = b.node_id
