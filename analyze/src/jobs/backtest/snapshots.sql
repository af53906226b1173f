SELECT image_name, image_tag, ordinal, host, container_id, window_start, window_end
FROM snapshots
WHERE outcome = 'admitted'
ORDER BY image_name, image_tag, ordinal
