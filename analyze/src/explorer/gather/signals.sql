-- The newest signals, open ones first: of an image and a revision where they are named. What no revision judged is of the newest.
SELECT *, count(*) OVER () AS all_signals
FROM signals
WHERE ($name IS NULL OR image_name = $name)
    AND ($tag IS NULL OR image_tag = $tag)
    AND ($revision IS NULL OR revision = $revision OR ($is_newest AND revision IS NULL))
ORDER BY suppressed_by IS NOT NULL, time DESC, signal_id
LIMIT $limit
