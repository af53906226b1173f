-- Snapshots that came after a revision was stable, and the hours in which they were uploaded.
SELECT coalesce(sum(snapshots), 0) AS snapshots, count(DISTINCT hour) AS hours
FROM raw.profile_snapshots
WHERE outcome = 'after_freeze' AND image_name = $name AND image_tag = $tag AND revision = $revision
