-- The newest profile of an image as a tree, in the order in which it is printed: `ORDER BY position`. $1: name and tag of the image.
WITH profile AS (
    SELECT *
    FROM nodes
    WHERE image = cast($1 AS varchar)
        AND revision = (SELECT max(revision) FROM profiles WHERE image = cast($1 AS varchar))
),
placed AS (
    SELECT
        profile.*,
        -- A parent outside the profile would hide what is below it: such a node is a root. What a process does stands before the
        -- processes that it starts; what is common before what is rare.
        tree_place(node_id, parent_id) OVER (
            ORDER BY kind = 'process', coalesce(root_kind = 'exec_session', false), kind, commonality DESC NULLS LAST, target, node_id
        ) AS place
    FROM profile
)
SELECT
    place['position'] AS position,
    place['depth'] AS depth,
    repeat('    ', place['depth'])
        || CASE root_kind WHEN 'init' THEN '[init] ' WHEN 'exec_session' THEN '[exec session] ' ELSE '' END
        || CASE kind WHEN 'process' THEN '' ELSE kind || ' ' END
        || target AS tree,
    kind,
    commonality,
    container_count,
    eligible_containers,
    phase,
    stable,
    rare,
    late,
    args,
    access,
    node_id,
    parent_id,
    image,
    revision
FROM placed
WHERE place['position'] IS NOT NULL
ORDER BY position
