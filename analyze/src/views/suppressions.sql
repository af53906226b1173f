-- One row a suggestion or suppression, as its last change left it.
SELECT
    suppression_id,
    state,
    rule,
    scope,
    CASE scope
        WHEN 'all' THEN NULL
        WHEN 'image' THEN image_name
        ELSE image_name || CASE WHEN starts_with(image_tag, '@') THEN '' ELSE ':' END || image_tag
    END AS image,
    predicate,
    author,
    reason,
    changed_at,
    expires_at,
    evidence,
    change,
    image_name,
    image_tag,
    workload_key
FROM (
    SELECT *, row_number() OVER (PARTITION BY suppression_id ORDER BY change DESC) AS newest
    FROM raw.suppressions
)
WHERE newest = 1
