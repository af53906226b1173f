-- The newest signals, of an image where one is named.
SELECT *
FROM signals
WHERE ($name IS NULL OR image_name = $name) AND ($tag IS NULL OR image_tag = $tag)
ORDER BY suppressed_by IS NOT NULL, time DESC, signal_id
LIMIT $limit
