-- One row a node of a snapshot file that a compaction moved out of `snapshots/`. What is in `snapshots/` still is not here; a
-- snapshot without nodes has a row in `raw.activity` only. `target` is as in `nodes`.
SELECT
    image_name || CASE WHEN starts_with(image_tag, '@') THEN '' ELSE ':' END || image_tag AS image,
    kind,
    exe,
    CASE kind
        WHEN 'process' THEN coalesce(argv0 || ' (' || exe || ')', exe || ' ' || CASE WHEN shebang THEN script END, exe)
        WHEN 'file' THEN path
        WHEN 'dns' THEN dns_name || ' ' || dns_type
        WHEN 'connect' THEN protocol || ' ' || address || CASE WHEN protocol = 'unix' THEN '' ELSE ' ' || cast(port AS varchar) END
        WHEN 'listen' THEN protocol || ' ' || address || CASE WHEN protocol = 'unix' THEN '' ELSE ' ' || cast(port AS varchar) END
        ELSE name
    END AS target,
    host,
    container_name,
    container_id,
    first_seen,
    last_seen,
    events,
    phase,
    origin,
    lineage_complete,
    path, access, mode, path_raw, path_source, file_origin,
    dns_name, dns_type,
    protocol, address, port, remote_ips, name_source,
    name,
    root_kind, exec_from, script, shebang, argv0, args, args_overflow, comm, cwd, uids, gids, cred_change, tty, stdio, ns_changed, written_in_window, processes,
    encode(node_id, 'hex') AS node_id,
    encode(parent_id, 'hex') AS parent_id,
    snapshot_id,
    window_start,
    window_end,
    covers_start,
    completeness,
    lost,
    limits_hit,
    sensors,
    container_started,
    labels,
    image_digest,
    writer,
    kernel,
    path_rules,
    date,
    object_key,
    content_hash,
    image_name,
    image_tag,
    workload_key,
    bucket
FROM raw.activity
WHERE node_id IS NOT NULL
