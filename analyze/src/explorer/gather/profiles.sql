-- Profile revisions, with the signals that they judged. What no revision judged is of the newest.
WITH counted AS (
    SELECT
        workload_key,
        revision,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'critical') AS critical,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'high') AS high,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'medium') AS medium,
        count(*) FILTER (WHERE suppressed_by IS NULL AND severity = 'low') AS low,
        count(*) FILTER (WHERE suppressed_by IS NOT NULL) AS suppressed
    FROM signals
    GROUP BY workload_key, revision
),
revisions AS (
    SELECT *, revision = max(revision) OVER (PARTITION BY workload_key) AS is_newest
    FROM profiles
    WHERE $name IS NULL OR image_name = $name
)
SELECT
    revisions.*,
    coalesce(judged.critical, 0) + coalesce(other.critical, 0) AS critical,
    coalesce(judged.high, 0) + coalesce(other.high, 0) AS high,
    coalesce(judged.medium, 0) + coalesce(other.medium, 0) AS medium,
    coalesce(judged.low, 0) + coalesce(other.low, 0) AS low,
    coalesce(judged.suppressed, 0) + coalesce(other.suppressed, 0) AS suppressed
FROM revisions
LEFT JOIN counted AS judged ON judged.workload_key = revisions.workload_key AND judged.revision = revisions.revision
LEFT JOIN counted AS other
    ON other.workload_key = revisions.workload_key AND other.revision IS NULL AND revisions.is_newest
ORDER BY image_name, image_tag, revision
