-- The newest profile of an image as a tree, in the order in which it is printed: `ORDER BY position`. $1: name and tag of the image.
WITH RECURSIVE profile AS (
    SELECT *
    FROM nodes
    WHERE image = cast($1 AS varchar)
        AND revision = (SELECT max(revision) FROM profiles WHERE image = cast($1 AS varchar))
),
placed AS (
    SELECT
        node.node_id,
        -- A parent outside the profile would hide what is below it.
        parent.node_id AS parent_id,
        -- What a process does stands before the processes that it starts; what is common before what is rare.
        lpad(cast(row_number() OVER (
            PARTITION BY parent.node_id
            ORDER BY node.kind = 'process', coalesce(node.root_kind = 'exec_session', false), node.kind,
                node.commonality DESC NULLS LAST, node.target, node.node_id
        ) AS varchar), 6, '0') AS place
    FROM profile AS node
    LEFT JOIN profile AS parent ON parent.node_id = node.parent_id
),
tree AS (
    SELECT node_id, 0 AS depth, place
    FROM placed
    WHERE parent_id IS NULL
    UNION ALL
    SELECT placed.node_id, tree.depth + 1, tree.place || placed.place
    FROM tree
    JOIN placed ON placed.parent_id = tree.node_id
)
SELECT
    row_number() OVER (ORDER BY tree.place) AS position,
    tree.depth,
    repeat('    ', tree.depth)
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
    profile.args,
    profile.access,
    profile.node_id,
    profile.parent_id,
    image,
    revision
FROM tree
JOIN profile ON profile.node_id = tree.node_id
ORDER BY position
