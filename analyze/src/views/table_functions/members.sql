-- One row a snapshot that has a node, of any image. $1: node id in hex.
WITH nodes AS (
    SELECT bucket, workload_key, revision, unnest(members_list(members)) AS ordinal
    FROM raw.profile_nodes
    WHERE node_id = node_key(cast($1 AS varchar))
)
SELECT snapshots.*
FROM nodes
JOIN snapshots USING (bucket, workload_key, revision, ordinal)
ORDER BY snapshots.image, snapshots.revision, snapshots.ordinal
