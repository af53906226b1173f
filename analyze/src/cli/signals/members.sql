SELECT ordinal, container_name, container_id, host
FROM snapshots
WHERE outcome = 'admitted' AND image_name = $name AND image_tag = $tag AND revision = $revision
ORDER BY ordinal
