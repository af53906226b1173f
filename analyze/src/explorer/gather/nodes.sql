-- All nodes of a profile revision: patterns and what is not folded first, then what stands behind patterns.
SELECT *
FROM raw.profile_nodes
WHERE image_name = $name AND image_tag = $tag AND revision = $revision
ORDER BY collapsed_into IS NOT NULL, container_count DESC, node_id
