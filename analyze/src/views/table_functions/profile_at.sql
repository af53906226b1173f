-- The nodes of an image's newest profile, without what depends on how many snapshots it has. $1: name and tag of the image.
SELECT
    image, kind, exe, target, phase, node_id, parent_id, pattern, members, revision, workload_key
FROM nodes
WHERE image = cast($1 AS varchar)
    AND revision = (SELECT max(revision) FROM profiles WHERE image = cast($1 AS varchar))
