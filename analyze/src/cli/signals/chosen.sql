-- The signals that are asked for; what follows says how they are shown.
WITH chosen AS (
    SELECT *
    FROM signals
    WHERE ($image IS NULL OR image = $image)
        AND ($rule IS NULL OR rule = $rule)
        AND ($context IS NULL OR profile_context = $context)
        AND ($source IS NULL OR source = $source)
        AND ($host IS NULL OR host = $host)
        AND ($container IS NULL OR container_name = $container OR starts_with(container_id, $container))
        AND ($since IS NULL OR time >= $since)
        AND CASE severity WHEN 'critical' THEN 3 WHEN 'high' THEN 2 WHEN 'medium' THEN 1 ELSE 0 END >= $severity
        AND ($state = 'all' OR (suppressed_by IS NULL) = ($state = 'open'))
)
