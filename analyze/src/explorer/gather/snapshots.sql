-- What merges decided on; what was admitted first. What was refused is of no revision.
SELECT *
FROM snapshots
WHERE image_name = $name AND image_tag = $tag AND coalesce(revision, $revision) = $revision
ORDER BY ordinal NULLS LAST, window_end, snapshot_id
