SELECT * FROM signals WHERE starts_with(signal_id, $id) ORDER BY signal_id LIMIT 2
