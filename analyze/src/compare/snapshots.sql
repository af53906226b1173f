SELECT host, container_id, covers_start, completeness
FROM snapshots
WHERE outcome = 'admitted' AND image_name = $name AND image_tag = $tag AND revision = $revision
