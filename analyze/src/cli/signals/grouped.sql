-- Signals that are about one thing, together.
SELECT
    min(signal_id) AS signal,
    severity,
    rule,
    image,
    profile_context AS context,
    CASE WHEN match = 'target' THEN 'weak' ELSE '' END AS match,
    coalesce(novelty, '') AS novelty,
    exe,
    target,
    count(*) AS signals,
    count(DISTINCT container_id) AS containers,
    count(DISTINCT host) AS hosts,
    max(commonality) AS commonality,
    min(time) AS first,
    max(time) AS last,
    max(suppressed_by) AS suppressed_by
FROM chosen
GROUP BY severity, rule, image, profile_context, match = 'target', novelty, exe, target, suppressed_by IS NULL
ORDER BY
    CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END,
    CASE profile_context WHEN 'unseen' THEN 0 WHEN 'no_profile' THEN 1 WHEN 'learning' THEN 2 ELSE 3 END,
    last DESC,
    signal
LIMIT $limit
