-- Profile revisions, with signals of their images at the newest one.
WITH counted AS (
    SELECT
        workload_key,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'critical') AS critical,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'high') AS high,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'medium') AS medium,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'low') AS low,
        count(*) FILTER (WHERE suppressed_by IS NOT NULL) AS suppressed
    FROM signals
    GROUP BY workload_key
),
revisions AS (
    SELECT *, revision = max(revision) OVER (PARTITION BY workload_key) AS is_newest
    FROM profiles
    WHERE $name IS NULL OR image_name = $name
)
SELECT revisions.*, counted.critical, counted.high, counted.medium, counted.low, counted.suppressed
FROM revisions
LEFT JOIN counted ON counted.workload_key = revisions.workload_key AND revisions.is_newest
ORDER BY image_name, image_tag, revision
